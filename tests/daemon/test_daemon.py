"""Tests for L{socketd.daemon.daemon}: start, drain, stop, and what it says of itself."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from socketd.common.system_clock import ClockState
from socketd.configuration import Configuration
from socketd.daemon.daemon import ADDRESS_CHECK, CERTIFICATE_CHECK, CHECK_INTERVAL
from socketd.daemon.state import CannotStart
from socketd.net.sockets.rlimit import RESERVED
from tests.support.certificates import PAST, issued
from tests.support.daemons import ECHO, PATIENCE, DaemonCase, descriptors


class StartTests(DaemonCase):
    """Tests for the start."""

    def test_states(self) -> None:
        """A daemon starts, then serves; callbacks are told of it."""
        daemon = self.make()
        told: list[tuple[str, str]] = []
        daemon.on_state(lambda state, detail: told.append((state, detail)))
        self.assertEqual((daemon.state, daemon.snapshot().health), ("starting", "starting"))
        daemon.privilegedStartService()
        self.assertEqual(told, [])
        daemon.startService()
        self.assertEqual(told, [("serving", "")])
        self.assertEqual((daemon.state, daemon.snapshot().health), ("serving", "serving"))

    def test_nobody_is_accepted_between(self) -> None:
        """
        What is bound while privileges last is served only when the daemon is started;
        who connects meanwhile is not lost.
        """
        daemon = self.make()
        daemon.privilegedStartService()
        sock = self.connect(self.address())
        sock.send(b"early")
        self.turn()
        self.assertEqual(len(daemon.connection_table), 0)
        daemon.startService()
        self.assertEqual(self.receive(sock, 5), b"early")

    def test_all_or_nothing(self) -> None:
        """Every listener that cannot be bound has its line, and then none stays bound."""
        before = descriptors()
        taken, path = self.taken(), f"{self.runtime}/a.sock"
        held = descriptors()
        text = f"[echo]\nlisten = unix:{path}, {taken}\n"
        text += f"[upper]\nlisten = tcp:0:interface=127.0.0.1, unix:{self.runtime}/no/b.sock\n"
        daemon = self.make(text)
        problem = self.assertRaises(CannotStart, daemon.privilegedStartService)
        first, second = problem.lines
        self.assertTrue(first.startswith("[echo] cannot listen at tcp 127.0.0.9:"), first)
        self.assertIn("[upper] cannot listen at unix ", second)
        self.assertEqual(str(problem), f"{first}\n{second}")
        self.assertFalse(os.path.exists(path))
        self.assertEqual(descriptors(), held)
        self.assertTrue(held > before)

    def test_optional(self) -> None:
        """A listener that may be missing is left out with a line in the log."""
        daemon = self.start(ECHO.rstrip() + ", tcp:0:interface=192.0.2.1:optional=yes\n")
        self.assertEqual(len(self.service().bound), 1)
        self.assertEqual(len(self.events("listener_skipped")), 1)
        self.assertEqual(daemon.snapshot().health, "serving")

    def test_listening_is_said_while_running(self) -> None:
        """
        Where it listens is said only when the reactor turns: who waits for that may send
        a signal at once.
        """
        daemon = self.make()
        daemon.privilegedStartService()
        daemon.startService()
        self.assertEqual(self.events("listening"), [])
        self.turn(1)
        host, port = self.address()
        self.assertEqual(self.events("listening"), [f"echo listens on tcp {host}:{port}"])

    def test_capacity(self) -> None:
        """
        The connections of all services are as many as the file says, or as the limit of
        descriptors has room for.
        """
        file = ECHO + "[socketd]\nmax_connections = 7\n"
        self.assertEqual(self.make(file).shared.capacity.limit, 7)
        self.assertEqual(self.make(file, file_limit=1000).shared.capacity.limit, 7)
        self.assertEqual(self.make(file_limit=RESERVED + 21).shared.capacity.limit, 20)
        self.assertEqual(self.make().shared.capacity.limit, None)


class SayingTests(DaemonCase):
    """Tests for what a daemon says of itself."""

    def test_summary(self) -> None:
        """The summary counts services, listeners and connections."""
        text = "[echo]\nlisten = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1\n"
        text += "[upper]\nlisten = unix:{runtime}/u.sock\n"
        daemon = self.start(text)
        self.enter()
        expected = "serving: 2 services at 3 listeners, 1 connections"
        self.assertEqual(daemon.snapshot().summary, expected)

    def test_invalid_certificate(self) -> None:
        """
        A certificate that has expired stops neither the start nor a reload; it is said at
        both, and as long as it is in use.
        """
        path = self.certify(issued("a.example", end=PAST))
        text = f"[echo]\nlisten = tls:0:interface=127.0.0.1\ntls_certificate = {path}\n"
        daemon = self.start(text)
        (line,) = self.events("certificate_invalid")
        expected = f"tls_certificate: certificate 1 of {path} expired at 2021-01-01 00:00 UTC"
        self.assertIn(expected, line)
        self.text = text + "[upper]\nlisten = tcp:0:interface=127.0.0.1\n"
        self.assertIn(f"[echo] serves on; {expected}; renew it", daemon.reload().changes)
        self.assertEqual(
            daemon.snapshot().summary,
            "serving: 2 services at 2 listeners, 0 connections, certificates not valid: 1",
        )
        self.certify(issued("a.example"))
        self.assertEqual(daemon.reload().changes, ())
        self.assertEqual(len(self.events("certificate_invalid")), 1)
        self.assertEqual(daemon.snapshot().invalid_certificates, ())

    def test_listener_down(self) -> None:
        """A listener whose socket was lost makes the daemon unhealthy, and is named."""
        daemon = self.start(ECHO + "[upper]\nlisten = tcp:0:interface=127.0.0.1\n")
        port: Any = self.service("upper").bound[0].port
        port.close()
        found = daemon.snapshot()
        self.assertEqual(found.health, "a listener of upper is down")
        self.assertEqual(found.services[1].listeners, ("tcp 127.0.0.1:0",))

    def test_healthy_while_reloading(self) -> None:
        """While the file is read peers are served: the daemon is healthy."""
        seen = []

        def configure() -> Configuration:
            seen.append((self.daemon.state, self.daemon.snapshot().health))
            return self.configure()

        self.start(configure=configure)
        self.reloaded(ECHO)
        self.assertEqual(seen, [("reloading", "serving")])

    def test_datagram_ports(self) -> None:
        """
        The ports of all datagram listeners are known, those of UNIX sockets have none;
        and a reload changes them.
        """
        text = "[echo]\nlisten = {}udp:0:interface=127.0.0.1, unixgram:{{runtime}}/g\n"
        daemon = self.start(text.format(""))
        (port,) = daemon.shared.datagram_ports
        self.assertEqual(self.address(kind="udp")[1], port)
        self.reloaded(text.format("udp:0:interface=127.0.0.2, "))
        self.assertEqual(len(daemon.shared.datagram_ports), 2)
        self.assertIn(port, daemon.shared.datagram_ports)

    def test_service_states(self) -> None:
        """What removed services have counted stays among the states of services."""
        daemon = self.start(ECHO + "[upper]\nlisten = tcp:0:interface=127.0.0.2\n")
        self.assertEqual([state.name for state in daemon.service_states], ["echo", "upper"])
        self.reloaded("[upper]\nlisten = tcp:0:interface=127.0.0.2\n")
        self.assertEqual([state.name for state in daemon.service_states], ["upper", "echo"])


class PeriodicCheckTests(DaemonCase):
    """Tests for what a daemon looks at while it runs."""

    def checks(self, count: int) -> None:
        """Let so many looks pass."""
        self.reactor.pump([CHECK_INTERVAL] * count)

    def test_clock_step(self) -> None:
        """A step of the wall clock is told once, with its size."""
        self.start()
        self.checks(2)
        self.assertEqual(self.events("clock_stepped"), [])
        self.wall -= 3600.0
        self.checks(3)
        (line,) = self.events("clock_stepped")
        self.assertIn("-3600.0 s", line)

    def test_clock_state(self) -> None:
        """Protocols are lent the state that the last look found, and see the step."""
        daemon = self.start()
        state: Callable[[], ClockState] = daemon.shared.context.clock_state
        self.assertFalse(state().stepped)
        self.wall += 10.0
        self.checks(1)
        self.assertTrue(state().stepped)

    def test_timers_ignore_steps(self) -> None:
        """A step neither ends a connection nor keeps it."""
        self.start(ECHO + "idle_timeout = 10s\n")
        sock = self.enter()
        self.wall += 86400.0
        self.checks(5)
        self.assertEqual(self.ask(sock), b"hello")
        self.wall -= 86400.0
        self.reactor.pump([0.25] * 60)
        self.assertEqual(self.ended(sock), "closed")

    def test_ban_is_over(self) -> None:
        """When a ban of datagrams' sources is over, these are judged again."""
        daemon = self.start("[echo]\nlisten = udp:0:interface=127.0.0.1\n")
        address = self.address(kind="udp")
        daemon.bans.add(ip_network("127.0.0.1/32"), 2 * CHECK_INTERVAL)
        self.assertIsNone(self.ask_datagram(address))
        self.checks(3)
        self.assertEqual(self.ask_datagram(address), b"hello")

    def test_survey(self) -> None:
        """
        Now and then every source is judged again, because the machine's addresses may
        have changed; not at each look.
        """
        self.start("[echo]\nlisten = udp:0:interface=127.0.0.1\n")
        port: Any = self.service().bound[0].port
        calls: list[None] = []
        self.patch(port, "forget", lambda: calls.append(None))
        self.checks(2 * ADDRESS_CHECK)
        self.assertEqual(len(calls), 2)

    def test_certificates(self) -> None:
        """
        New certificates are found within a few looks; bad ones are told once, and those
        in use stay.
        """
        path = self.certify(issued("a.example"))
        text = f"[echo]\nlisten = tls:0:interface=127.0.0.1\ntls_certificate = {path}\n"
        self.start(text)
        self.certify(issued("b.example"))
        self.checks(CERTIFICATE_CHECK)
        (line,) = self.events("certificate_loaded")
        self.assertEqual(line, "echo loaded new certificates, valid until 2049-01-01 00:00:00 UTC")
        Path(path).write_text("damaged")
        self.checks(3 * CERTIFICATE_CHECK)
        (line,) = self.events("certificate_refused")
        self.assertIn("echo keeps its old certificates; tls_certificate: ", line)
        self.assertEqual(len(self.events("certificate_loaded")), 1)

    def test_looks_end(self) -> None:
        """A daemon that has stopped looks no more."""
        daemon = self.start()
        daemon.stopService()
        self.turn()
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class DeadlineTests(DaemonCase):
    """Tests for the deadlines of connections, in a whole daemon."""

    def test_slots_of_silent_peers(self) -> None:
        """
        Peers that fill a service and say nothing have to go when their time is over:
        then the next one is served, though none of them closes.
        """
        self.start(ECHO + "max_connections = 5\nfirst_byte_timeout = 1s\n")
        silent = [self.enter() for _ in range(5)]
        late = self.connect(self.address())
        late.send(b"hello")
        self.turn()
        self.assertEqual(self.receive(late, 0), b"")
        self.reactor.pump([0.25] * 5)
        self.assertEqual(self.receive(late, 5), b"hello")
        self.assertEqual([self.ended(sock) for sock in silent], ["closed"] * 5)

    def test_operator_is_slow(self) -> None:
        """
        While a connection waits for the operator's word it is not idle, however long
        that takes; once the word is there its time begins again.
        """
        daemon = self.start(
            "[ack]\nlisten = tcp:0:interface=127.0.0.1\noperator = always\n"
            "operator_timeout = 5m\nidle_timeout = 10s\n"
        )
        sock = self.enter("ack")
        first = b"hello\nI get it!\n"
        sock.send(b"hello")
        self.assertEqual(self.receive(sock, len(first)), first)
        self.reactor.pump([1.0] * 60)
        (question,) = daemon.operator.waiting
        daemon.operator.answer(question, b"at last")
        self.assertEqual(self.receive(sock, 7), b"at last")
        self.reactor.pump([1.0] * 13)
        self.assertEqual(self.ended(sock), "closed")


