"""Tests for L{socketd.control.console}: the service, and the log at the console."""

from __future__ import annotations

from io import StringIO
from typing import Any

from twisted.internet import stdio
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.common.events import LISTENING
from socketd.control.console import ConsoleService
from tests.control.fakes import make_daemon

READY = b"console ready; help lists the commands\n"


class FakeTerminal(StringIO):
    """A terminal as the file object of standard output."""

    def isatty(self) -> bool:
        return True


class Case(SynchronousTestCase):
    """A console that a daemon starts, and its terminal."""

    def setUp(self) -> None:
        self.daemon = make_daemon()
        self.terminal = FakeTerminal()
        self.transport = StringTransport()
        self.patch(stdio, "StandardIO", self.take_over)
        self.service = ConsoleService(self.daemon.reactor, self.daemon, self.terminal)

    def take_over(self, protocol: Any, reactor: Any) -> None:
        """Connect the console, as L{stdio.StandardIO} does."""
        self.assertIdentical(reactor, self.daemon.reactor)
        protocol.makeConnection(self.transport)

    def log(self, text: str, **more: Any) -> None:
        """Have an event logged."""
        event = {"log_format": "{text}", "text": text, "log_level": LogLevel.info, "log_time": 0.0}
        self.service.observer(event | {"log_system": "x"} | more)


class ConsoleServiceTests(Case):
    """Tests for L{ConsoleService}."""

    def test_start(self) -> None:
        """The terminal is taken over when the service starts, not before."""
        self.assertEqual(self.transport.value(), b"")
        self.assertFalse(self.daemon.operator.attended)
        self.service.startService()
        self.assertEqual(self.transport.value(), READY)

    def test_stop(self) -> None:
        """It is given back when the service stops."""
        self.service.startService()
        self.service.stopService()
        self.assertTrue(self.transport.disconnecting)

    def test_stop_without_start(self) -> None:
        """A service that was never started stops without harm."""
        self.service.stopService()
        self.assertFalse(self.transport.disconnecting)


class ConsoleLogTests(Case):
    """Tests for L{ConsoleLog}."""

    def start(self) -> None:
        """Start the console and forget what it has shown."""
        self.service.startService()
        self.transport.clear()

    def test_interface(self) -> None:
        """It observes a log."""
        verifyObject(ILogObserver, self.service.observer)

    def test_before(self) -> None:
        """Before the console is there, the log goes to the terminal as it is."""
        self.log("starting up")
        self.assertTrue(self.terminal.getvalue().endswith("[x] starting up\n"))

    def test_shown(self) -> None:
        """Then it is shown at the console, line by line and escaped."""
        self.start()
        self.log("first\nsecond \x1b[2J")
        first, second, rest = self.transport.value().split(b"\n")
        self.assertTrue(first.endswith(b"[x] first"), first)
        self.assertTrue(second.endswith(rb"second \x1b[2J"), second)
        self.assertEqual((rest, self.terminal.getvalue()), (b"", ""))

    def test_once(self) -> None:
        """What the console has shown as an event is not shown again."""
        self.start()
        self.daemon.event_bus.emit(LISTENING, service="ack", listener="tcp *:7")
        self.log("ack listens on tcp *:7", event=LISTENING.name)
        self.assertEqual(self.transport.value(), b"ack listens on tcp *:7\n")

    def test_foreign_event(self) -> None:
        """An event of another program's that happens to have a name is shown."""
        self.start()
        self.log("hello", event="anything")
        self.assertIn(b"hello", self.transport.value())

    def test_failure(self) -> None:
        """A traceback is shown, though its event was: the event is one line only."""
        self.start()
        self.log("failed", event="protocol_failed", log_failure=Failure(ValueError("why")))
        self.assertIn(b"ValueError: why", self.transport.value())

    def test_nothing(self) -> None:
        """An event without text is no line."""
        self.start()
        self.service.observer({"log_level": LogLevel.info, "log_time": 0.0})
        self.assertEqual((self.transport.value(), self.terminal.getvalue()), (b"", ""))

    def test_after(self) -> None:
        """When the operator has gone (Ctrl-D), all of the log goes to the terminal again."""
        self.start()
        self.service.console.connectionLost()
        self.transport.clear()
        self.log("still here")
        self.log("ack listens on tcp *:7", event=LISTENING.name)
        text = self.terminal.getvalue()
        self.assertIn("still here\n", text)
        self.assertIn("ack listens on tcp *:7\n", text)
        self.assertEqual(self.transport.value(), b"")
