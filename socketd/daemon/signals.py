"""
Signal handling: reload, graceful shutdown, immediate stop.

SIGHUP has two meanings: a request to reload, or, when the controlling terminal has
hung up, a request to terminate.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from time import monotonic
from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

#: The first of these starts a graceful shutdown, the second resets what is left.
STOP = (signal.SIGTERM, signal.SIGINT)

#: The controlling terminal of the process (tty(4)).
TERMINAL = "/dev/tty"

#: Poll interval for the terminal (seconds): a background job may lose it without a
#: signal, when its shell ends.
POLL_INTERVAL = 1.0

#: How long a shell may take to send SIGHUP to its jobs after the terminal has hung up
#: (seconds). A later SIGHUP has another reason.
NOTICE = 10.0


class Terminal:
    """Tracks whether the controlling terminal still exists."""

    def __init__(self, clock: Callable[[], float] = monotonic, path: str = TERMINAL) -> None:
        self._clock = clock
        self._path = path
        # nohup(1) ignores SIGHUP: the process shall outlive the terminal.
        self._matters = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
        # After setsid(2), as in a background twistd, the terminal no longer matters.
        self._session = os.getsid(0)
        self._seen = float("-inf")
        self.poll()

    def poll(self) -> bool:
        """Tell whether the terminal exists, and note the time if so."""
        try:
            os.close(os.open(self._path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
        except OSError:
            return False
        self._seen = self._clock()
        return True

    def was_closed(self) -> bool:
        """Tell whether the terminal disappeared less than L{NOTICE} seconds ago."""
        if not self._matters or os.getsid(0) != self._session or self.poll():
            return False
        return self._clock() - self._seen < NOTICE


class Hangups:
    """
    Records SIGHUP during start-up, where its default action would terminate the daemon.

    @ivar waiting: whether a SIGHUP is pending.
    """

    def __init__(self) -> None:
        self.waiting = False
        signal.signal(signal.SIGHUP, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self.waiting = True


@define(eq=False, slots=False)
class Signals(Service):
    """
    Handles the signals while the reactor runs: the second one to stop aborts.

    Twisted re-raises the signal after a clean stop (non-zero status), and a second one
    prints a traceback.
    """

    _log = Logger()

    _reactor: Any
    _reload: Callable[[], object]
    _abort: Callable[[], object]
    _hangups: Hangups | None = None
    _terminal: Terminal | None = None
    _polling: LoopingCall = field(init=False)
    _stopping: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._polling = LoopingCall(self._poll)
        self._polling.clock = self._reactor

    def startService(self) -> None:
        """Install the handlers once the reactor has installed its own."""
        super().startService()
        self._reactor.callWhenRunning(self._install)

    def _install(self) -> None:
        later = self._reactor.callFromThread
        for number in STOP:
            signal.signal(number, lambda number, frame: later(self._stop))
        signal.signal(signal.SIGHUP, lambda number, frame: later(self._hang_up))
        if self._hangups is not None and self._hangups.waiting:
            self._hang_up()
        if self._terminal is not None:
            self._polling.start(POLL_INTERVAL)

    def stopService(self) -> None:
        super().stopService()
        if self._polling.running:
            self._polling.stop()

    def _poll(self) -> None:
        if self._terminal is not None and not self._terminal.poll():
            self._polling.stop()

    def _hang_up(self) -> None:
        if self._terminal is None or not self._terminal.was_closed():
            self._reload()
        elif not self._stopping:
            # The kernel and the shell may both send SIGHUP; the second must not abort.
            self._log.info("the terminal was closed")
            self._stop()

    def _stop(self) -> None:
        if self._stopping:
            self._abort()
        else:
            self._stopping = True
            self._reactor.stop()