class DrainTests(DaemonCase):
    """Tests for a daemon that accepts no connection any more."""

    def test_drain(self) -> None:
        """Listeners are closed, connections continue, and callbacks are told."""
        daemon = self.start(ECHO + "[upper]\nlisten = unix:{runtime}/u.sock\n")
        told: list[str] = []
        daemon.on_state(lambda state, detail: told.append(state))
        sock, address = self.enter(), self.address()
        daemon.drain()
        self.assertEqual((daemon.state, daemon.snapshot().health), ("draining", "draining"))
        self.assertEqual(told, ["draining"])
        (line,) = self.events("draining")
        self.assertEqual(line, "draining; 1 existing connections continue")
        self.assertRaises(ConnectionRefusedError, self.connect, address)
        self.assertEqual(os.listdir(self.runtime), [])
        self.assertEqual(self.ask(sock), b"hello")
        self.assertIn("0 listeners, 1 connections", daemon.snapshot().summary)
        self.assertTrue(all(child.service_state.draining for child in daemon.services))

    def test_once(self) -> None:
        """To drain a daemon that drains or stops does nothing."""
        daemon = self.start()
        daemon.drain()
        daemon.drain()
        self.assertEqual(len(self.events("draining")), 1)
        daemon.stopService()
        daemon.drain()
        self.assertEqual((daemon.state, len(self.events("draining"))), ("stopping", 1))

    def test_deadlines_go_on(self) -> None:
        """The deadlines of connections, and the looks at the clock, go on."""
        daemon = self.start(ECHO + "idle_timeout = 5s\n")
        sock = self.enter()
        daemon.drain()
        self.wall += 100.0
        self.reactor.pump([0.25] * 40)
        self.assertEqual(self.ended(sock), "closed")
        self.assertEqual(len(self.events("clock_stepped")), 1)

    def test_then_stop(self) -> None:
        """A daemon that has drained stops as any other."""
        daemon = self.start()
        sock = self.enter()
        daemon.drain()
        sock.close()
        self.until(lambda: not daemon.connection_table)
        self.successResultOf(daemon.stopService())


