"""
A terminal that hands over each key, and how large it is.
"""

from __future__ import annotations

import os
import signal
import termios
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

COLUMNS, LINES = 80, 24
"""
The size of a terminal that does not know it, as a serial line or a pipe to a container.
"""

DUMB = ("", "dumb", "unknown")
"""
The types (C{TERM}) that take no escape codes.
"""


def terminal_size(descriptor: int = 1) -> os.terminal_size:
    """
    Ask a terminal how large it is.

    @param descriptor: the terminal.
    @return: its size, or that of a terminal that does not know it.
    """
    try:
        found = os.get_terminal_size(descriptor)
    except OSError:
        found = os.terminal_size((0, 0))
    return os.terminal_size((found.columns or COLUMNS, found.lines or LINES))


def takes_escape_codes(environ: Mapping[str, str]) -> bool:
    """
    Say whether the terminal can move its cursor over the whole screen.

    @param environ: the environment.
    """
    return environ.get("TERM", "") not in DUMB


def is_terminal() -> bool:
    """
    Say whether a person types and reads here.
    """
    return os.isatty(0) and os.isatty(1)


class Keys:
    """
    Has a terminal hand over each key, and show none by itself; Ctrl-C stays a signal.

    @ivar continued: called when the process goes on after Ctrl-Z.
    """

    def __init__(self, descriptor: int = 0) -> None:
        """
        Change nothing yet.

        @param descriptor: the terminal.
        """
        self.continued: Callable[[], object] = int
        self._descriptor = descriptor
        self._before: Any = None

    def take(self) -> None:
        """
        Change the terminal.
        """
        if self._before is None:
            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor)
            signal.signal(signal.SIGTSTP, self._stop)

    def give_back(self) -> None:
        """
        Leave the terminal as it was.
        """
        before, self._before = self._before, None
        if before is not None:
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            try:
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, before)
            except termios.error:
                # It is gone.
                pass

    def _stop(self, *_: object) -> None:
        # Not every shell sees to the terminal itself when a program stops.
        self.give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self.take()
        self.continued()


@contextmanager
def key_by_key(keys: Keys | None) -> Iterator[None]:
    """
    Have the keys as long as something is done.

    @param keys: the terminal; C{None} where there is none.
    """
    if keys is None:
        yield
        return
    keys.take()
    try:
        yield
    finally:
        keys.give_back()
