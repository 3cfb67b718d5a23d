"""Tests for L{socketd.daemon.reload}: new rules for those who are connected."""

from __future__ import annotations

import socket
from ipaddress import ip_network
from typing import Any

from twisted.logger import LogLevel

from tests.support.daemons import ECHO, DaemonCase
from tests.support.fakes import read_all


class LimitTests(DaemonCase):
    """Tests for rules that change under live connections."""

    def is_in(self, sock: socket.socket) -> bool:
        """Say whether a peer is served within a few turns."""
        sock.send(b"x")
        self.turn()
        return read_all(sock)[0] == b"x"

    def waiting(self, line: str) -> None:
        """See who waits at this line of a service or of the daemon, as it falls and rises."""
        self.start(line.format(10))
        socks = [self.enter() for _ in range(5)]
        self.reloaded(line.format(3))
        self.assertEqual([self.is_in(sock) for sock in socks], [True] * 5)
        waiting = self.connect(self.address())
        self.assertFalse(self.is_in(waiting))
        self.reloaded(line.format(4))
        self.assertFalse(self.is_in(waiting))
        self.reloaded(line.format(6))
        self.assertEqual(self.receive(waiting, 2), b"xx")
        self.assertFalse(self.is_in(self.connect(self.address())))

    def test_max_connections_of_service(self) -> None:
        """Who is in stays when fewer are allowed, and who waits comes in when more are."""
        self.waiting(ECHO + "max_connections = {}\n")

    def test_max_connections_of_daemon(self) -> None:
        """So it is with the limit of all services."""
        self.waiting(ECHO + "[socketd]\nmax_connections = {}\n")

    def test_max_connections_is_lifted(self) -> None:
        """Who waits comes in when there is no limit any more."""
        self.start(ECHO + "max_connections = 1\n")
        self.enter()
        waiting = self.connect(self.address())
        self.assertFalse(self.is_in(waiting))
        self.reloaded(ECHO)
        self.assertEqual(self.receive(waiting, 1), b"x")

    def test_room_after_reload(self) -> None:
        """Who waits through a reload comes in when another peer leaves."""
        self.start(ECHO + "max_connections = 1\n")
        first = self.enter()
        waiting = self.connect(self.address())
        self.assertFalse(self.is_in(waiting))
        self.reloaded(ECHO + "max_connections = 1\nidle_timeout = 9s\n")
        self.assertFalse(self.is_in(waiting))
        first.close()
        self.assertEqual(self.receive(waiting, 2), b"xx")

    def test_capacity_of_removed(self) -> None:
        """The connections of a removed service count for the daemon until they have ended."""
        head = "[socketd]\nmax_connections = 2\n"
        upper = "[upper]\nlisten = tcp:0:interface=127.0.0.2\n"
        daemon = self.start(head + ECHO + upper)
        sock = self.enter("upper")
        self.assertEqual(self.ask(sock), b"HELLO")
        self.reloaded(head + ECHO)
        self.assertEqual(self.ended(sock), "closed")
        sock.close()
        self.until(lambda: not daemon.connection_table)
        self.assertEqual(daemon.shared.capacity.occupancy, 0)

    def test_max_per_source(self) -> None:
        """Who is in counts under the new limit."""
        self.start()
        socks = [self.enter() for _ in range(3)]
        self.reloaded(ECHO + "max_per_source = 4\n")
        self.assertEqual(self.ask(self.enter()), b"hello")
        self.assertEqual(self.ended(self.connect(self.address())), "reset")
        self.assertEqual([self.is_in(sock) for sock in socks], [True] * 3)
        self.assertEqual(self.ask(self.enter(source="127.0.0.2")), b"hello")

    def test_max_per_source_again(self) -> None:
        """The counts go on from one limit to the next, and each place is given back once."""
        daemon = self.start(ECHO + "max_per_source = 2\n")
        socks = [self.enter(), self.enter()]
        for limit in (3, 2, 5, 2):
            self.reloaded(ECHO + f"max_per_source = {limit}\n")
        self.assertEqual(self.ended(self.connect(self.address())), "reset")
        socks.pop().close()
        self.until(lambda: len(daemon.connection_table) == 1)
        self.assertEqual(self.ask(self.enter()), b"hello")
        socks.pop().close()
        self.reloaded(ECHO)
        self.reloaded(ECHO + "max_per_source = 1\n")
        sources = self.service().service_state.policy.local_sources
        assert sources is not None
        self.assertEqual(len(sources), 1)
        self.assertEqual(self.ended(self.connect(self.address())), "reset")

    def test_networks(self) -> None:
        """Who may no longer come in is reset and counted, others stay."""
        self.start()
        stays, goes = self.enter(), self.enter(source="127.0.0.2")
        self.reloaded(ECHO + "deny = 127.0.0.2\n")
        self.assertEqual(self.ended(goes), "reset")
        self.assertEqual(self.ask(stays), b"hello")
        self.assertEqual(self.service().service_state.counters.refused["network"], 1)

    def test_unix_has_no_network(self) -> None:
        """Peers of a UNIX socket are in no network, and stay."""
        text = "[echo]\nlisten = unix:{runtime}/e.sock\n"
        self.start(text)
        sock = self.enter(kind="unix")
        self.reloaded(text + "deny = any\nmax_per_source = 1\n")
        self.assertEqual(self.ask(sock), b"hello")

    def test_bans_stay(self) -> None:
        """A ban outlives a reload that changes the access policy."""
        daemon = self.start()
        daemon.bans.add(ip_network("127.0.0.2/32"))
        (ban,) = daemon.bans.current()
        self.reloaded(ECHO + "max_per_source = 5\n")
        self.assertEqual(daemon.bans.current(), [ban])
        self.assertEqual(self.ended(self.connect(self.address(), "127.0.0.2")), "reset")
        self.assertEqual(self.service().service_state.counters.refused["banned"], 1)

    def test_idle_timeout(self) -> None:
        """
        A deadline that comes into the file holds for those that had none; they have
        their time from then on if they have said something since they were looked at.
        """
        text = ECHO + "first_byte_timeout = 0s\nstall_timeout = 0s\nlifetime = 0s\n"
        self.start(text + "idle_timeout = 0s\n")
        quiet, busy = self.enter(), self.enter()
        self.reactor.advance(1000.0)
        self.assertEqual([self.ask(quiet), self.ask(busy)], [b"hello"] * 2)
        self.reloaded(text + "idle_timeout = 1s\n")
        for _ in range(8):
            self.reactor.pump([0.25])
            self.assertEqual(self.ask(busy), b"hello")
        self.assertEqual(self.ended(quiet), "closed")
        self.assertEqual(self.service().service_state.counters.timed_out["idle_timeout"], 1)
        self.assertEqual(self.ask(busy), b"hello")

    def test_idle_timeout_goes(self) -> None:
        """A deadline that goes out of the file holds for no connection."""
        text = ECHO + "first_byte_timeout = 0s\nstall_timeout = 0s\nlifetime = 0s\n"
        self.start(text + "idle_timeout = 1s\n")
        sock = self.enter()
        self.reloaded(text + "idle_timeout = 0s\n")
        self.reactor.pump([1.0] * 10)
        self.assertEqual(self.ask(sock), b"hello")

    def test_lifetime(self) -> None:
        """Who is older than the new file allows is closed at once."""
        self.start()
        old = self.enter()
        self.reactor.advance(20.0)
        young = self.enter()
        self.reloaded(ECHO + "lifetime = 10s\n")
        self.assertEqual(self.ended(old), "closed")
        self.assertEqual(self.ask(young), b"hello")

    def test_logging(self) -> None:
        """What is logged of connections and messages changes for those that are in."""
        self.start(ECHO + "log_connections = no\n")
        logged: list[str] = []
        log = self.daemon.event_bus._log
        self.patch(log, "emit", lambda level, format, **facts: logged.append(facts["event"]))
        self.daemon.event_bus._watchers.clear()
        self.daemon.event_bus._watched_changed()
        sock = self.enter()
        self.assertEqual(self.ask(sock), b"hello")
        self.assertEqual(logged, [])
        self.reloaded(ECHO + "log_messages = text\n")
        self.assertEqual(logged, ["reloaded", "listening"])
        self.assertEqual(self.ask(sock), b"hello")
        sock.close()
        self.until(lambda: not self.daemon.connection_table)
        self.assertEqual(logged[2:], ["message_received", "connection_lost"])
        self.reloaded(ECHO + "log_connections = no\n")
        self.assertEqual(self.ask(self.enter()), b"hello")
        self.assertEqual(logged[4:], ["reloaded", "listening"])

    def test_log_level(self) -> None:
        """The level of the log, and who is left out of it, change at once."""
        daemon = self.start()
        self.assertIs(daemon.event_bus.quiet, None)
        self.reloaded(ECHO + "[socketd]\nlog_level = error\nlog_quiet = 127.0.0.1\n")
        self.assertIs(daemon.event_bus.level, LogLevel.error)
        quiet = daemon.event_bus.quiet
        assert quiet is not None
        self.assertTrue(quiet("127.0.0.1"))
        self.assertFalse(quiet("127.0.0.2"))
        self.reloaded(ECHO)
        self.assertEqual((daemon.event_bus.level, daemon.event_bus.quiet), (LogLevel.info, None))

    def proxied(self, text: str) -> bytes:
        """
        Change the rules while the PROXY header of a balancer is pending; then send it.

        @return: the answer to its peer.
        """
        sock = self.enter()
        self.reloaded(text)
        sock.send(b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 7\r\n")
        answer = self.ask(sock)
        sock.close()
        self.until(lambda: not self.daemon.connection_table)
        return answer

    def test_balancer(self) -> None:
        """
        A balancer whose PROXY header is pending is not checked: its own address need not
        be one that is served, and takes no slot.
        """
        text = "[echo]\nlisten = haproxy:tcp:0:interface=127.0.0.1\nproxy_from = 127.0.0.1\n"
        text += "allow = 192.0.2.0/24\nmax_per_source = {}\n"
        self.start(text.format(3))
        self.assertEqual(self.proxied(text.format(2)), b"hello")
        self.assertEqual(self.proxied(text.format(1)), b"hello")
        policy = self.service().service_state.policy
        for sources in (policy.sources, policy.local_sources):
            assert sources is not None
            self.assertEqual(len(sources), 0)

    def test_datagram_rules(self) -> None:
        """The rules for datagrams change at the socket that is there."""
        text = "[echo]\nlisten = udp:0:interface=127.0.0.1\nguard_loopback = yes\n"
        text += "udp_burst = {}\nudp_rate = 1/h\n"
        self.start(text.format(1))
        for allowed in (1, 4, 2):
            self.reloaded(text.format(allowed))
            address = self.address(kind="udp")
            port: Any = self.service().bound[0].port
            # Nothing above the rate is let through by luck.
            port._guard._random = lambda: 1.0
            answers = [self.ask_datagram(address, f"{n}".encode()) for n in range(6)]
            expected = [f"{n}".encode() if n < allowed else None for n in range(6)]
            self.assertEqual(answers, expected)

    def test_datagram_networks(self) -> None:
        """Who may ask changes for those that were judged already."""
        text = "[echo]\nlisten = udp:0:interface=127.0.0.1\n"
        self.start(text)
        address = self.address(kind="udp")
        sock = self.peer(kind=socket.SOCK_DGRAM)
        sock.setblocking(False)
        for line, served in (("", True), ("deny = 127.0.0.1\n", False), ("", True)):
            self.reloaded(text + line)
            sock.sendto(b"hello", address)
            self.turn()
            if served:
                self.assertEqual(sock.recv(100), b"hello")
            else:
                self.assertRaises(BlockingIOError, sock.recv, 100)


class FormerTests(DaemonCase):
    """Tests for services that go, and come back."""

    UPPER = "[upper]\nlisten = tcp:0:interface=127.0.0.2\n"

    def test_removed(self) -> None:
        """
        What has come to a removed service is answered before its connections are closed;
        no new one is accepted.
        """
        self.start(ECHO + self.UPPER)
        sock, address = self.enter("upper"), self.address("upper")
        sock.send(b"last words")
        self.reloaded(ECHO)
        self.assertEqual(self.receive(sock, 10), b"LAST WORDS")
        self.assertEqual(self.ended(sock), "closed")
        self.assertRaises(ConnectionRefusedError, self.connect, address)

    def flood(self, name: str) -> socket.socket:
        """Be owed more than the kernel keeps."""
        sock = self.enter(name)
        for _ in self.turns():
            try:
                sock.send(b"x" * 65536)
            except BlockingIOError:
                if self.connection_of(sock)._buffered:
                    break
        return sock

    def connection_of(self, sock: socket.socket) -> Any:
        """Find the daemon's side."""
        host, port = sock.getsockname()
        (found,) = (one for one in self.daemon.connection_table if one.peer == f"{host}:{port}")
        return found

    def test_does_not_take_it(self) -> None:
        """Who does not take what a removed service sends is reset in time."""
        daemon = self.start("[socketd]\ndrain_timeout = 2s\n" + ECHO + self.UPPER)
        self.flood("upper")
        self.reloaded("[socketd]\ndrain_timeout = 2s\n" + ECHO)
        self.assertEqual(len(daemon.connection_table), 1)
        self.reactor.advance(1.5)
        self.turn()
        self.assertEqual(len(daemon.connection_table), 1)
        self.reactor.advance(0.5)
        self.turn()
        self.assertEqual(len(daemon.connection_table), 0)

    def test_comes_back(self) -> None:
        """A service that comes back continues its counts."""
        daemon = self.start(ECHO + self.UPPER)
        service_state = self.service("upper").service_state
        self.enter("upper").close()
        self.until(lambda: not daemon.connection_table)
        self.reloaded(ECHO)
        self.assertEqual(daemon.removed, {"upper": service_state})
        self.reloaded(ECHO + self.UPPER)
        self.assertEqual(daemon.removed, {})
        self.assertIs(self.service("upper").service_state, service_state)
        self.assertEqual(self.ask(self.enter("upper")), b"HELLO")
        self.assertEqual(service_state.counters.connections, 2)

    def test_comes_back_under_new_rules(self) -> None:
        """It comes back as the new file has it."""
        self.start(ECHO + self.UPPER)
        self.reloaded(ECHO)
        self.reloaded(ECHO + self.UPPER + "max_connections = 7\nlog_messages = hex\n")
        state = self.service("upper").service_state
        self.assertEqual((state.policy.capacity.limit, state.log_messages), (7, "hex"))

    def test_new_connections_stay(self) -> None:
        """
        When the time of those is over that were in when it went, those that came after
        it was back stay.
        """
        daemon = self.start(ECHO + self.UPPER)
        self.enter("upper")
        self.reloaded(ECHO)
        self.reloaded(ECHO + self.UPPER)
        sock = self.enter("upper")
        self.reactor.advance(daemon.settings.daemon.drain_timeout)
        self.turn()
        self.assertEqual(self.ask(sock), b"HELLO")

    def test_stop_waits(self) -> None:
        """A stop waits for the connections of a removed service, too."""
        daemon = self.start(ECHO + self.UPPER)
        sock = self.flood("upper")
        self.reloaded(ECHO)
        stopped = daemon.stopService()
        self.assertNoResult(stopped)
        while not read_all(sock)[1]:
            self.turn(1)
        sock.close()
        self.until(lambda: not daemon.connection_table)
        self.successResultOf(stopped)

    def test_stop_leaves_no_timer(self) -> None:
        """After a stop nothing is scheduled, though a service was just removed."""
        daemon = self.start(ECHO + self.UPPER)
        self.reloaded(ECHO)
        daemon.stopService()
        self.turn()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_all_names(self) -> None:
        """Each removed service is remembered once, however often it goes."""
        daemon = self.start(ECHO + self.UPPER)
        observers = len(daemon.event_bus._on_watched)
        for _ in range(10):
            self.reloaded(ECHO)
            self.reloaded(ECHO + self.UPPER)
        self.reloaded(ECHO)
        self.assertEqual(list(daemon.removed), ["upper"])
        self.assertEqual(len(daemon.event_bus._on_watched), observers)
