"""Tests for L{socketd.control.fault_commands}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.common.answers import text_of
from socketd.common.errors import CommandError
from socketd.control.commands import execute
from socketd.control.results import CommandResult
from socketd.daemon.faults import follow_file
from tests.control.fakes import FakeOperatorSession, connect, make_daemon, watch

CONFIGURATION = """
[fault:slow]
seed = 7
latency = 80ms jitter 20ms normal

[fault:lossy]
loss = 10% burst 25%

[echo]
listen = tcp:7007, udp:7007
fault = slow

[upper]
listen = tcp:7008
"""


class Case(SynchronousTestCase):
    """A daemon with profiles."""

    def setUp(self) -> None:
        self.daemon = make_daemon(CONFIGURATION)
        self.echo, self.upper = self.daemon.services
        follow_file(self.echo, None, self.daemon.settings.faults)
        self.session = FakeOperatorSession()

    def execute(self, line: str) -> CommandResult:
        """Execute a command."""
        result: CommandResult = self.successResultOf(execute(self.daemon, line, self.session))
        return result

    def refused(self, line: str) -> str:
        """Return why a command fails."""
        done = execute(self.daemon, line, self.session)
        return str(self.failureResultOf(done, CommandError).value)


class ListTests(Case):
    """Tests for C{faults}."""

    def test_list(self) -> None:
        """Each profile is listed, with the service at which it is on, and what it has done."""
        faults = self.echo.service_state.faults
        assert faults is not None
        faults.draw_connection()
        self.echo.service_state.counters.faults.update(latency=3, loss=2)
        result = self.execute("faults")
        slow, lossy = result.rows
        self.assertEqual(
            slow,
            ("slow", "echo", 7, 1, "latency 3, loss 2", "latency 80ms jitter 20ms normal"),
        )
        self.assertEqual(lossy, ("lossy", None, None, None, None, "loss 10% burst 25%"))
        self.assertEqual(result.facts, {"acted": {"echo": {"latency": 3, "loss": 2}}})
        self.assertIn("PROFILE", text_of(result.answer))

    def test_twice(self) -> None:
        """One that is on at two services has a line for each."""
        self.execute("fault upper slow")
        found = [row[:2] for row in self.execute("faults").rows]
        self.assertEqual(found, [("slow", "echo"), ("slow", "upper"), ("lossy", None)])

    def test_none(self) -> None:
        """Without profiles the list is empty."""
        self.daemon = make_daemon()
        self.assertEqual(self.execute("faults").rows, [])


class SwitchTests(Case):
    """Tests for C{fault}."""

    def test_on(self) -> None:
        """A profile is switched on for what comes; it is logged who did it."""
        said = watch(self.daemon)
        result = self.execute("fault upper slow")
        self.assertEqual(result.text, "fault of upper: slow, seed 7")
        expected = {"service": "upper", "profile": "slow", "seed": 7, "connections_switched": 0}
        self.assertEqual(result.facts, expected)
        line = "fault of upper: slow, seed 7: latency 80ms jitter 20ms normal"
        self.assertEqual(
            said, [("fault_changed", line), ("operator_command", "operator: fault upper slow")]
        )

    def test_off(self) -> None:
        """It is switched off."""
        self.assertEqual(self.execute("fault echo off").text, "fault of echo: off")
        self.assertIsNone(self.echo.service_state.faults)

    def test_now(self) -> None:
        """With C{now} the open connections of the service are switched, too, and no other."""
        echo, upper = connect(self.daemon, "echo"), connect(self.daemon, "upper")
        result = self.execute('{"command": "fault", "service": "echo", "profile": "slow",'
                              ' "now": "now"}')  # fmt: skip
        self.assertEqual(result.text, "fault of echo: slow, seed 7; 1 open connections switched")
        assert echo.fault is not None
        self.assertEqual((echo.fault.number, upper.fault), (1, None))
        self.execute("fault echo lossy")
        self.assertEqual(echo.fault.profile.name, "slow")
        self.execute("fault echo off now")
        self.assertIsNone(echo.fault)

    def test_show(self) -> None:
        """C{show} has what was drawn for a connection."""
        one, other = connect(self.daemon, "echo"), connect(self.daemon, "upper")
        faults = self.echo.service_state.faults
        assert faults is not None
        one.change_fault(faults.draw_connection())
        found = self.execute(f"show {one.connection_id}")
        text = "slow 7/echo/1: latency 80ms jitter 20ms normal"
        self.assertEqual(found.rows[-1], ("FAULT", text))
        self.assertEqual(found.facts["connection"]["fault"], text)
        self.assertEqual(self.execute(f"show {other.connection_id}").rows[-1], ("FAULT", None))

    def test_refused(self) -> None:
        """What there is not, or does not fit, is refused with what would be right."""
        expected = {
            "fault ecko slow": "ecko is no service; did you mean echo?",
            "fault echo slwo": "slwo is no fault profile; did you mean slow?",
            "fault upper lossy": "lossy has loss, for datagrams only (a stream would be"
            " corrupted, not lossy), which no listener here takes; write udp:PORT",
            "fault echo slow later": "write fault SERVICE PROFILE [now]",
            "fault echo": "write fault SERVICE PROFILE [now]",
            'fault echo "slow"\x1b': r'"slow"\x1b is no fault profile; known are lossy, slow',
        }
        self.assertEqual({line: self.refused(line) for line in expected}, expected)
        self.daemon = make_daemon()
        self.assertEqual(
            self.refused("fault ack slow"),
            "slow is no fault profile; write a section [fault:slow]",
        )
