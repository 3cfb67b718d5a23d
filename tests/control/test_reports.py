"""Tests for L{socketd.control.reports}, with a daemon that listens."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.common.answers import text_of
from socketd.common.errors import CommandError
from socketd.control import reports
from socketd.control.commands import execute
from socketd.control.results import CommandResult
from socketd.protocols.measure.sequence import Arrivals, Sender
from tests.control.fakes import FakeOperatorSession, make_daemon
from tests.support.daemons import DaemonCase

CONFIGURATION = """
[one]
protocol = echo
listen = udp:7007
sequence = 0:4

[two]
protocol = echo
listen = udp:7008
sequence = 0:4
"""

INI = """
[echo]
listen = tcp:0:interface=127.0.0.1, unix:{path}
"""


class SourcesTests(SynchronousTestCase):
    """Tests for C{sources}."""

    def setUp(self) -> None:
        self.daemon = make_daemon(CONFIGURATION)
        self.daemon.reactor.advance(10.0)
        one, two = self.daemon.service_states
        self.add(one, ("192.0.2.1", 50000), 1, 2, 5, 4, 4)
        self.add(one, ("fe80::1%eth0", 50001), 7)
        self.add(two, "/run/client", 1)
        self.add(two, None, 1)

    def add(self, service_state: Any, source: Any, *numbers: int) -> None:
        """Add a source, seen 2.5 s ago."""
        arrivals = Arrivals()
        for number in numbers:
            arrivals.add(number)
        service_state.sources[source] = Sender(arrivals, 7.5)

    def execute(self, line: str) -> CommandResult:
        """Execute a command."""
        session = FakeOperatorSession()
        result: CommandResult = self.successResultOf(execute(self.daemon, line, session))
        return result

    def test_list(self) -> None:
        """The latest are first; what came late is not lost."""
        expected = [
            ["one", "[fe80::1%eth0]:50001", 1, 0, 0, 0, 2.5],
            ["one", "192.0.2.1:50000", 5, 1, 1, 1, 2.5],
            ["two", "unix", 1, 0, 0, 0, 2.5],
            ["two", "unix /run/client", 1, 0, 0, 0, 2.5],
        ]
        result = self.execute("sources")
        self.assertEqual(result.rows, expected)
        self.assertIn("2.5 s", text_of(result.answer))

    def test_one(self) -> None:
        """Those of one service; an unknown one is named."""
        self.assertEqual([row[0] for row in self.execute("sources two").rows], ["two", "two"])
        failed = execute(self.daemon, "sources tow", FakeOperatorSession())
        self.assertIn("tow is no service", str(self.failureResultOf(failed, CommandError).value))

    def test_bounded(self) -> None:
        """An answer has no more than so many."""
        self.patch(reports, "MAX_ROWS", 3)
        self.assertEqual(len(self.execute("sources").rows), 3)


class ListenersTests(DaemonCase):
    """Tests for C{listeners}."""

    def states(self) -> list[object]:
        """List the states of the listeners, in the order of the file."""
        result = self.successResultOf(execute(self.daemon, "listeners", FakeOperatorSession()))
        self.assertEqual(result.columns, ("service", "listener", "state"))
        return [state for service, listener, state in result.rows]

    def test_states(self) -> None:
        """
        A listener serves, or is down, or its file is gone; while the daemon drains there is none.
        """
        path = f"{self.runtime}/echo.sock"
        self.start(INI.format(path=path))
        self.assertEqual(self.states(), ["serving", "serving"])
        os.unlink(path)
        port = self.service().bound[0].port
        assert port is not None
        port.close()
        gone = "its file is gone; a reload makes another one"
        self.assertEqual(self.states(), ["down", gone])
        self.daemon.drain()
        self.assertEqual(self.states(), [])
