"""
What the console of a running daemon looks like: line after line, or a full screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from socketd.terminal.device import COLUMNS
from socketd.terminal.line_editor import Complete, Editor, columns, fitting
from socketd.terminal.prompt_line import LEAST_ROOM, PromptLine

COMMANDING = "> "

LEAST_ROWS = 4
"""
A terminal with fewer rows has none to spare for a status line.
"""

MAX_LINE = 65536
"""
What is typed without a line end for longer is no line.
"""

_CLEAR_LINE = "\x1b[2K"
_REVERSE, _PLAIN = "\x1b[7m", "\x1b[m"


class IView(Protocol):
    """
    What is shown to the operator, and what he types.

    @ivar typed: called with each line.
    @ivar edited: called behind all that is typed.
    @ivar ended: called when nothing more will be typed.
    """

    typed: Callable[[str], object]
    edited: Callable[[], object]
    ended: Callable[[], object]

    @property
    def is_begun(self) -> bool:
        """
        Whether a line is typed that is not entered yet.
        """

    @property
    def columns(self) -> int | None:
        """
        How wide a line may be; C{None} where that is all the same.
        """

    def begin(self, complete: Complete) -> None:
        """
        Begin to show.

        @param complete: what could stand where the cursor is.
        """

    def show(self, text: str) -> None:
        """
        Show something that happened, or an answer.

        @param text: harmless lines, without the last line end.
        """

    def set_state(self, prompt: str, status: str) -> None:
        """
        Show how things stand.

        @param prompt: asks for a word; empty where the next line is a command.
        @param status: who waits, and how many are there.
        """

    def take(self, data: bytes) -> None:
        """
        Take what was typed.

        @param data: some bytes.
        """

    def take_end(self) -> None:
        """
        Take the end of the input.
        """

    def close(self) -> None:
        """
        Leave the terminal as it was.
        """


class LineView:
    """
    One line after the other, for pipes and files.
    """

    columns: int | None = None

    def __init__(self, write: Callable[[str], object]) -> None:
        """
        Begin with nothing shown.

        @param write: what takes text.
        """
        self.typed: Callable[[str], object] = lambda line: None
        self.edited: Callable[[], object] = lambda: None
        self.ended: Callable[[], object] = lambda: None
        self._write = write
        self._rest = b""
        self._prompt = ""

    @property
    def is_begun(self) -> bool:
        """
        Whether the last line has no end yet.
        """
        return bool(self._rest)

    def begin(self, complete: Complete) -> None:
        """
        Do nothing: there are no keys here.

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
        Ask for the word, once.

        @param prompt: asks for it.
        @param status: not used: what happens tells it.
        """
        if prompt not in ("", self._prompt):
            self._write(f"{prompt}\n")
        self._prompt = prompt

    def take(self, data: bytes) -> None:
        """
        Take some lines.

        @param data: some bytes.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[:MAX_LINE]
        for line in lines:
            self.typed(line.decode("utf-8", "surrogateescape"))
        self.edited()

    def take_end(self) -> None:
        """
        Take what is left as the last line.
        """
        if self._rest:
            self.take(b"\n")
        self.ended()

    def close(self) -> None:
        """
        Do nothing: nothing was changed.
        """


