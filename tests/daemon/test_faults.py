"""Tests for L{socketd.daemon.faults}: profiles at the start, at a reload, and switched live."""

from __future__ import annotations

import socket

from socketd.daemon.faults import switch, switch_open
from socketd.faults.service_faults import ServiceFaults
from tests.support.daemons import DaemonCase

LISTEN = "listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1\n"
SLOW = "[fault:slow]\nseed = 7\nlatency = 10s\n"
LOSSY = "[fault:lossy]\nseed = 8\nloss = 100%\n"
SLOW_ECHO = f"[echo]\n{LISTEN}fault = slow\n"
ECHO = f"[echo]\n{LISTEN}"
ON = "fault of echo: slow, seed 7: latency 10s"


class Case(DaemonCase):
    """A daemon with profiles."""

    @property
    def faults(self) -> ServiceFaults | None:
        """What is on at the service."""
        return self.service().service_state.faults

    def hand(self, name: str | None) -> None:
        """Switch as an operator does."""
        profile = None if name is None else self.daemon.settings.faults[name]
        switch(self.service(), profile)

    def is_on(self, name: str | None) -> bool:
        """Whether a profile is on, or none."""
        return (self.faults.profile.name if self.faults else None) == name


class StartTests(Case):
    """Tests for the start."""

    def test_on(self) -> None:
        """A service begins with the profile of the file, and the log has it with its seed."""
        self.start(f"{SLOW_ECHO}{SLOW}[upper]\nlisten = tcp:0:interface=127.0.0.1\n")
        self.assertTrue(self.is_on("slow"))
        self.assertIsNone(self.service("upper").service_state.faults)
        self.assertEqual(self.events("fault_changed"), [ON])

    def test_seed(self) -> None:
        """A seed that is not given is drawn, and is in the log."""
        self.start(SLOW_ECHO + SLOW.replace("seed = 7\n", ""))
        assert self.faults is not None
        text = ON.replace("seed 7", f"seed {self.faults.seed}")
        self.assertEqual(self.events("fault_changed"), [text])

    def test_before_the_first(self) -> None:
        """The first datagram, which came before the start, is late, too."""
        daemon = self.make(SLOW_ECHO + SLOW)
        daemon.privilegedStartService()
        sock = self.peer(kind=socket.SOCK_DGRAM)
        sock.sendto(b"early", self.address(kind="udp"))
        self.until_waiting(1, "udp")
        daemon.startService()
        self.turn()
        state = self.service().service_state
        counters = state.counters
        self.assertEqual((counters.datagrams_received, counters.datagrams_sent), (1, 0))
        self.assertEqual(counters.faults, {"latency": 1})


class ReloadTests(Case):
    """Tests for a reload."""

    def test_unchanged(self) -> None:
        """A profile that stays goes on counting, whatever else changes."""
        self.start(SLOW_ECHO + SLOW)
        before = self.faults
        self.assertEqual(self.reloaded("\n" + SLOW_ECHO + SLOW), ())
        self.assertIs(self.faults, before)
        changes = self.reloaded(SLOW_ECHO + "log_connections = no\n" + SLOW + LOSSY)
        self.assertEqual(changes, ("[fault:lossy] added", "[echo] log_connections changed"))
        self.assertIs(self.faults, before)
        self.assertEqual(self.events("fault_changed"), [ON])

    def test_changed(self) -> None:
        """One that has changed holds for what comes then, and begins to count again."""
        self.start(SLOW_ECHO + SLOW)
        assert self.faults is not None
        self.faults.draw_connection()
        changes = self.reloaded(SLOW_ECHO + SLOW.replace("7", "9") + "half-close = at once\n")
        self.assertEqual(changes, ("[fault:slow] seed, half-close changed",))
        self.assertEqual((self.faults.seed, self.faults.connections), (9, 0))

    def test_named(self) -> None:
        """A service can name another profile, or none."""
        self.start(SLOW_ECHO + SLOW)
        changes = self.reloaded(SLOW_ECHO.replace("slow", "lossy") + LOSSY)
        expected = ("[fault:slow] removed", "[fault:lossy] added", "[echo] fault changed")
        self.assertEqual(changes, expected)
        self.assertTrue(self.is_on("lossy"))
        self.assertIsNone(self.ask_datagram(self.address(kind="udp")))
        self.reloaded(ECHO)
        self.assertTrue(self.is_on(None))
        self.assertEqual(self.ask_datagram(self.address(kind="udp")), b"hello")
        self.assertEqual(self.events("fault_changed")[2], "fault of echo: off")

    def test_refused(self) -> None:
        """A reload that is refused changes nothing of it."""
        self.start(SLOW_ECHO + SLOW)
        before = self.faults
        self.refused(SLOW_ECHO + SLOW + "reset = never\n")
        self.assertIs(self.faults, before)

    def test_new_service(self) -> None:
        """A service that is added has its profile, one that comes back its new one."""
        upper = "[upper]\nlisten = tcp:0:interface=127.0.0.1\n"
        self.start(upper + SLOW)
        self.reloaded(upper + SLOW_ECHO + SLOW)
        self.assertTrue(self.is_on("slow"))
        self.reloaded(upper + SLOW)
        self.reloaded(upper + ECHO + SLOW)
        self.assertTrue(self.is_on(None))

    def test_by_hand(self) -> None:
        """What an operator has switched stays as long as the file says the same of it."""
        self.start(SLOW_ECHO + SLOW + LOSSY)
        self.hand("lossy")
        before = self.faults
        self.reloaded(SLOW_ECHO + "log_connections = no\n" + SLOW + LOSSY)
        self.assertIs(self.faults, before)
        self.hand(None)
        self.reloaded(SLOW_ECHO + SLOW + LOSSY)
        self.assertTrue(self.is_on(None))
        self.reloaded(SLOW_ECHO.replace("slow", "lossy") + SLOW + LOSSY)
        self.assertTrue(self.is_on("lossy"))

    def test_by_hand_changed(self) -> None:
        """One that the file changes is changed there, too."""
        self.start(ECHO + SLOW)
        self.hand("slow")
        self.reloaded(ECHO + SLOW.replace("7", "9"))
        assert self.faults is not None
        self.assertEqual((self.faults.profile.name, self.faults.seed), ("slow", 9))

    def test_by_hand_gone(self) -> None:
        """One that the file has no more gives way to what the file says, which is told."""
        self.start(SLOW_ECHO + SLOW + LOSSY)
        self.hand("lossy")
        changes = self.reloaded(SLOW_ECHO + SLOW)
        self.assertEqual(
            changes, ("[fault:lossy] removed", "[echo] fault lossy is gone; now slow")
        )
        self.assertTrue(self.is_on("slow"))
        self.reloaded(ECHO + SLOW)
        self.hand("slow")
        changes = self.reloaded(ECHO)
        self.assertEqual(changes, ("[fault:slow] removed", "[echo] fault slow is gone; now off"))
        self.assertTrue(self.is_on(None))


