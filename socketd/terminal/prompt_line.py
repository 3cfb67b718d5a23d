"""
The input line at the bottom of a scrolling terminal.

It needs no escape codes: carriage return, blanks and backspaces work on every terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from socketd.terminal.line_editor import Complete, Editor, columns, fitting

#: Columns that a prompt leaves for input.
LEAST_ROOM = 12


class PromptLine:
    """
    A prompt, followed by the edited line.

    @ivar prompt: the prompt text, shown from the next L{draw} on.
    @ivar is_held: whether backpressure from the terminal suspends all output.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        width: Callable[[], int],
        complete: Complete = lambda before: (),
    ) -> None:
        """
        Start without a prompt.

        @param write: writes text to the terminal.
        @param width: returns the terminal's columns.
        @param complete: called on Tab.
        """
        self.is_held = False
        self._write = write
        self._width = width
        self._editor = Editor(complete)
        self.prompt = ""
        self._shown = ""
        self._behind = 0

    @property
    def is_begun(self) -> bool:
        """Whether the line is begun but not yet entered."""
        return bool(self._editor.text)

    @property
    def has_ended(self) -> bool:
        """Whether Ctrl-D was typed on an empty line."""
        return self._editor.has_ended

    def take(self, data: bytes) -> Iterator[str]:
        """
        Process keys.

        @param data: bytes from the terminal.
        @return: each line, as soon as it is entered.
        """
        for line in self._editor.feed(data):
            self._finish(line)
            yield line
        self.draw()

    def above(self, text: str) -> None:
        """
        Show lines above the input line.

        @param text: the lines, without the last line end.
        """
        self.clear()
        if not self.is_held:
            self._write(f"{text}\n")
        self.draw()

    def redraw(self) -> None:
        """Redraw the line after another program wrote over it."""
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

    def draw(self) -> None:
        """Show the prompt and the edited line."""
        text, before = self._editor.window(self._room())
        self._put(self._visible_prompt() + text, columns(text) - before)

    def _visible_prompt(self) -> str:
        return fitting(self.prompt, self._width() - LEAST_ROOM)

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