class TerminalLines:
    """
    One line after the other at a terminal, and one below them to type in.
    """

    def __init__(self, write: Callable[[str], object], width: Callable[[], int]) -> None:
        """
        Begin with nothing shown.

        @param write: what takes text.
        @param width: gives the terminal's columns.
        """
        self.typed: Callable[[str], object] = lambda line: None
        self.edited: Callable[[], object] = lambda: None
        self.ended: Callable[[], object] = lambda: None
        self._width = width
        self._line = PromptLine(write, width, self._find)
        self._complete: Complete = lambda before: ()

    @property
    def columns(self) -> int:
        """
        How wide a line may be.
        """
        return self._width()

    @property
    def is_begun(self) -> bool:
        """
        Whether a line is typed that is not entered yet.
        """
        return self._line.is_begun

    def begin(self, complete: Complete) -> None:
        """
        Show the prompt.

        @param complete: what Tab asks.
        """
        self._complete = complete
        self.set_state("", "")

    def show(self, text: str) -> None:
        """
        Write lines above the prompt.

        @param text: the lines.
        """
        self._line.above(text)

    def set_state(self, prompt: str, status: str) -> None:
        """
        Change the prompt.

        @param prompt: asks for a word.
        @param status: not used: what happens tells it.
        """
        self._line.prompt = prompt or COMMANDING
        self._line.draw()

    def take(self, data: bytes) -> None:
        """
        Take keys.

        @param data: what the terminal sent.
        """
        for line in self._line.take(data):
            self.typed(line)
            self.edited()
        self.edited()
        if self._line.has_ended:
            self.ended()

    def take_end(self) -> None:
        """
        Take the end of the terminal.
        """
        self.ended()

    def resize(self) -> None:
        """
        Write the prompt again: something else may have been written over it.
        """
        self._line.redraw()

    def close(self) -> None:
        """
        Take the prompt away.
        """
        self._line.clear()

    def _find(self, before: str) -> Sequence[str]:
        return self._complete(before)


class FullScreen:
    """
    What happens scrolls by; below it stand a line with who waits, and one to type in.

    The terminal's own scrolling region is used, and its ordinary screen: what has scrolled by
    can be looked at when the console is left.
    """

    def __init__(self, write: Callable[[str], object], size: Callable[[], Any]) -> None:
        """
        Begin with nothing shown.

        @param write: what takes text.
        @param size: gives the terminal's C{columns} and C{lines}.
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
        """
        How wide a line may be.
        """
        return self._columns

    @property
    def is_begun(self) -> bool:
        """
        Whether a line is typed that is not entered yet.
        """
        return bool(self._editor.text)

    def begin(self, complete: Complete) -> None:
        """
        Divide the screen.

        @param complete: what Tab asks.
        """
        self._editor = Editor(complete)
        self._write("\n" * 2)
        self.resize()

    def resize(self) -> None:
        """
        Divide it anew: the terminal has another size.
        """
        size = self._size()
        self._rows, self._columns = max(LEAST_ROWS, size.lines), max(20, size.columns)
        self._write(f"\x1b[1;{self._rows - 2}r")
        self._draw()

    def show(self, text: str) -> None:
        """
        Let lines scroll in.

        @param text: the lines.
        """
        lines = "".join(f"\r\n{line}" for line in text.split("\n"))
        self._write(f"\x1b[{self._rows - 2};1H{lines}{self._bottom()}")

    def set_state(self, prompt: str, status: str) -> None:
        """
        Change the two lines below.

        @param prompt: asks for a word.
        @param status: what the upper one says.
        """
        if (prompt, status) != (self._prompt, self._status):
            self._prompt, self._status = prompt, status
            self._draw()

    def take(self, data: bytes) -> None:
        """
        Take keys.

        @param data: what the terminal sent.
        """
        for line in self._editor.feed(data):
            self.typed(line)
        self.edited()
        self._draw()
        if self._editor.has_ended:
            self.ended()

    def take_end(self) -> None:
        """
        Take the end of the terminal.
        """
        self.ended()

    def close(self) -> None:
        """
        Give the whole screen back.
        """
        last = f"\x1b[{self._rows};1H{_CLEAR_LINE}"
        self._write(f"\x1b[r\x1b[{self._rows - 1};1H{_CLEAR_LINE}{last}")

    def _draw(self) -> None:
        self._write(self._bottom())

    def _bottom(self) -> str:
        """
        Write the two lines, and leave the cursor where is typed.
        """
        status = fitting(self._status, self._columns)
        status += " " * (self._columns - columns(status))
        prompt = fitting(self._prompt or COMMANDING, self._columns - LEAST_ROOM)
        text, cursor = self._editor.window(self._columns - columns(prompt) - 1)
        return (
            f"\x1b[{self._rows - 1};1H{_REVERSE}{status}{_PLAIN}"
            f"\x1b[{self._rows};1H{_CLEAR_LINE}{prompt}{text}"
            f"\x1b[{self._rows};{columns(prompt) + cursor + 1}H"
        )
