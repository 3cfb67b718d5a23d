"""What the operator sees and types at: the base of all views, that of pipes, and a prompt line."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from socketd.common.lines import LineBuffer
from socketd.common.text import columns
from socketd.terminal.line_editor import Complete, Editor, fitting

#: Bytes of the longest line that a terminal delivers (N_TTY, termios(3)).
MAX_LINE = 4096

Write = Callable[[str], object]

#: Columns that a prompt leaves for input.
LEAST_ROOM = 12


class View(ABC):
    """
    Shows lines and a prompt, and turns the operator's input into lines.

    @ivar prompt: the prompt for a word, shown from the next L{draw} on.
    @ivar command_prompt: shown at a terminal if there is no other.
    @ivar status: the status line, in a view that has one.
    @ivar complete: called on Tab, in a view that has it.
    @ivar is_held: whether backpressure from the terminal suspends all output.
    @ivar has_ended: whether the operator ended the input.
    """

    def __init__(self, write: Write) -> None:
        self.prompt = self.command_prompt = self.status = ""
        self.complete: Complete = lambda before: ()
        self.is_held = False
        self.has_ended = False
        self._write = write
        self._shown = ""

    @property
    def columns(self) -> int | None:
        """The columns of a line; C{None}: no limit."""
        return None

    @property
    @abstractmethod
    def is_begun(self) -> bool:
        """Whether a line is begun but not yet entered."""

    def start(self) -> None:
        """Begin: show the prompt."""
        self.draw()

    @abstractmethod
    def feed(self, data: bytes) -> Iterator[str]:
        """Process input; yield each line as soon as it is entered."""

    def feed_eof(self) -> Iterator[str]:
        """Process EOF; yield a last line that has no end."""
        return iter(())

    @abstractmethod
    def show(self, text: str) -> None:
        """Show lines, given without the last line end."""

    @abstractmethod
    def draw(self) -> None:
        """Show the current state of the prompt, and of the line that is begun."""

    def redraw(self) -> None:
        """Draw all again: another program wrote over it, or the size has changed."""

    def clear(self) -> None:
        """Erase the prompt, and leave the terminal as it was."""


class PlainView(View):
    """A view of lines only, for pipes and files: what is written cannot be erased."""

    def __init__(self, write: Write) -> None:
        super().__init__(write)
        self._input = LineBuffer(MAX_LINE)

    @property
    def is_begun(self) -> bool:
        return self._input.is_begun

    def feed(self, data: bytes) -> Iterator[str]:
        lines = self._input.feed(data)
        while lines:
            line = lines.popleft()
            self._shown = ""
            if len(line) > MAX_LINE:
                self.show(f"a line is at most {MAX_LINE} bytes long; it was not used")
            else:
                yield line.removesuffix(b"\r").decode("utf-8", "surrogateescape")

    def feed_eof(self) -> Iterator[str]:
        return self.feed(b"\n" * self.is_begun)

    def show(self, text: str) -> None:
        if not self.is_held:
            self._write("\n" * bool(self._shown) + f"{text}\n")
            self._shown = ""
        self.draw()

    def draw(self) -> None:
        if not self.is_held and self.prompt != self._shown:
            self._write("\n" * bool(self._shown) + self.prompt)
            self._shown = self.prompt


class EditedView(View):
    """A view of a terminal, in which keys edit a line."""

    def __init__(self, write: Write) -> None:
        super().__init__(write)
        self._editor = Editor(lambda before: self.complete(before))

    @property
    def is_begun(self) -> bool:
        return bool(self._editor.text)

    def feed(self, data: bytes) -> Iterator[str]:
        for line in self._editor.feed(data):
            self._finish(line)
            yield line
        self.has_ended = self._editor.has_ended
        self.draw()

    def _finish(self, line: str) -> None:
        """Do nothing with an entered line: the next one replaces it."""


class PromptLine(EditedView):
    """
    A prompt at the bottom of a scrolling terminal, followed by the edited line.

    It needs no escape codes: carriage return, blanks and backspaces work on every terminal.
    """

    def __init__(self, write: Write, width: Callable[[], int]) -> None:
        """@param width: returns the terminal's columns."""
        super().__init__(write)
        self._width = width
        self._behind = 0

    @property
    def columns(self) -> int:
        return self._width()

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
