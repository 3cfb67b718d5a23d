"""
The input line at the bottom of a scrolling terminal.

It needs no escape codes: carriage return, blanks and backspaces work on every terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from socketd.common.text import columns
from socketd.terminal.line_editor import Editor, fitting
from socketd.terminal.view import View, Write

#: Columns that a prompt leaves for input.
LEAST_ROOM = 12


class PromptLine(View):
    """A prompt, followed by the edited line."""

    def __init__(self, write: Write, width: Callable[[], int]) -> None:
        """@param width: returns the terminal's columns."""
        super().__init__(write)
        self._width = width
        self._editor = Editor(lambda before: self.complete(before))
        self._shown = ""
        self._behind = 0

    @property
    def columns(self) -> int:
        return self._width()

    @property
    def is_begun(self) -> bool:
        return bool(self._editor.text)

    def feed(self, data: bytes) -> Iterator[str]:
        for line in self._editor.feed(data):
            self._finish(line)
            yield line
        self.has_ended = self._editor.has_ended
        self.draw()

    def show(self, text: str) -> None:
        self.clear()
        if not self.is_held:
            self._write(f"{text}\n")
        self.draw()

    def draw(self) -> None:
        text, before = self._editor.window(self._room())
        self._put(self._visible_prompt() + text, columns(text) - before)

    def redraw(self) -> None:
        self._shown, self._behind = "", 0
        self.draw()

    def clear(self) -> None:
        """Erase the line."""
        self._put("", 0)

    def _finish(self, line: str) -> None:
        """Leave the entered line on the screen, and start a new one below it."""
        self._put(self._visible_prompt() + fitting(line, self._room()), 0)
        if not self.is_held:
            self._write("\n")
            self._shown = ""

    def _visible_prompt(self) -> str:
        return fitting(self.prompt or self.command_prompt, self._width() - LEAST_ROOM)

    def _room(self) -> int:
        # The last column stays empty: a cursor after it would wrap to the next line.
        return self._width() - columns(self._visible_prompt()) - 1

    def _put(self, line: str, behind: int) -> None:
        """Replace the displayed line, with the cursor C{behind} columns before its end."""
        if self.is_held or (line, behind) == (self._shown, self._behind):
            return
        if self._behind or not line.startswith(self._shown):
            blank = " " * max(0, columns(self._shown) - columns(line))
            self._write(f"\r{line}{blank}" + ("\b" * len(blank) if line else "\r"))
        else:
            self._write(line[len(self._shown) :])
        self._write("\b" * behind)
        self._shown, self._behind = line, behind
