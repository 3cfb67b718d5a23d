"""
Text from a peer, made harmless for a terminal.
"""

from __future__ import annotations

import codecs

PLAIN_CONTROLS = "\n\t"
"""
The control characters that pass: a line end and a tabulator cannot overwrite anything.
"""


def printable(text: str) -> str:
    """
    Escape what could drive the terminal or turn the order of the text.

    @param text: any text.
    @return: the text, with everything but printable characters, line ends and tabulators written
        as Python would escape it; a line end after a carriage return counts as one line end.
    """
    return "".join(map(_printable_character, text.replace("\r\n", "\n")))


def one_line(text: str) -> str:
    """
    Escape like L{printable}, line ends and tabulators too.

    @param text: any text.
    @return: the text on one line.
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


class AnswerDecoder:
    """
    Turns the bytes of a peer into harmless text, across the borders of segments.
    """

    def __init__(self) -> None:
        """
        Start between two characters.
        """
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def decode(self, data: bytes, final: bool = False) -> str:
        """
        Take some more bytes.

        @param data: the bytes.
        @param final: whether these end the message, so that half a character counts as broken.
        @return: the characters that are complete by now.
        """
        return printable(self._decoder.decode(data, final))


def _printable_character(character: str) -> str:
    if character.isprintable() or character in PLAIN_CONTROLS:
        return character
    return _escaped(character)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
