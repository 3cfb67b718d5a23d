"""The terminal device: its size, and cbreak mode."""

from __future__ import annotations

import os
import signal
import termios
import tty
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

#: Fallback where the size is unknown, as on a serial line or in a container.
COLUMNS, LINES = 80, 24

#: Values of C{TERM} for terminals without escape codes.
DUMB = ("", "dumb", "unknown")


def terminal_size(descriptor: int = 1) -> os.terminal_size:
    """Return the size of a terminal, with L{COLUMNS} and L{LINES} where it is unknown."""
    try:
        found = os.get_terminal_size(descriptor)
    except OSError:
        found = os.terminal_size((0, 0))
    return os.terminal_size((found.columns or COLUMNS, found.lines or LINES))


def terminal_width(descriptor: int = 1) -> int:
    """Return the columns of a terminal."""
    return terminal_size(descriptor).columns


def takes_escape_codes(environ: Mapping[str, str]) -> bool:
    """Return whether the terminal supports cursor addressing."""
    return environ.get("TERM", "") not in DUMB


def is_terminal() -> bool:
    """Return whether standard input and output are both terminals."""
    return os.isatty(0) and os.isatty(1)


class CbreakMode:
    """
    Puts a terminal into cbreak mode: keys arrive at once, without echo; Ctrl-C still signals.
    C{continued} is called when the process resumes after Ctrl-Z.
    """

    def __init__(self, descriptor: int = 0) -> None:
        self.continued: Callable[[], object] = int
        self._descriptor = descriptor
        self._before: Any = None

    def enter(self) -> None:
        """Switch the terminal to cbreak mode."""
        if self._before is None:
            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor)
            signal.signal(signal.SIGTSTP, self._stop)

    def restore(self) -> None:
        """Restore the terminal's previous mode."""
        before, self._before = self._before, None
        if before is not None:
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            # It fails after the terminal has hung up.
            with suppress(termios.error):
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, before)

    def __enter__(self) -> None:
        self.enter()

    def __exit__(self, *_: object) -> None:
        self.restore()

    def _stop(self, *_: object) -> None:
        # Not every shell restores the terminal when a job stops.
        self.restore()
        os.kill(os.getpid(), signal.SIGSTOP)
        self.enter()
        self.continued()
