"""Tests for L{socketd.control.reports}, with a daemon that listens."""

from __future__ import annotations

import os

from socketd.control.commands import execute
from tests.control.fakes import FakeOperatorSession
from tests.support.daemons import DaemonCase

INI = """
[echo]
listen = tcp:0:interface=127.0.0.1, unix:{path}
"""


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
