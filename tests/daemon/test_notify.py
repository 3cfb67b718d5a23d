"""Tests for L{socketd.daemon.notify}."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.configuration import Configuration
from socketd.daemon.notify import (
    EXTEND_INTERVAL,
    EXTENSION,
    LOOK,
    MAX_OWED,
    MAX_STATUS,
    RETRY,
    STATUS_INTERVAL,
    Notifier,
    NotifyService,
    status_line,
)
from socketd.daemon.snapshot import Snapshot
from socketd.daemon.state import State
from socketd.daemon.wiring import make_daemon
from socketd.settings.model import DaemonOptions, Settings

PID = 4711

#: The summaries of a daemon without services, with no connections and with three.
NONE = "0 services at 0 listeners, 0 connections"
SOME = "0 services at 0 listeners, 3 connections"

#: More than fits a queue of systemd's (net.unix.max_dgram_qlen) or of any kernel's.
MANY = 100_000


class Systemd:
    """The other end: a socket that messages come to."""

    def __init__(self, address: str) -> None:
        """@param address: a path, or an abstract one that begins with NUL."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(address)
        self.sock.setblocking(False)

    def heard(self) -> list[str]:
        messages = []
        try:
            while True:
                messages.append(self.sock.recv(65536).decode())
        except BlockingIOError:
            return messages

    def fill(self) -> None:
        """Leave no room in the queue."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            try:
                for _ in range(MANY):
                    other.sendto(b"", self.sock.getsockname())
            except BlockingIOError:
                return
        raise AssertionError("the queue has no end")


class FakeDaemon:
    """
    A daemon that enters the states that a test wants.

    @ivar connections: how many it has.
    @ivar is_alive: whether its workers answer.
    """

    def __init__(self) -> None:
        self.state = State.STARTING
        self.connections = 0
        self.is_alive = True
        self.callbacks: list[Callable[[str, str], None]] = []

    def on_state(self, callback: Callable[[str, str], None]) -> None:
        self.callbacks.append(callback)

    def snapshot(self) -> Snapshot:
        return Snapshot(self.state, self.state, connections=self.connections)

    def enter(self, state: State, detail: str = "") -> None:
        self.state = state
        for callback in self.callbacks:
            callback(state, detail)


class Case(SynchronousTestCase):
    """A socket to be told, and a clock."""

    def setUp(self) -> None:
        # A path for UNIX sockets has to be short.
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        self.path = os.path.join(directory, "notify")
        self.systemd = Systemd(self.path)
        self.addCleanup(self.systemd.sock.close)
        self.environ = {"NOTIFY_SOCKET": self.path, "HOME": "/"}
        self.clock = Clock()

    def notifier(self) -> Notifier:
        notifier = Notifier(self.environ, self.clock, PID)
        self.addCleanup(notifier.close)
        return notifier


class NotifierTests(Case):
    """Tests for the messages."""

    def test_messages(self) -> None:
        """Each is one message, with the status if it has one; times are in microseconds."""
        self.clock.advance(12.5)
        notifier = self.notifier()
        notifier.ready("fine")
        notifier.reloading("reads")
        notifier.stopping("2 connections")
        notifier.extend(1.5)
        notifier.alive()
        expected = [
            "READY=1\nSTATUS=fine",
            "RELOADING=1\nMONOTONIC_USEC=12500000\nSTATUS=reads",
            "STOPPING=1\nSTATUS=2 connections",
            "EXTEND_TIMEOUT_USEC=1500000",
            "WATCHDOG=1",
        ]
        self.assertEqual(self.systemd.heard(), expected)

    def test_status_not_twice(self) -> None:
        """Words that have not changed are not sent again."""
        notifier = self.notifier()
        notifier.ready("one")
        for words in ("one", "two", "two"):
            notifier.status(words)
        self.assertEqual(self.systemd.heard(), ["READY=1\nSTATUS=one", "STATUS=two"])

    def test_status_is_a_line(self) -> None:
        """No status can add a message of its own, and none is longer than a screen has use for."""
        self.notifier().ready("a\nSTOPPING=1\x1b\ud800" + "b" * 1000)
        [message] = self.systemd.heard()
        ready, status = message.split("\n")
        self.assertEqual(ready, "READY=1")
        self.assertTrue(status.startswith("STATUS=a\\nSTOPPING=1\\x1b\\ud800bb"), status)
        self.assertEqual(len(status.removeprefix("STATUS=")), MAX_STATUS)

    def test_status_line_keeps(self) -> None:
        """A line that is fine stays as it is, up to the last character that there is room for."""
        for text in ("", "fine: 1 \N{LATIN SMALL LETTER A WITH DIAERESIS}", "x" * MAX_STATUS):
            self.assertEqual(status_line(text), text)

    def test_abstract(self) -> None:
        """An at sign in front of the address is the NUL of an abstract one."""
        name = f"socketd-test-{os.getpid()}"
        systemd = Systemd(f"\0{name}")
        self.addCleanup(systemd.sock.close)
        self.environ["NOTIFY_SOCKET"] = f"@{name}"
        self.notifier().ready("fine")
        self.assertEqual(systemd.heard(), ["READY=1\nSTATUS=fine"])

    def test_variables_are_taken(self) -> None:
        """The variables leave the environment, and no others."""
        self.environ |= {"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}
        self.notifier()
        self.assertEqual(self.environ, {"HOME": "/"})

    def test_nobody(self) -> None:
        """
        Without a socket, with one of another kind, and with one that is not there nothing
        happens, however much is said.
        """
        for address in ("", "vsock:2:1", "relative", "/nowhere/at/all", "/a\0b", "/" + "x" * 200):
            environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"}
            notifier = Notifier(environ, self.clock, PID)
            for say in (notifier.ready, notifier.reloading, notifier.stopping, notifier.status):
                say("words")
            notifier.alive()
            notifier.extend(1.0)
            self.assertEqual(notifier.is_heard, address[1:2] in ("n", "x"), address)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            notifier.close()

    def test_made_again(self) -> None:
        """The listener may come back: what is sent then is received."""
        notifier = self.notifier()
        self.systemd.sock.close()
        os.unlink(self.path)
        notifier.ready("this is not heard")
        self.systemd = Systemd(self.path)
        self.addCleanup(self.systemd.sock.close)
        notifier.stopping("this is heard")
        self.assertEqual(self.systemd.heard(), ["STOPPING=1\nSTATUS=this is heard"])

    def test_full_queue(self) -> None:
        """What finds no room is sent in order when there is some; signs of life are not."""
        notifier = self.notifier()
        self.systemd.fill()
        notifier.reloading("reads")
        notifier.ready("fine")
        notifier.alive()
        self.assertEqual(set(self.systemd.heard()), {""})
        self.clock.advance(RETRY)
        first, second = self.systemd.heard()
        self.assertTrue(first.startswith("RELOADING=1\n"), first)
        self.assertEqual(second, "READY=1\nSTATUS=fine")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_full_queue_is_bounded(self) -> None:
        """Of what finds no room only the latest is kept."""
        notifier = self.notifier()
        self.systemd.fill()
        for turn in range(MAX_OWED + 5):
            notifier.extend(turn)
        self.systemd.heard()
        self.clock.advance(RETRY)
        heard = self.systemd.heard()
        self.assertEqual(len(heard), MAX_OWED)
        self.assertEqual(heard[-1], f"EXTEND_TIMEOUT_USEC={MAX_OWED + 4}000000")

    def test_close_forgets(self) -> None:
        """What is owed when the daemon ends keeps no timer."""
        notifier = self.notifier()
        self.systemd.fill()
        notifier.ready("fine")
        notifier.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(notifier.is_heard)
        notifier.ready("not any more")
        self.assertEqual(set(self.systemd.heard()), {""})


class WatchdogTests(Case):
    """Tests for what the environment says of the watchdog."""

    def test_interval(self) -> None:
        """
        The signs of life come twice in the time that systemd waits, where they are
        meant for this process and the time is one.
        """
        cases = {
            ("30000000", ""): 15.0,
            ("30000000", str(PID)): 15.0,
            ("30000000", "1"): None,
            ("30000000", "x"): None,
            ("", ""): None,
            ("0", ""): None,
            ("-1", ""): None,
            ("1e6", ""): None,
            ("\N{SUPERSCRIPT TWO}", ""): None,
            ("9" * 5000, ""): None,
        }
        for (period, wanted), interval in cases.items():
            environ = {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": period, "WATCHDOG_PID": wanted}
            notifier = Notifier(environ, self.clock, PID)
            self.assertEqual(notifier.interval, interval, (period[:20], wanted))
            notifier.close()

    def test_nobody_waits(self) -> None:
        """Without a socket there is no watchdog."""
        notifier = Notifier({"WATCHDOG_USEC": "30000000"}, self.clock, PID)
        self.assertIsNone(notifier.interval)


class ServiceTests(Case):
    """Tests for what is told of a daemon."""

    def setUp(self) -> None:
        super().setUp()
        self.daemon: Any = FakeDaemon()
        self.environ["WATCHDOG_USEC"] = "30000000"

    def start(self) -> NotifyService:
        """Start the service, and have it stopped after the test."""
        service = NotifyService(self.clock, self.daemon, self.notifier())
        service.startService()
        self.addCleanup(service.stopService)
        return service

    def heard(self) -> list[str]:
        """List what has come, without signs of life."""
        return [message for message in self.systemd.heard() if message != "WATCHDOG=1"]

    def test_not_ready_by_itself(self) -> None:
        """READY=1 is not sent before the daemon serves."""
        self.start()
        self.clock.pump([1.0] * 4)
        self.assertEqual(self.heard(), [])
        self.daemon.enter(State.SERVING)
        self.assertEqual(self.heard(), ["READY=1\nSTATUS=serving: " + NONE])

    def test_signs_of_life(self) -> None:
        """They begin at once, and come at half the time."""
        self.start()
        self.assertEqual(self.systemd.heard(), ["WATCHDOG=1"])
        self.clock.advance(14.9)
        self.assertNotIn("WATCHDOG=1", self.systemd.heard())
        self.clock.advance(0.1)
        self.assertIn("WATCHDOG=1", self.systemd.heard())

    def test_worker_gone(self) -> None:
        """There are none while a worker does not answer; the next is sent as soon as it does."""
        self.daemon.is_alive = False
        self.start()
        self.clock.pump([LOOK] * 20)
        self.assertNotIn("WATCHDOG=1", self.systemd.heard())
        self.daemon.is_alive = True
        self.clock.advance(LOOK)
        self.assertIn("WATCHDOG=1", self.systemd.heard())
        self.clock.advance(15.0 - 21 * LOOK - 0.1)
        self.assertNotIn("WATCHDOG=1", self.systemd.heard())
        self.clock.advance(0.1)
        self.assertIn("WATCHDOG=1", self.systemd.heard())

    def test_late_signs_of_life(self) -> None:
        """A reactor that was late gives one sign for all that it missed."""
        self.start()
        self.systemd.heard()
        self.clock.advance(100.0)
        self.assertEqual(self.systemd.heard().count("WATCHDOG=1"), 1)

    def test_reload(self) -> None:
        """A reload is two messages, and what was wrong with it stays in the status."""
        self.start()
        self.daemon.enter(State.RELOADING)
        self.daemon.enter(State.SERVING, "the reload was refused")
        reloading, ready = self.heard()
        self.assertTrue(reloading.startswith("RELOADING=1\nMONOTONIC_USEC="), reloading)
        expected = f"READY=1\nSTATUS=serving: {NONE}; the reload was refused"
        self.assertEqual(ready, expected)
        self.daemon.connections = 3
        self.clock.advance(STATUS_INTERVAL)
        self.assertEqual(self.heard(), [f"STATUS=serving: {SOME}; the reload was refused"])

    def test_status_follows(self) -> None:
        """The status follows the daemon, every five seconds at most."""
        self.start()
        self.daemon.enter(State.SERVING)
        self.heard()
        self.daemon.connections = 3
        self.clock.advance(STATUS_INTERVAL - 1)
        self.assertEqual(self.heard(), [])
        self.clock.advance(1)
        self.assertEqual(self.heard(), [f"STATUS=serving: {SOME}"])
        self.clock.advance(STATUS_INTERVAL)
        self.assertEqual(self.heard(), [])

    def test_drain(self) -> None:
        """A daemon that only drains does not stop."""
        self.start()
        self.clock.advance(STATUS_INTERVAL)
        self.heard()
        self.clock.advance(STATUS_INTERVAL - 1)
        self.clock.advance(0.5)
        self.daemon.enter(State.DRAINING)
        self.clock.advance(STATUS_INTERVAL)
        self.assertEqual(self.heard(), [f"STATUS=draining: {NONE}"])

    def test_stop(self) -> None:
        """While a daemon stops it asks for more time again and again, and gives signs of life."""
        service = self.start()
        self.systemd.heard()
        self.daemon.enter(State.STOPPING, "2 connections")
        extend = f"EXTEND_TIMEOUT_USEC={int(EXTENSION * 1e6)}"
        stopping = f"STOPPING=1\nSTATUS=stopping: {NONE}; 2 connections"
        self.assertEqual(self.heard(), [stopping, extend])
        self.clock.pump([EXTEND_INTERVAL] * 3)
        heard = self.systemd.heard()
        self.assertEqual(heard.count(extend), 3)
        self.assertEqual(heard.count("WATCHDOG=1"), 1)
        service.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_systemd(self) -> None:
        """Without a socket the daemon is not asked for anything, and there is no timer."""
        self.environ.clear()
        self.start()
        self.assertEqual(self.daemon.callbacks, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_real_daemon(self) -> None:
        """The daemon itself is such a subject: it is ready when it serves, and stops once."""
        configuration = Configuration(Settings("x.ini", DaemonOptions(), ()))
        daemon = make_daemon(self.clock, configuration, lambda: 0.0)
        service = NotifyService(self.clock, daemon, self.notifier())
        service.startService()
        daemon.privilegedStartService()
        daemon.startService()
        [ready] = self.heard()
        self.assertTrue(ready.startswith("READY=1\nSTATUS=serving: 0 services"), ready)
        self.successResultOf(daemon.stopService())
        service.stopService()
        stopping, _ = self.heard()
        self.assertTrue(stopping.startswith("STOPPING=1\nSTATUS=stopping"), stopping)
        self.assertEqual(self.clock.getDelayedCalls(), [])
