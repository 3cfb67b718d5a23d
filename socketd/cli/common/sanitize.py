"""Escapes text from a peer, so that it cannot control the terminal."""

from __future__ import annotations

import codecs

#: Control characters that are not escaped: line end and tab cannot overwrite anything.
PLAIN_CONTROLS = "\n\t"


def printable(text: str) -> str:
    """
    Escape control sequences and bidirectional overrides.

    @param text: any text.
    @return: the text, with all but printable characters, line ends and tabs escaped as in Python;
        CR LF becomes one line end.
    """
    return "".join(map(_printable_character, text.replace("\r\n", "\n")))


def one_line(text: str) -> str:
    """
    Escape as L{printable} does, including line ends and tabs.

    @param text: any text.
    @return: the text on one line.
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


class AnswerDecoder:
    """Decodes and escapes a peer's bytes incrementally, across segment boundaries."""

    def __init__(self) -> None:
        """Start at a character boundary."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def decode(self, data: bytes, final: bool = False) -> str:
        """
        Decode more bytes.

        @param data: the bytes.
        @param final: whether the message ends here, so that an incomplete character is invalid.
        @return: the characters completed so far.
        """
        return printable(self._decoder.decode(data, final))


def _printable_character(character: str) -> str:
    if character.isprintable() or character in PLAIN_CONTROLS:
        return character
    return _escaped(character)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
