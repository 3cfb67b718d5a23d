"""The views of C{socketd console}, beside L{PromptLine}: for a pipe, and full screen."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from socketd.common.text import columns
from socketd.terminal.device import COLUMNS
from socketd.terminal.line_editor import Editor, fitting
from socketd.terminal.prompt_line import LEAST_ROOM
from socketd.terminal.view import PlainView, View, Write

#: Minimum rows assumed: two for the output, one for the status line, one for input.
LEAST_ROWS = 4

#: Minimum columns assumed.
LEAST_COLUMNS = 20

_CLEAR_LINE = "\x1b[2K"
_REVERSE, _PLAIN = "\x1b[7m", "\x1b[m"


class ScriptView(PlainView):
    """A view of lines only, in which a prompt, too, is a line of its own, shown once."""

    def show(self, text: str) -> None:
        self._write(f"{text}\n")

    def draw(self) -> None:
        if self.prompt not in ("", self._shown):
            self._write(f"{self.prompt}\n")
        self._shown = self.prompt


class FullScreen(View):
    """
    Full screen: a scrolling region for output, above a status line and an input line.

    It uses the terminal's scrolling region on its normal screen, so that the output remains in the
    scrollback after exit.
    """

    def __init__(self, write: Write, size: Callable[[], os.terminal_size]) -> None:
        """@param size: returns the size of the terminal."""
        super().__init__(write)
        self._size = size
        self._editor = Editor(lambda before: self.complete(before))
        self._rows, self._columns = LEAST_ROWS, COLUMNS
        self._shown = ""

    @property
    def columns(self) -> int:
        return self._columns

    @property
    def is_begun(self) -> bool:
        return bool(self._editor.text)

    def start(self) -> None:
        self._write("\n" * 2)
        self.redraw()

    def feed(self, data: bytes) -> Iterator[str]:
        yield from self._editor.feed(data)
        self.has_ended = self._editor.has_ended
        self.draw()

    def show(self, text: str) -> None:
        lines = "".join(f"\r\n{line}" for line in text.split("\n"))
        self._write(f"\x1b[{self._rows - 2};1H{lines}")
        self._shown = ""
        self.draw()

    def draw(self) -> None:
        bottom = self._bottom()
        if bottom != self._shown:
            self._shown = bottom
            self._write(bottom)

    def redraw(self) -> None:
        size = self._size()
        self._rows = max(LEAST_ROWS, size.lines)
        self._columns = max(LEAST_COLUMNS, size.columns)
        self._write(f"\x1b[1;{self._rows - 2}r")
        self._shown = ""
        self.draw()

    def clear(self) -> None:
        last = f"\x1b[{self._rows};1H{_CLEAR_LINE}"
        self._write(f"\x1b[r\x1b[{self._rows - 1};1H{_CLEAR_LINE}{last}")

    def _bottom(self) -> str:
        """Return the sequence that draws both lines and places the cursor."""
        status = fitting(self.status, self._columns)
        status += " " * (self._columns - columns(status))
        prompt = fitting(self.prompt or self.command_prompt, self._columns - LEAST_ROOM)
        text, cursor = self._editor.window(self._columns - columns(prompt) - 1)
        return (
            f"\x1b[{self._rows - 1};1H{_REVERSE}{status}{_PLAIN}"
            f"\x1b[{self._rows};1H{_CLEAR_LINE}{prompt}{text}"
            f"\x1b[{self._rows};{columns(prompt) + cursor + 1}H"
        )
