"""
What signals mean: reload, stop, stop now.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service

#: The first of these stops, the next one does not wait any more.
STOP = (signal.SIGTERM, signal.SIGINT)


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

    def __init__(
        self,
        reactor: Any,
        reload: Callable[[], object],
        abort: Callable[[], object],
        hangups: Hangups | None = None,
    ) -> None:
        """
        @param reload: called for SIGHUP.
        @param abort: called for the second signal to stop.
        @param hangups: has those that came before.
        """
        self._reactor = reactor
        self._reload = reload
        self._abort = abort
        self._hangups = hangups
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
            self._reload()

    def _on_stop(self, number: int, frame: Any) -> None:
        self._reactor.callFromThread(self._stop)

    def _on_hangup(self, number: int, frame: Any) -> None:
        self._reactor.callFromThread(self._reload)

    def _stop(self) -> None:
        if self._stopping:
            self._abort()
        else:
            self._stopping = True
            self._reactor.stop()
