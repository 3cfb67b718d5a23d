"""A line editor with history and completion: keys in, lines out."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Iterator, Sequence

from socketd.common.text import columns

#: Characters of a line: the daemon takes 4096 bytes, including the command.
MAX_TEXT = 4000

MAX_HISTORY = 500

#: Maps the text before the cursor to the completions of its last word.
Complete = Callable[[str], Sequence[str]]

_KEYS = re.compile(r"\x1b(?:\[[0-9;?]*[@-~]|O[@-~]|[^\[O])|[^\x1b]", re.DOTALL)
_PARTIAL = re.compile(r"\x1b(?:\[[0-9;?]{0,16}|O)?\Z")


def fitting(text: str, width: int) -> str:
    """Return the longest prefix of a printable text that fits into a number of columns."""
    text = text[: max(0, width)]
    while columns(text) > width:
        text = text[:-1]
    return text


class Editor:
    """
    The line, with a cursor, a history and completion; it has ended with Ctrl-D on an empty line.
    """

    def __init__(self, complete: Complete = lambda before: ()) -> None:
        """@param complete: called on Tab."""
        self.text = ""
        self.cursor = 0
        self.has_ended = False
        self._complete = complete
        self._history: list[str] = []
        self._place = 0
        self._draft = ""
        self._rest = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> Iterator[str]:
        """Process typed keys; yield each entered line before the keys after it are processed."""
        typed = self._rest + self._decoder.decode(data)
        partial = _PARTIAL.search(typed)
        self._rest = partial[0] if partial else ""
        for key in _KEYS.findall(typed[: len(typed) - len(self._rest)]):
            if key in "\r\n":
                yield self._enter()
            elif key in _ACTIONS:
                _ACTIONS[key](self)
            elif key.isprintable() and len(self.text) < MAX_TEXT:
                self._insert(key)

    def window(self, width: int) -> tuple[str, int]:
        """Return the part of the line that fits around the cursor, and the cursor's column."""
        before = self.text[: self.cursor]
        while columns(before) > width:
            before = before[max(1, columns(before) - width) :]
        behind = self.text[self.cursor :]
        return before + fitting(behind, width - columns(before)), columns(before)

    def _enter(self) -> str:
        line = self.text
        if line.strip() and self._history[-1:] != [line]:
            self._history = [*self._history, line][-MAX_HISTORY:]
        self._place = len(self._history)
        self._set("")
        return line

    def _set(self, text: str) -> None:
        self.text, self.cursor = text, len(text)

    def _insert(self, text: str) -> None:
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)

    def _move(self, place: int) -> None:
        self.cursor = max(0, min(len(self.text), place))

    def _cut_to(self, place: int) -> None:
        """Delete from the cursor to a place before or behind it."""
        start, end = sorted((self.cursor, max(0, place)))
        self.text = self.text[:start] + self.text[end:]
        self.cursor = start

    def _word_start(self) -> int:
        return self.text[: self.cursor].rstrip().rfind(" ") + 1

    def _word_end(self) -> int:
        behind = self.text[self.cursor :].lstrip()
        return len(self.text) - len(behind) + len(behind.partition(" ")[0])

    def _recall(self, step: int, prefix: str = "") -> None:
        """Take the next line of the history in one direction that begins with a prefix."""
        if self._place == len(self._history):
            self._draft = self.text
        lines = [*self._history, self._draft]
        place = self._place + step
        while 0 <= place < len(lines) and not lines[place].startswith(prefix):
            place += step
        if 0 <= place < len(lines):
            self._place = place
            self._set(lines[place])

    def _search(self, step: int) -> None:
        """Recall a line that begins with what is before the cursor, and leave the cursor there."""
        cursor = self.cursor
        self._recall(step, self.text[:cursor])
        self.cursor = cursor

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
            self._cut_to(self.cursor + 1)
        else:
            self.has_ended = True


_ACTIONS: dict[str, Callable[[Editor], object]] = {}

#: The keys of readline(3), with the codes that terminals send for them.
for _names, _action in (
    # Backspace, Delete, Ctrl-D, Tab
    (("\x7f", "\b"), lambda editor: editor._cut_to(editor.cursor - 1)),
    (("\x1b[3~",), lambda editor: editor._cut_to(editor.cursor + 1)),
    (("\x04",), Editor._end_or_cut),
    (("\t",), Editor._finish_word),
    # Home, End, Left, Right
    (("\x01", "\x1b[H", "\x1bOH", "\x1b[1~"), lambda editor: editor._move(0)),
    (("\x05", "\x1b[F", "\x1bOF", "\x1b[4~"), lambda editor: editor._move(MAX_TEXT)),
    (("\x02", "\x1b[D", "\x1bOD"), lambda editor: editor._move(editor.cursor - 1)),
    (("\x06", "\x1b[C", "\x1bOC"), lambda editor: editor._move(editor.cursor + 1)),
    # Ctrl-Left, Ctrl-Right
    (("\x1bb", "\x1b[1;5D"), lambda editor: editor._move(editor._word_start())),
    (("\x1bf", "\x1b[1;5C"), lambda editor: editor._move(editor._word_end())),
    # Up, Down, Page Up, Page Down
    (("\x10", "\x1b[A", "\x1bOA"), lambda editor: editor._recall(-1)),
    (("\x0e", "\x1b[B", "\x1bOB"), lambda editor: editor._recall(1)),
    (("\x1b[5~",), lambda editor: editor._search(-1)),
    (("\x1b[6~",), lambda editor: editor._search(1)),
    # Ctrl-K, Ctrl-U, Ctrl-W, Alt-D
    (("\x0b",), lambda editor: editor._cut_to(MAX_TEXT)),
    (("\x15",), lambda editor: editor._cut_to(0)),
    (("\x17", "\x1b\x7f"), lambda editor: editor._cut_to(editor._word_start())),
    (("\x1bd",), lambda editor: editor._cut_to(editor._word_end())),
):
    _ACTIONS |= dict.fromkeys(_names, _action)
