"""The views of the console: line by line, or full screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from socketd.common.lines import LineBuffer
from socketd.terminal.device import COLUMNS
from socketd.terminal.line_editor import Complete, Editor, columns, fitting
from socketd.terminal.prompt_line import LEAST_ROOM, PromptLine

COMMANDING = "> "

#: Minimum rows assumed: two for the output, one for the status line, one for input.
LEAST_ROWS = 4

#: Bytes kept of a line: more than the daemon takes, so that it rejects a longer one.
MAX_LINE = 65536

_CLEAR_LINE = "\x1b[2K"
_REVERSE, _PLAIN = "\x1b[7m", "\x1b[m"


class IView(Protocol):
    """
    The operator's view: output and input.

    @ivar typed: called with each entered line.
    @ivar edited: called after all input is processed.
    @ivar ended: called at EOF.
    """

    typed: Callable[[str], object]
    edited: Callable[[], object]
    ended: Callable[[], object]

    @property
    def is_begun(self) -> bool:
        """Whether a line is begun but not yet entered."""

    @property
    def columns(self) -> int | None:
        """The columns of a line; C{None}: no limit."""

    def begin(self, complete: Complete) -> None:
        """
        Start the output.

        @param complete: called on Tab.
        """

    def show(self, text: str) -> None:
        """
        Show an event or an answer.

        @param text: sanitized lines, without the last line end.
        """

    def set_state(self, prompt: str, status: str) -> None:
        """
        Show the prompt and the status.

        @param prompt: the prompt for a word; empty: the next line is a command.
        @param status: the number of connections, and those that wait.
        """

    def take(self, data: bytes) -> None:
        """
        Process input.

        @param data: the bytes.
        """

    def take_end(self) -> None:
        """Process EOF."""

    def close(self) -> None:
        """Restore the terminal."""


class LineView:
    """Line by line, for pipes and files."""

    columns: int | None = None

    def __init__(self, write: Callable[[str], object]) -> None:
        """
        Start with nothing shown.

        @param write: writes text to the output.
        """
        self.typed: Callable[[str], object] = lambda line: None
        self.edited: Callable[[], object] = lambda: None
        self.ended: Callable[[], object] = lambda: None
        self._write = write
        self._input = LineBuffer(MAX_LINE)
        self._prompt = ""

    @property
    def is_begun(self) -> bool:
        """Whether the last line is incomplete."""
        return self._input.is_begun

    def begin(self, complete: Complete) -> None:
        """
        Do nothing: a pipe has no completion.

        @param complete: not used.
        """

    def show(self, text: str) -> None:
        """
        Write lines.

        @param text: the lines.
        """
        self._write(text + "\n")

    def set_state(self, prompt: str, status: str) -> None:
        """
        Show a new prompt once.

        @param prompt: the prompt for a word.
        @param status: unused: the events contain it.
        """
        if prompt not in ("", self._prompt):
            self._write(f"{prompt}\n")
        self._prompt = prompt

    def take(self, data: bytes) -> None:
        """
        Process lines.

        @param data: the bytes.
        """
        lines = self._input.feed(data)
        while lines:
            self.typed(lines.popleft().decode("utf-8", "surrogateescape"))
        self.edited()

    def take_end(self) -> None:
        """Process an incomplete last line, then EOF."""
        if self._input.is_begun:
            self.take(b"\n")
        self.ended()

    def close(self) -> None:
        """Do nothing: there is no terminal to restore."""


class TerminalLines:
    """Line by line at a terminal, with an input line at the bottom."""

    def __init__(self, write: Callable[[str], object], width: Callable[[], int]) -> None:
        """
        Start with nothing shown.

        @param write: writes text to the output.
        @param width: returns the terminal's columns.
        """
        self.typed: Callable[[str], object] = lambda line: None
        self.edited: Callable[[], object] = lambda: None
        self.ended: Callable[[], object] = lambda: None
        self._width = width
        self._line = PromptLine(write, width)

    @property
    def columns(self) -> int:
        """The columns of a line."""
        return self._width()

    @property
    def is_begun(self) -> bool:
        """Whether a line is begun but not yet entered."""
        return self._line.is_begun

    def begin(self, complete: Complete) -> None:
        """
        Show the prompt.

        @param complete: called on Tab.
        """
        self._line.complete = complete
        self.set_state("", "")

    def show(self, text: str) -> None:
        """
        Write lines above the prompt.

        @param text: the lines.
        """
        self._line.show(text)

    def set_state(self, prompt: str, status: str) -> None:
        """
        Change the prompt.

        @param prompt: the prompt for a word.
        @param status: unused: the events contain it.
        """
        self._line.prompt = prompt or COMMANDING
        self._line.draw()

    def take(self, data: bytes) -> None:
        """
        Process keys.

        @param data: bytes from the terminal.
        """
        for line in self._line.take(data):
            self.typed(line)
            self.edited()
        self.edited()
        if self._line.has_ended:
            self.ended()

    def take_end(self) -> None:
        """Process EOF."""
        self.ended()

    def resize(self) -> None:
        """Redraw the prompt: another program may have written over it."""
        self._line.redraw()

    def close(self) -> None:
        """Erase the prompt."""
        self._line.clear()


class FullScreen:
    """
    Full screen: a scrolling region for output, above a status line and an input line.

    It uses the terminal's scrolling region on its normal screen, so that the output remains in the
    scrollback after exit.
    """

    def __init__(self, write: Callable[[str], object], size: Callable[[], Any]) -> None:
        """
        Start with nothing shown.

        @param write: writes text to the output.
        @param size: returns the terminal's C{columns} and C{lines}.
        """
        self.typed: Callable[[str], object] = lambda line: None
        self.edited: Callable[[], object] = lambda: None
        self.ended: Callable[[], object] = lambda: None
        self._write = write
        self._size = size
        self._editor = Editor()
        self._prompt = self._status = ""
        self._rows, self._columns = LEAST_ROWS, COLUMNS

    @property
    def columns(self) -> int:
        """The columns of a line."""
        return self._columns

    @property
    def is_begun(self) -> bool:
        """Whether a line is begun but not yet entered."""
        return bool(self._editor.text)

    def begin(self, complete: Complete) -> None:
        """
        Set up the screen.

        @param complete: called on Tab.
        """
        self._editor = Editor(complete)
        self._write("\n" * 2)
        self.resize()

    def resize(self) -> None:
        """Adapt to the terminal's new size."""
        size = self._size()
        self._rows, self._columns = max(LEAST_ROWS, size.lines), max(20, size.columns)
        self._write(f"\x1b[1;{self._rows - 2}r")
        self._draw()

    def show(self, text: str) -> None:
        """
        Append lines to the scrolling region.

        @param text: the lines.
        """
        lines = "".join(f"\r\n{line}" for line in text.split("\n"))
        self._write(f"\x1b[{self._rows - 2};1H{lines}{self._bottom()}")

    def set_state(self, prompt: str, status: str) -> None:
        """
        Change the status line and the input line.

        @param prompt: the prompt for a word.
        @param status: the text of the status line.
        """
        if (prompt, status) != (self._prompt, self._status):
            self._prompt, self._status = prompt, status
            self._draw()

    def take(self, data: bytes) -> None:
        """
        Process keys.

        @param data: bytes from the terminal.
        """
        for line in self._editor.feed(data):
            self.typed(line)
        self.edited()
        self._draw()
        if self._editor.has_ended:
            self.ended()

    def take_end(self) -> None:
        """Process EOF."""
        self.ended()

    def close(self) -> None:
        """Reset the scrolling region."""
        last = f"\x1b[{self._rows};1H{_CLEAR_LINE}"
        self._write(f"\x1b[r\x1b[{self._rows - 1};1H{_CLEAR_LINE}{last}")

    def _draw(self) -> None:
        self._write(self._bottom())

    def _bottom(self) -> str:
        """Return the sequence that draws both lines and places the cursor."""
        status = fitting(self._status, self._columns)
        status += " " * (self._columns - columns(status))
        prompt = fitting(self._prompt or COMMANDING, self._columns - LEAST_ROOM)
        text, cursor = self._editor.window(self._columns - columns(prompt) - 1)
        return (
            f"\x1b[{self._rows - 1};1H{_REVERSE}{status}{_PLAIN}"
            f"\x1b[{self._rows};1H{_CLEAR_LINE}{prompt}{text}"
            f"\x1b[{self._rows};{columns(prompt) + cursor + 1}H"
        )