class SwitchTests(Case):
    """Tests for switching while peers are served."""

    def test_on_off(self) -> None:
        """The next connection and the next datagram have the profile, open ones do not."""
        self.start(ECHO + SLOW)
        before = self.enter()
        self.hand("slow")
        after = self.enter()
        self.assertEqual(self.ask(before), b"hello")
        self.assertIsNone(self.ask_datagram(self.address(kind="udp")))
        after.send(b"hello")
        self.turn(20)
        self.assertRaises(BlockingIOError, after.recv, 1)
        self.reactor.advance(10.0)
        self.assertEqual(self.receive(after, 5), b"hello")
        self.hand(None)
        self.assertEqual(self.ask_datagram(self.address(kind="udp")), b"hello")
        self.assertEqual(self.ask(self.enter()), b"hello")

    def test_now(self) -> None:
        """Open connections can get it, too, in the order of their ids, and lose it."""
        self.start(ECHO + SLOW)
        sock = self.enter()
        self.hand("slow")
        self.assertEqual(switch_open(self.service()), 1)
        (connection,) = self.daemon.connection_table
        assert connection.fault is not None
        self.assertEqual(connection.fault.text, "slow 7/echo/1: latency 10s")
        sock.send(b"hello")
        self.turn(20)
        self.assertRaises(BlockingIOError, sock.recv, 1)
        self.hand(None)
        self.turn(20)
        self.assertRaises(BlockingIOError, sock.recv, 1)
        self.assertEqual(switch_open(self.service()), 1)
        self.assertEqual(self.receive(sock, 5), b"hello")
        self.assertIsNone(connection.fault)

    def test_held_datagrams(self) -> None:
        """Answers that are held when the profile ends are sent, in their order."""
        self.start(SLOW_ECHO + SLOW)
        sock = self.peer(kind=socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        for number in range(5):
            sock.sendto(b"%d" % number, self.address(kind="udp"))
        counters = self.service().service_state.counters
        self.until(lambda: counters.datagrams_received == 5)
        self.assertEqual(counters.datagrams_sent, 0)
        self.hand(None)
        self.assertEqual(b"".join(sock.recv(9) for _ in range(5)), b"01234")

    def test_again(self) -> None:
        """The same profile switched on again begins its numbers, so that a run repeats."""
        self.start(SLOW_ECHO + SLOW)
        self.enter()
        self.hand("slow")
        self.enter()
        found = [one.fault and one.fault.text for one in self.daemon.connection_table]
        self.assertEqual(found, ["slow 7/echo/1: latency 10s"] * 2)

    def test_draining(self) -> None:
        """A profile that is switched while nothing is accepted holds afterwards."""
        self.start(ECHO + LOSSY)
        self.daemon.drain()
        self.hand("lossy")
        self.daemon.resume()
        self.turn()
        self.assertIsNone(self.ask_datagram(self.address(kind="udp")))

    def test_stop(self) -> None:
        """A stop with bytes held ends within C{drain_timeout}."""
        self.start(f"[socketd]\ndrain_timeout = 3s\n{SLOW_ECHO}{SLOW}")
        sock = self.enter()
        sock.send(b"hello")
        self.until(lambda: self.service().service_state.counters.faults["latency"])
        stopped = self.daemon.stopService()
        self.turn()
        self.reactor.advance(3.0)
        self.turn()
        self.successResultOf(stopped)
        self.assertEqual(len(self.daemon.connection_table), 0)
