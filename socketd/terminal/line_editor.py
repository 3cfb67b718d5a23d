"""A line editor with history and completion: keys in, lines out."""

from __future__ import annotations

import codecs
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence

#: Characters of a line: the daemon takes 4096 bytes, including the command.
MAX_TEXT = 4000

MAX_HISTORY = 500

#: Maps the text before the cursor to the completions of its last word.
Complete = Callable[[str], Sequence[str]]

_KEYS = re.compile(r"\x1b(?:\[[0-9;?]*[@-~]|O[@-~]|[^\[O])|[^\x1b]", re.DOTALL)
_PARTIAL = re.compile(r"\x1b(?:\[[0-9;?]{0,16}|O)?\Z")


def columns(text: str) -> int:
    """
    Count the terminal columns of a text.

    @param text: printable characters.
    @return: 2 per wide East Asian character, 0 per combining character, else 1.
    """
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


def fitting(text: str, width: int) -> str:
    """
    Truncate a text to a number of columns.

    @param text: printable characters.
    @param width: the columns.
    @return: the longest prefix that fits.
    """
    text = text[: max(0, width)]
    while columns(text) > width:
        text = text[:-1]
    return text


class Editor:
    """
    The line, with a cursor, a history and completion.

    @ivar text: the line so far.
    @ivar cursor: index of the character under the cursor.
    @ivar has_ended: whether Ctrl-D was typed on an empty line.
    """

    def __init__(self, complete: Complete = lambda before: ()) -> None:
        """
        Start with an empty line.

        @param complete: called on Tab.
        """
        self.text = ""
        self.cursor = 0
        self.has_ended = False
        self._complete = complete
        self._history: list[str] = []
        self._place = 0
        self._draft = ""
        self._rest = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._lines: list[str] = []

    def feed(self, data: bytes) -> Iterator[str]:
        """
        Process typed keys.

        @param data: bytes from the terminal.
        @return: each entered line, before the keys after it are processed.
        """
        typed = self._rest + self._decoder.decode(data)
        partial = _PARTIAL.search(typed)
        self._rest = partial[0] if partial else ""
        for key in _KEYS.findall(typed[: len(typed) - len(self._rest)]):
            self._press(key)
            while self._lines:
                yield self._lines.pop()

    def window(self, width: int) -> tuple[str, int]:
        """
        Return the part of the line that fits, including the cursor.

        @param width: the available columns.
        @return: the part, and the column of the cursor in it.
        """
        before = self.text[: self.cursor]
        while columns(before) > width:
            before = before[max(1, columns(before) - width) :]
        behind = self.text[self.cursor :]
        return before + fitting(behind, width - columns(before)), columns(before)

    def _press(self, key: str) -> None:
        action = _ACTIONS.get(key)
        if action is not None:
            action(self)
        elif key.isprintable() and len(self.text) < MAX_TEXT:
            self._insert(key)

    def _insert(self, text: str) -> None:
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)

    def _cut(self, start: int, end: int) -> None:
        self.text = self.text[: max(0, start)] + self.text[end:]
        self.cursor = max(0, start)

    def _enter(self) -> None:
        line = self.text
        if line.strip() and self._history[-1:] != [line]:
            self._history = [*self._history, line][-MAX_HISTORY:]
        self._lines.append(line)
        self._place = len(self._history)
        self._set("")

    def _set(self, text: str) -> None:
        self.text, self.cursor = text, len(text)

    def _move(self, place: int) -> None:
        self.cursor = max(0, min(len(self.text), place))

    def _recall(self, step: int) -> None:
        place = self._place + step
        if not 0 <= place <= len(self._history):
            return
        if self._place == len(self._history):
            self._draft = self.text
        self._place = place
        self._set([*self._history, self._draft][place])

    def _cut_word(self) -> None:
        before = self.text[: self.cursor].rstrip()
        self._cut(before.rfind(" ") + 1, self.cursor)

    def _finish_word(self) -> None:
        before = self.text[: self.cursor]
        word = before[before.rfind(" ") + 1 :]
        found = list(self._complete(before))
        if len(found) == 1:
            self._insert(found[0][len(word) :] + " ")
        elif found:
            self._insert(os.path.commonprefix(found)[len(word) :])

    def _end_or_cut(self) -> None:
        if self.text:
            self._cut(self.cursor, self.cursor + 1)
        else:
            self.has_ended = True


_ACTIONS: dict[str, Callable[[Editor], object]] = {}

for _names, _action in (
    (("\r", "\n"), Editor._enter),
    (("\x7f", "\b"), lambda editor: editor._cut(editor.cursor - 1, editor.cursor)),
    (("\x1b[3~",), lambda editor: editor._cut(editor.cursor, editor.cursor + 1)),
    (("\x04",), Editor._end_or_cut),
    (("\t",), Editor._finish_word),
    (("\x01", "\x1b[H", "\x1bOH", "\x1b[1~"), lambda editor: editor._move(0)),
    (("\x05", "\x1b[F", "\x1bOF", "\x1b[4~"), lambda editor: editor._move(MAX_TEXT)),
    (("\x02", "\x1b[D", "\x1bOD"), lambda editor: editor._move(editor.cursor - 1)),
    (("\x06", "\x1b[C", "\x1bOC"), lambda editor: editor._move(editor.cursor + 1)),
    (("\x10", "\x1b[A", "\x1bOA"), lambda editor: editor._recall(-1)),
    (("\x0e", "\x1b[B", "\x1bOB"), lambda editor: editor._recall(1)),
    (("\x0b",), lambda editor: editor._cut(editor.cursor, MAX_TEXT)),
    (("\x15",), lambda editor: editor._cut(0, editor.cursor)),
    (("\x17",), Editor._cut_word),
):
    _ACTIONS |= dict.fromkeys(_names, _action)