class ResumeTests(DaemonCase):
    """Tests for a daemon that accepts connections again."""

    def drained(self) -> tuple[Any, int]:
        """
        Start a daemon with streams, datagrams and a path, and drain it.

        @return: the daemon, and the port of streams and datagrams.
        """
        with self.peer() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        listen = f"tcp:{port}:interface=127.0.0.1, udp:{port}:interface=127.0.0.1"
        text = f"[echo]\nlisten = {listen}\n[upper]\nlisten = unix:{{runtime}}/u.sock\n"
        found = self.start(text)
        found.drain()
        return found, port

    def test_resume(self) -> None:
        """All listeners are served again, connections went on, and who asked is told."""
        daemon, port = self.drained()
        told: list[str] = []
        daemon.on_state(lambda state, detail: told.append(state))
        self.assertEqual(daemon.resume(), ())
        self.assertEqual((daemon.state, told), ("serving", ["serving"]))
        self.assertEqual(len(self.events("resumed")), 1)
        self.assertFalse(any(child.service_state.draining for child in daemon.services))
        address = ("127.0.0.1", port)
        self.assertEqual(self.ask(self.connect(address)), b"hello")
        self.assertEqual(self.ask_datagram(address), b"hello")
        self.assertEqual(self.ask(self.enter("upper", "unix")), b"HELLO")
        daemon.drain()
        self.assertRaises(ConnectionRefusedError, self.connect, address)

    def test_refused(self) -> None:
        """
        A listener that cannot be bound any more leaves the daemon as it was; once it can be
        the daemon resumes.
        """
        daemon, port = self.drained()
        with self.peer() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", port))
            taken.listen()
            (reason,) = daemon.resume()
            self.assertIn("[echo] cannot listen at", reason)
            self.assertEqual(daemon.state, "draining")
            self.assertEqual(os.listdir(self.runtime), [])
        self.assertEqual(daemon.resume(), ())

    def test_not_drained(self) -> None:
        """A daemon that serves, or stops, has nothing to resume."""
        daemon = self.start()
        self.assertEqual(daemon.resume(), ("cannot resume while serving",))
        daemon.stopService()
        self.assertEqual(daemon.resume(), ("cannot resume while stopping",))
        self.assertEqual(self.events("resumed"), [])


