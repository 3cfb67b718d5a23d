"""
What signals mean: reload, stop, stop now.

SIGHUP has two meanings. Sent to a daemon it asks for a reload; sent because the
terminal was closed it is the end of all that runs there.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from time import monotonic
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

#: The first of these stops, the next one does not wait any more.
STOP = (signal.SIGTERM, signal.SIGINT)

#: The controlling terminal of the process, whichever it is (tty(4)).
TERMINAL = "/dev/tty"

#: Seconds between two looks at the terminal, for it may go without a signal: from a job
#: in the background when its shell ends.
LOOK_INTERVAL = 1.0

#: How long a shell may take to tell its jobs that the terminal was closed (seconds).
#: A SIGHUP that comes later has another reason.
NOTICE = 10.0


class Terminal:
    """
    The controlling terminal, as long as there is one.
    """

    def __init__(self, clock: Callable[[], float] = monotonic, path: str = TERMINAL) -> None:
        self._clock = clock
        self._path = path
        # nohup(1) has SIGHUP ignored: the process is to outlive the terminal.
        self._matters = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
        # In another one (twistd in the background makes it) no terminal matters any more.
        self._session = os.getsid(0)
        self._seen = float("-inf")
        self.look()

    def look(self) -> bool:
        """
        See whether it is there.
        """
        try:
            os.close(os.open(self._path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
        except OSError:
            return False
        self._seen = self._clock()
        return True

    def was_closed(self) -> bool:
        """
        Say whether it is not there any more, since shortly.
        """
        if not self._matters or os.getsid(0) != self._session or self.look():
            return False
        return self._clock() - self._seen < NOTICE


class Hangups:
    """
    Takes SIGHUP from the first moment on: by default it would end a daemon that is
    just starting.

    @ivar waiting: whether one came that nobody has taken yet.
    """

    def __init__(self) -> None:
        self.waiting = False
        signal.signal(signal.SIGHUP, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self.waiting = True


class Signals(Service):
    """
    Takes the signals while the reactor runs.

    Twisted's own way ends the process by the signal, after a stop in good order,
    and a second signal in a traceback.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        reload: Callable[[], object],
        abort: Callable[[], object],
        hangups: Hangups | None = None,
        terminal: Terminal | None = None,
    ) -> None:
        """
        @param reload: called for SIGHUP.
        @param abort: called for the second signal to stop.
        @param hangups: has those that came before.
        @param terminal: what SIGHUP may tell the end of.
        """
        self._reactor = reactor
        self._reload = reload
        self._abort = abort
        self._hangups = hangups
        self._terminal = terminal
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor
        self._stopping = False

    def startService(self) -> None:
        """
        Take the signals as soon as the reactor has taken them for itself.
        """
        super().startService()
        self._reactor.callWhenRunning(self._install)

    def _install(self) -> None:
        for number in STOP:
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_hangup)
        if self._hangups is not None and self._hangups.waiting:
            self._hang_up()
        if self._terminal is not None:
            self._looking.start(LOOK_INTERVAL)

    def stopService(self) -> None:
        """
        Look no more.
        """
        super().stopService()
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> None:
        if self._terminal is not None and not self._terminal.look():
            self._looking.stop()

    def _on_stop(self, number: int, frame: Any) -> None:
        self._reactor.callFromThread(self._stop)

    def _on_hangup(self, number: int, frame: Any) -> None:
        self._reactor.callFromThread(self._hang_up)

    def _hang_up(self) -> None:
        if self._terminal is None or not self._terminal.was_closed():
            self._reload()
        elif not self._stopping:
            # The kernel and the shell may both tell: that is no impatience.
            self._log.info("the terminal was closed")
            self._stop()

    def _stop(self) -> None:
        if self._stopping:
            self._abort()
        else:
            self._stopping = True
            self._reactor.stop()
