"""The service of the daemon's console, and its log observer."""

from __future__ import annotations

import atexit
from functools import partial
from typing import Any, TextIO

from twisted.application.service import Service
from twisted.internet import stdio
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEventAsClassicLogText
from zope.interface import implementer

from socketd.common.events import CATALOGUE
from socketd.common.text import escaped
from socketd.control.console import Console
from socketd.daemon.daemon import Daemon
from socketd.terminal.device import CbreakMode, terminal_width
from socketd.terminal.view import MAX_LINE

#: How long a graceful shutdown waits for a terminal that does not drain (seconds).
FLUSH_TIMEOUT = 1.0


class ConsoleService(Service):
    """The terminal of C{twistd -n socketd --console}."""

    def __init__(
        self, reactor: Any, daemon: Daemon, terminal: TextIO, keys: CbreakMode | None = None
    ) -> None:
        """
        @param terminal: the output.
        @param keys: the input, if it is the same terminal.
        """
        self.setName("console")
        self._reactor = reactor
        self._terminal = terminal
        self._keys = keys
        width = None if keys is None else partial(terminal_width, terminal.fileno())
        self.console = Console(daemon, width)
        self.console.ended.addCallback(self._restore)
        self.observer = ConsoleLog(self.console, terminal)

    def startService(self) -> None:
        """Put the terminal into cbreak mode and start the console."""
        super().startService()
        if self._keys is not None:
            self._keys.continued = self._continued
            self._keys.enter()
            # In case the process exits without stopService.
            atexit.register(self._keys.restore)
        stdio.StandardIO(self.console, reactor=self._reactor)

    def stopService(self) -> Deferred[None]:
        """Restore the terminal, when the output is flushed or L{FLUSH_TIMEOUT} has expired."""
        super().stopService()
        if self.console.connected:
            self.console.transport.loseConnection()  # type: ignore[union-attr]
            self.console.ended.addTimeout(FLUSH_TIMEOUT, self._reactor, _give_up)
        else:
            self.console.end()
        return self.console.ended

    def _continued(self) -> None:
        self._reactor.callFromThread(self.console.redraw)

    def _restore(self, result: None) -> None:
        if self._keys is not None:
            self._keys.restore()


@implementer(ILogObserver)
class ConsoleLog:
    """A log observer that shows at the console what is otherwise only logged."""

    def __init__(self, console: Console, terminal: TextIO) -> None:
        self._console = console
        self._terminal = terminal

    def __call__(self, event: LogEvent) -> None:
        """Show a log event, unless the console has already shown it."""
        shown = event.get("event") in CATALOGUE and "log_failure" not in event
        text = formatEventAsClassicLogText(event)
        if text is None or (shown and self._console.connected):
            return
        if self._console.connected:
            lines = (escaped(line.encode(), MAX_LINE) for line in text.split("\n"))
            self._console.show("\n".join(lines))
        else:
            self._terminal.write(text)
            self._terminal.flush()


def _give_up(result: object, timeout: float) -> None:
    """Stop waiting for a terminal that does not drain."""