class StopTests(DaemonCase):
    """Tests for the stop."""

    def test_idle(self) -> None:
        """Without connections it is over at once, and nothing is left."""
        before = descriptors()
        daemon = self.start(ECHO + "[upper]\nlisten = unix:{runtime}/u.sock, udp:0\n")
        self.successResultOf(daemon.stopService())
        self.assertEqual(descriptors(), before)
        self.assertEqual(os.listdir(self.runtime), [])
        self.assertEqual(self.reactor.getReaders(), [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.events("drain_ended"), [])

    def test_answers_first(self) -> None:
        """
        What has come is answered before the close, and the stop waits for the peer to
        take it.
        """
        daemon = self.start(ECHO + "log_connections = no\n")
        told: list[tuple[str, str]] = []
        daemon.on_state(lambda state, detail: told.append((state, detail)))
        sock, address = self.enter(), self.address()
        sock.send(b"last words")
        stopped = daemon.stopService()
        self.assertEqual(told, [("stopping", "1 connections to finish")])
        self.assertEqual((daemon.state, daemon.snapshot().health), ("stopping", "stopping"))
        self.assertRaises(ConnectionRefusedError, self.connect, address)
        self.assertNoResult(stopped)
        self.assertEqual(self.receive(sock, 10), b"last words")
        self.assertEqual(self.ended(sock), "closed")
        self.assertNoResult(stopped)
        sock.close()
        self.turn()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_not_accepted_yet(self) -> None:
        """Who has connected and was not accepted yet is answered, too, and so is a datagram."""
        self.start(ECHO.rstrip() + ", udp:0:interface=127.0.0.1\n")
        sock = self.connect(self.address())
        sock.send(b"hello")
        asking = self.peer(kind=socket.SOCK_DGRAM)
        asking.sendto(b"hello", self.address(kind="udp"))
        self.until_waiting(1)
        self.until_waiting(1, "udp")
        stopped = self.daemon.stopService()
        self.assertEqual(self.receive(sock, 5), b"hello")
        asking.settimeout(PATIENCE)
        self.assertEqual(asking.recv(10), b"hello")
        self.assertEqual(self.ended(sock), "closed")
        sock.close()
        self.turn()
        self.successResultOf(stopped)

    def flooded(self) -> socket.socket:
        """Connect a peer that reads nothing of what is sent to it."""
        sock = self.enter()
        (connection,) = self.daemon.connection_table
        for _ in self.turns():
            try:
                sock.send(b"x" * 65536)
            except BlockingIOError:
                break
        self.assertTrue(connection._buffered)  # type: ignore[attr-defined]
        return sock

    def test_drain_timeout(self) -> None:
        """Who takes nothing is reset when the time is over, not before; then it ends."""
        daemon = self.start("[socketd]\ndrain_timeout = 3s\n" + ECHO)
        self.flooded()
        stopped = daemon.stopService()
        self.reactor.advance(2.9)
        self.turn()
        self.assertNoResult(stopped)
        self.reactor.advance(0.1)
        self.turn()
        self.successResultOf(stopped)
        (line,) = self.events("drain_ended")
        self.assertEqual(line, "1 connections did not finish and are reset")

    def test_nothing_to_abort(self) -> None:
        """An abort without connections, as in most workers, says nothing."""
        daemon = self.start(ECHO)
        daemon.abort()
        self.assertEqual(self.events("drain_ended"), [])

    def test_abort(self) -> None:
        """An abort resets all connections at once."""
        text = "[socketd]\ndrain_timeout = 1h\n" + ECHO + "log_connections = no\n"
        daemon = self.start(text)
        self.flooded()
        stopped = daemon.stopService()
        daemon.abort()
        self.turn()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_new_drain_timeout(self) -> None:
        """The time is what the last good file says."""
        daemon = self.start("[socketd]\ndrain_timeout = 1h\n" + ECHO)
        self.reloaded("[socketd]\ndrain_timeout = 1s\n" + ECHO)
        self.flooded()
        stopped = daemon.stopService()
        self.reactor.advance(1.0)
        self.turn()
        self.successResultOf(stopped)
