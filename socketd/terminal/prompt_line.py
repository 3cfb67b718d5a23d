"""
The line of a terminal in which is typed, below all that is shown.

It needs no escape codes: a carriage return, blanks and backspaces do on every terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from socketd.terminal.line_editor import Complete, Editor, columns, fitting

LEAST_ROOM = 12
"""
The columns that a prompt leaves to what is typed.
"""


class PromptLine:
    """
    A prompt, and what is typed behind it.

    @ivar prompt: what stands before what is typed, from the next L{draw} on.
    @ivar is_held: whether nothing is written, because the terminal takes nothing.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        width: Callable[[], int],
        complete: Complete = lambda before: (),
    ) -> None:
        """
        Begin without a prompt.

        @param write: what takes text.
        @param width: gives the columns of the terminal.
        @param complete: what Tab asks.
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
        """
        Whether a line is typed that is not entered yet.
        """
        return bool(self._editor.text)

    @property
    def has_ended(self) -> bool:
        """
        Whether Ctrl-D was typed on an empty line.
        """
        return self._editor.has_ended

    def take(self, data: bytes) -> Iterator[str]:
        """
        Take keys.

        @param data: what the terminal sent.
        @return: each line that is entered, as soon as it is.
        """
        for line in self._editor.feed(data):
            self._finish(line)
            yield line
        self.draw()

    def above(self, text: str) -> None:
        """
        Show lines above this one.

        @param text: the lines, without the last line end.
        """
        self.clear()
        if not self.is_held:
            self._write(f"{text}\n")
        self.draw()

    def redraw(self) -> None:
        """
        Write it again, because another program has written over it.
        """
        self._shown, self._behind = "", 0
        self.draw()

    def clear(self) -> None:
        """
        Take the line away.
        """
        self._put("", 0)

    def _finish(self, line: str) -> None:
        """
        Leave the entered line where it stands, and begin below it.
        """
        self._put(self._visible_prompt() + fitting(line, self._room()), 0)
        if not self.is_held:
            self._write("\n")
            self._shown = ""

    def draw(self) -> None:
        """
        Have the prompt stand there, and what is typed.
        """
        text, before = self._editor.window(self._room())
        self._put(self._visible_prompt() + text, columns(text) - before)

    def _visible_prompt(self) -> str:
        return fitting(self.prompt, self._width() - LEAST_ROOM)

    def _room(self) -> int:
        # The last column stays empty: a cursor behind it would stand in the next line.
        return self._width() - columns(self._visible_prompt()) - 1

    def _put(self, line: str, behind: int) -> None:
        """
        Have a text stand in the line, and the cursor so many columns before its end.
        """
        if self.is_held or (line, behind) == (self._shown, self._behind):
            return
        if self._behind or not line.startswith(self._shown):
            blank = " " * max(0, columns(self._shown) - columns(line))
            self._write(f"\r{line}{blank}" + ("\b" * len(blank) if line else "\r"))
        else:
            self._write(line[len(self._shown) :])
        self._write("\b" * behind)
        self._shown, self._behind = line, behind
