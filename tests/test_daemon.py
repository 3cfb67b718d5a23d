"""
Tests for L{socketd.daemon}: start, reload by difference, drain, stop, and what it says
of itself, with real sockets and a reactor that is turned by hand.
"""

from __future__ import annotations

import gc
import os
import random
import socket
import stat
import struct
from collections.abc import Callable
from ipaddress import ip_network
from itertools import cycle
from pathlib import Path
from typing import Any

import attrs
from OpenSSL import SSL
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from socketd.clock import ClockState
from socketd.daemon import (
    CERTIFICATE_LOOK,
    LOOK_INTERVAL,
    SURVEY,
    CannotStart,
    Daemon,
    Reloaded,
)
from socketd.net.descriptors import RESERVED
from socketd.net.inherit import Inherited, InheritedSocket
from socketd.net.sockopts import TABLE
from socketd.protocols.registry import installed
from socketd.service import SocketService
from socketd.settings.complaints import Complaint, SettingsError
from socketd.settings.load import parse
from socketd.settings.model import Settings
from tests.certificates import NOW, PAST, Made, client_context, issued, write_private
from tests.control.fakes import watch
from tests.net.fakes import HandReactor, read_all

#: What comes over loopback is there at once; the rest is for the order of events.
TURNS = 200

#: Turns for what must not happen.
FEW_TURNS = 5

#: Reloads of one daemon with a few live connections, and how many before what is in
#: use is noted.
RELOADS = 1000
WARM_UP = 50

#: What may be left of them (objects): the collector's own and the interpreter's
#: caches; one that stays of each reload is a thousand.
SLACK = 200

#: Steps of one random walk through configurations, and the walks.
STEPS = 60
SEEDS = (1, 2, 3)

#: Where tcpi_sacked is in struct tcp_info (linux/tcp.h): the backlog of a socket that
#: listens.
TCP_INFO_BACKLOG = 28

ECHO = """
[echo]
listen = tcp:0:interface=127.0.0.1
"""


class DaemonCase(SynchronousTestCase):
    """
    A daemon whose file is a text, and its peers.

    @ivar reactor: turned by hand.
    @ivar text: what the file says, for the next reload.
    @ivar wall: how far the wall clock is before the monotonic one (seconds).
    @ivar runtime: a directory, with a name short enough for UNIX sockets.
    """

    daemon: Daemon

    def setUp(self) -> None:
        self.reactor = HandReactor()
        self.text = ""
        self.wall = NOW
        self.runtime = os.path.relpath(self.mktemp())
        os.makedirs(self.runtime)

    def parse(self) -> Settings:
        """
        Read the text.
        """
        return parse(self.text, "FILE", installed(), self.runtime)

    def make(self, text: str = ECHO, **more: Any) -> Daemon:
        """
        Make a daemon that is not started.
        """
        self.text = text
        more = {"configure": self.parse} | more
        clock = lambda: self.wall + self.reactor.seconds()  # noqa: E731
        self.daemon = Daemon(self.reactor, self.parse(), clock, **more)
        self.addCleanup(self.end, self.daemon)
        self.said = watch(self.daemon)
        return self.daemon

    def start(self, text: str = ECHO, **more: Any) -> Daemon:
        """
        Start a daemon.
        """
        daemon = self.make(text, **more)
        daemon.privilegedStartService()
        daemon.startService()
        self.turn()
        return daemon

    def end(self, daemon: Daemon) -> None:
        """
        Stop a daemon, and reset who is left.
        """
        if daemon.running:
            daemon.stopService()
        for service in daemon.socket_services:
            service.close()
        daemon.abort()
        self.turn()

    def turn(self, times: int = FEW_TURNS) -> None:
        """
        Let the daemon serve what is ready.
        """
        self.reactor.turn(times)

    def until(self, condition: Callable[[], object]) -> None:
        """
        Turn until something is so.
        """
        for _ in range(TURNS):
            if condition():
                return
            self.turn(1)
        self.fail("it never came to that")

    def reload(self, text: str) -> Reloaded:
        """
        Write the file anew, and have it read.
        """
        self.text = text
        return self.daemon.reload()

    def reloaded(self, text: str) -> tuple[str, ...]:
        """
        Have a good file read.

        @return: what has changed.
        """
        outcome = self.reload(text)
        self.assertEqual(outcome.complaints, ())
        self.turn()
        return outcome.changes

    def refused(self, text: str) -> tuple[str, ...]:
        """
        Have a bad file read.

        @return: the complaints.
        """
        outcome = self.reload(text)
        self.assertNotEqual(outcome.complaints, ())
        self.assertEqual(outcome.changes, ())
        return outcome.complaints

    def service(self, name: str = "echo") -> SocketService:
        """
        Find a service.
        """
        (found,) = (one for one in self.daemon.socket_services if one.name == name)
        return found

    def address(self, name: str = "echo", kind: str = "tcp") -> Any:
        """
        Tell where a service is bound, for C{connect}.
        """
        found = [one for one in self.service(name).bound if one.listener.kind == kind]
        return found[0].sock.getsockname()

    def peer(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """
        Make a socket for a peer.
        """
        sock = socket.socket(family, kind)
        self.addCleanup(sock.close)
        return sock

    def connect(self, address: Any, source: str = "") -> socket.socket:
        """
        Connect a peer, whether or not it is accepted.
        """
        is_path = isinstance(address, str)
        sock = self.peer(socket.AF_UNIX if is_path else socket.AF_INET)
        if source:
            sock.bind((source, 0))
        sock.connect(address)
        sock.setblocking(False)
        return sock

    def enter(self, name: str = "echo", kind: str = "tcp", source: str = "") -> socket.socket:
        """
        Connect a peer to a service, and wait until it is in.
        """
        before = len(self.daemon.roster)
        sock = self.connect(self.address(name, kind), source)
        self.until(lambda: len(self.daemon.roster) > before)
        return sock

    def ask(self, sock: socket.socket, data: bytes = b"hello") -> bytes:
        """
        Say something, and wait for an answer of the same length.
        """
        sock.send(data)
        return self.receive(sock, len(data))

    def receive(self, sock: socket.socket, length: int) -> bytes:
        """
        Wait for so many bytes, or the end.
        """
        received, ended = read_all(sock)
        for _ in range(TURNS):
            if len(received) >= length or ended:
                break
            self.turn(1)
            more, ended = read_all(sock)
            received += more
        return received

    def ended(self, sock: socket.socket) -> str:
        """
        Wait for the end of a connection.

        @return: C{closed} or C{reset}.
        """
        for _ in range(TURNS):
            try:
                if read_all(sock)[1]:
                    return "closed"
            except ConnectionResetError:
                return "reset"
            self.turn(1)
        self.fail("it never ended")

    def ask_datagram(self, address: Any, data: bytes = b"hello") -> bytes | None:
        """
        Send a datagram.

        @return: the answer, or C{None} if none comes in a few turns.
        """
        sock = self.peer(kind=socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        sock.sendto(data, address)
        for _ in range(FEW_TURNS):
            self.turn(1)
            try:
                return sock.recv(65536)
            except BlockingIOError:
                continue
        return None

    def taken(self) -> str:
        """
        Listen somewhere.

        @return: a listener that cannot be bound.
        """
        sock = self.peer()
        sock.bind(("127.0.0.9", 0))
        sock.listen()
        return f"tcp:{sock.getsockname()[1]}:interface=127.0.0.9"

    def events(self, name: str) -> list[str]:
        """
        List the texts of what happened.
        """
        return [text for found, text in self.said if found == name]

    def certify(self, made: Made, name: str = "server") -> str:
        """
        Write a certificate with its key.

        @return: its path.
        """
        return write_private(f"{self.runtime}/{name}.pem", made.pem() + made.key_pem())


def descriptors() -> set[str]:
    """
    List the descriptors of this process, with what they are.
    """
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            # That of the list itself.
            continue
    return found


def backlog(sock: socket.socket) -> int:
    """
    Ask the kernel how many may wait at a TCP socket that listens.
    """
    found = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    (number,) = struct.unpack_from("I", found, TCP_INFO_BACKLOG)
    return int(number)


def options_of(sock: socket.socket) -> dict[str, object]:
    """
    Ask the kernel for all that the configuration can set of a socket.
    """
    found: dict[str, object] = {}
    for name, option in TABLE.items():
        where = getattr(socket, option.level), getattr(socket, option.constant)
        try:
            found[name] = sock.getsockopt(*where, *((option.size,) if option.size else ()))
        except OSError:
            found[name] = None
    if sock.type == socket.SOCK_STREAM and sock.family == socket.AF_INET:
        found["backlog"] = backlog(sock)
    return found


def picture(daemon: Daemon) -> dict[str, Any]:
    """
    Note all that a refused reload must leave as it is.
    """
    services = daemon.socket_services
    bound = [one for service in services for one in service.bound]
    paths = [one.listener.path for one in bound if one.listener.path]
    sites = [service.site for service in services]
    return {
        "settings": daemon.settings,
        "services": services,
        "bound": [(one, one.listener, one.port, one.sock.fileno()) for one in bound],
        "names": [one.sock.getsockname() for one in bound],
        "options": [options_of(one.sock) for one in bound],
        "files": [(os.stat(path).st_ino, os.stat(path).st_mode) for path in paths],
        "doors": [(site, site.door, site.door.capacity.limit) for site in sites],
        "logging": [(site.log_connections, site.log_messages) for site in sites],
        "deadlines": [site.door.deadlines for site in sites],
        "capacity": (daemon.capacity.limit, daemon.capacity.occupancy),
        "bans": daemon.bans.current(),
        "journal": (daemon.journal.level, daemon.journal.quiet),
        "observers": len(daemon.journal._on_watched),
        "connections": list(daemon.roster),
        "former": dict(daemon.former),
        "state": (daemon.state, daemon.health(), daemon.summary(), daemon.datagram_ports()),
        "readers": set(daemon.reactor.getReaders()),
        "descriptors": descriptors(),
    }


class StartTests(DaemonCase):
    """
    Tests for the start.
    """

    def test_states(self) -> None:
        """
        A daemon starts, then serves; whoever asked is told of it.
        """
        daemon = self.make()
        told: list[tuple[str, str]] = []
        daemon.on_state(lambda state, detail: told.append((state, detail)))
        self.assertEqual((daemon.state, daemon.health()), ("starting", "starting"))
        daemon.privilegedStartService()
        self.assertEqual(told, [])
        daemon.startService()
        self.assertEqual(told, [("serving", "")])
        self.assertEqual((daemon.state, daemon.health()), ("serving", "serving"))

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
        self.assertEqual(len(daemon.roster), 0)
        daemon.startService()
        self.assertEqual(self.receive(sock, 5), b"early")

    def test_all_or_nothing(self) -> None:
        """
        Every listener that cannot be bound has its line, and then none stays bound.
        """
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

    def test_certificate(self) -> None:
        """
        A certificate that cannot be used stops the start like a listener.
        """
        daemon = self.make("[echo]\nlisten = tls:0\ntls_certificate = /nowhere.pem\n")
        problem = self.assertRaises(CannotStart, daemon.privilegedStartService)
        self.assertTrue(problem.lines[0].startswith("[echo] tls_certificate: "), problem)

    def test_optional(self) -> None:
        """
        A listener that may be missing is left out with a line in the log.
        """
        daemon = self.start(ECHO.rstrip() + ", tcp:0:interface=192.0.2.1:optional=yes\n")
        self.assertEqual(len(self.service().bound), 1)
        self.assertEqual(len(self.events("listener_skipped")), 1)
        self.assertEqual(daemon.health(), "serving")

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
        self.assertEqual(self.make(file).capacity.limit, 7)
        self.assertEqual(self.make(file, file_limit=1000).capacity.limit, 7)
        self.assertEqual(self.make(file_limit=RESERVED + 21).capacity.limit, 20)
        self.assertEqual(self.make().capacity.limit, None)


class SayingTests(DaemonCase):
    """
    Tests for what a daemon says of itself.
    """

    def test_summary(self) -> None:
        """
        The summary counts services, listeners and connections.
        """
        text = "[echo]\nlisten = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1\n"
        text += "[upper]\nlisten = unix:{runtime}/u.sock\n"
        daemon = self.start(text)
        self.enter()
        expected = "serving: 2 services at 3 listeners, 1 connections"
        self.assertEqual(daemon.summary(), expected)

    def test_listener_down(self) -> None:
        """
        A listener whose socket was lost makes the daemon unhealthy, and is named.
        """
        daemon = self.start(ECHO + "[upper]\nlisten = tcp:0:interface=127.0.0.1\n")
        port: Any = self.service("upper").bound[0].port
        port.stopListening()
        self.assertEqual(daemon.health(), "a listener of upper is down")

    def test_healthy_while_reloading(self) -> None:
        """
        While the file is read peers are served: the daemon is healthy.
        """
        seen = []

        def configure() -> Settings:
            seen.append((self.daemon.state, self.daemon.health()))
            return self.parse()

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
        (port,) = daemon.datagram_ports()
        self.assertEqual(self.address(kind="udp")[1], port)
        self.reloaded(text.format("udp:0:interface=127.0.0.2, "))
        self.assertEqual(len(daemon.datagram_ports()), 2)
        self.assertIn(port, daemon.datagram_ports())

    def test_sites(self) -> None:
        """
        What removed services have counted stays among the sites.
        """
        daemon = self.start(ECHO + "[upper]\nlisten = tcp:0:interface=127.0.0.2\n")
        self.assertEqual([site.name for site in daemon.sites], ["echo", "upper"])
        self.reloaded("[upper]\nlisten = tcp:0:interface=127.0.0.2\n")
        self.assertEqual([site.name for site in daemon.sites], ["upper", "echo"])


class LookTests(DaemonCase):
    """
    Tests for what a daemon looks at while it runs.
    """

    def looks(self, count: int) -> None:
        """
        Let so many looks pass.
        """
        self.reactor.pump([LOOK_INTERVAL] * count)

    def test_clock_step(self) -> None:
        """
        A step of the wall clock is told once, with its size.
        """
        self.start()
        self.looks(2)
        self.assertEqual(self.events("clock_stepped"), [])
        self.wall -= 3600.0
        self.looks(3)
        (line,) = self.events("clock_stepped")
        self.assertIn("-3600.0 s", line)

    def test_clock_state(self) -> None:
        """
        Protocols are lent the state that the last look found, and see the step.
        """
        daemon = self.start()
        state: Callable[[], ClockState] = daemon._shared.surroundings.clock_state
        self.assertFalse(state().stepped)
        self.wall += 10.0
        self.looks(1)
        self.assertTrue(state().stepped)

    def test_timers_ignore_steps(self) -> None:
        """
        A step neither ends a connection nor keeps it.
        """
        self.start(ECHO + "idle_timeout = 10s\n")
        sock = self.enter()
        self.wall += 86400.0
        self.looks(5)
        self.assertEqual(self.ask(sock), b"hello")
        self.wall -= 86400.0
        self.reactor.pump([0.25] * 60)
        self.assertEqual(self.ended(sock), "closed")

    def test_ban_is_over(self) -> None:
        """
        When a ban of datagrams' sources is over, these are judged anew.
        """
        daemon = self.start("[echo]\nlisten = udp:0:interface=127.0.0.1\n")
        address = self.address(kind="udp")
        daemon.bans.add(ip_network("127.0.0.1/32"), 2 * LOOK_INTERVAL)
        self.assertIsNone(self.ask_datagram(address))
        self.looks(3)
        self.assertEqual(self.ask_datagram(address), b"hello")

    def test_survey(self) -> None:
        """
        Now and then every source is judged anew, because the machine's addresses may
        have changed; not at each look.
        """
        self.start("[echo]\nlisten = udp:0:interface=127.0.0.1\n")
        port: Any = self.service().bound[0].port
        calls: list[None] = []
        self.patch(port, "forget", lambda: calls.append(None))
        self.looks(2 * SURVEY)
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
        self.looks(CERTIFICATE_LOOK)
        (line,) = self.events("certificate_loaded")
        self.assertEqual(line, "echo has new certificates, to 2049-01-01 00:00:00 UTC")
        Path(path).write_text("damaged")
        self.looks(3 * CERTIFICATE_LOOK)
        (line,) = self.events("certificate_refused")
        self.assertIn("echo keeps its certificates; tls_certificate: ", line)
        self.assertEqual(len(self.events("certificate_loaded")), 1)

    def test_looks_end(self) -> None:
        """
        A daemon that has stopped looks no more.
        """
        daemon = self.start()
        daemon.stopService()
        self.turn()
        self.assertEqual(self.reactor.getDelayedCalls(), [])


BEFORE = """
[socketd]
log_level = warn
max_connections = 50
[one]
protocol = echo
listen = tcp:0:interface=127.0.0.1:backlog=9, udp:0:interface=127.0.0.1
[two]
protocol = upper
listen = unix:{runtime}/two.sock:mode=600
log_connections = no
[gone]
protocol = echo
listen = tcp:0:interface=127.0.0.2
"""

#: It changes all that a file can change of the one before.
AFTER = """
[socketd]
log_level = debug
log_quiet = 127.0.0.0/8
max_connections = 40
[one]
protocol = upper
listen = tcp:0:interface=127.0.0.1:backlog=33, udp:0:interface=127.0.0.1
max_connections = 3
max_per_source = 2
idle_timeout = 1s
so_keepalive = no
so_sndbuf = 100KiB
so_rcvbuf = 100KiB
log_messages = text
[two]
protocol = echo
listen = unix:{runtime}/two.sock:mode=666:backlog=5
deny = any
"""


class RefusedReloadTests(DaemonCase):
    """
    Tests for reloads that are refused: nothing at all may change.
    """

    def begin(self, **more: Any) -> None:
        """
        Start with connections, a ban, and a former service.
        """
        former = "[former]\nprotocol = echo\nlisten = tcp:0:interface=127.0.0.4\n"
        self.start(BEFORE + former, **more)
        self.assertEqual(self.ask(self.enter("former")), b"hello")
        self.reloaded(BEFORE)
        self.reactor.advance(self.daemon.settings.daemon.drain_timeout)
        self.turn()
        self.socks = [self.enter("one"), self.enter("two", "unix"), self.enter("gone")]
        self.daemon.bans.add(ip_network("192.0.2.0/24"))
        self.datagram = self.address("one", "udp")

    def check(self, text: str, *expected: str) -> None:
        """
        See that a file is refused with these complaints, or with all of one kind, that
        nothing has changed, and that everybody is served.
        """
        before = picture(self.daemon)
        complaints = self.refused(text)
        if len(expected) > 1:
            self.assertEqual(len(complaints), len(expected), complaints)
        for complaint, part in zip(complaints, cycle(expected)):
            self.assertIn(part, complaint)
        after = picture(self.daemon)
        for name, found in before.items():
            self.assertEqual(after[name], found, name)
        answers = [self.ask(sock) for sock in self.socks]
        self.assertEqual(answers, [b"hello", b"HELLO", b"hello"])
        self.assertEqual(self.ask(self.enter("one")), b"hello")
        self.assertEqual(self.ask_datagram(self.datagram), b"hello")
        self.assertEqual(self.daemon.reloads["refused"], 1)
        self.assertEqual(len(self.events("reload_refused")), len(complaints))

    def check_listeners(self, place: int) -> None:
        """
        See what a listener that cannot be bound does, at this place among three.
        """
        self.begin()
        listeners = ["tcp:0:interface=127.0.0.5", "unix:{runtime}/new.sock"]
        listeners.insert(place, self.taken())
        bad = f"[bad]\nprotocol = echo\nlisten = {', '.join(listeners)}\n"
        said = "[bad] cannot listen at tcp 127.0.0.9:"
        self.check(AFTER + bad, said)
        self.assertEqual(os.listdir(self.runtime), ["two.sock"])

    def test_first_listener(self) -> None:
        """
        The first listener of a new service cannot be bound.
        """
        self.check_listeners(0)

    def test_middle_listener(self) -> None:
        """
        One in the middle cannot be bound.
        """
        self.check_listeners(1)

    def test_last_listener(self) -> None:
        """
        The last one cannot be bound.
        """
        self.check_listeners(2)

    def test_first_service(self) -> None:
        """
        A listener of the first service cannot be bound: what comes behind it has taken
        its sockets over already.
        """
        self.begin()
        bad = f"[bad]\nprotocol = echo\nlisten = {self.taken()}\n"
        self.check(bad + AFTER, "[bad] cannot listen at tcp 127.0.0.9:")

    def test_changed_service(self) -> None:
        """
        A service that keeps its sockets gets one that cannot be bound.
        """
        self.begin()
        text = AFTER.replace("mode=666:backlog=5", f"mode=666:backlog=5, {self.taken()}")
        self.check(text, "[two] cannot listen at tcp 127.0.0.9:")

    def test_all_complaints(self) -> None:
        """
        Everything that cannot be bound has its line.
        """
        self.begin()
        bad = f"[bad]\nprotocol = echo\nlisten = {self.taken()}, unix:/nowhere/a.sock\n"
        worse = f"[worse]\nprotocol = echo\nlisten = {self.taken()}\n"
        self.check(bad + AFTER + worse, "[bad]", "[bad]", "[worse]")

    def test_returning_service(self) -> None:
        """
        A removed service that cannot come back keeps its counts for the next try.
        """
        self.begin()
        site = self.daemon.former["former"]
        text = f"[former]\nprotocol = echo\nlisten = {self.taken()}\n"
        self.check(BEFORE + text, "[former]")
        for _ in range(3):
            self.refused(BEFORE + text)
        self.reloaded(BEFORE + "[former]\nprotocol = echo\nlisten = tcp:0:interface=127.0.0.4\n")
        self.assertIs(self.service("former").site, site)
        self.assertEqual(site.tally.connections, 1)

    def test_certificate(self) -> None:
        """
        A certificate cannot be used, though everything can be bound.
        """
        self.begin()
        bad = "[bad]\nprotocol = echo\nlisten = tls:0:interface=127.0.0.5\n"
        bad += "tls_certificate = /nowhere.pem\n"
        self.check(AFTER + bad, "[bad] tls_certificate: /nowhere.pem cannot be read")

    def test_expired_certificate(self) -> None:
        """
        So it is where it has expired, and the service was plain before.
        """
        self.begin()
        path = self.certify(issued("a.example", end=PAST))
        text = AFTER.replace("[one]", f"[one]\ntls_certificate = {path}")
        text = text.replace("tcp:0:interface=127.0.0.1", "tls:0:interface=127.0.0.1")
        self.check(text, "[one] tls_certificate: ")

    def test_socket_option(self) -> None:
        """
        The system refuses an option of a socket that is kept.
        """
        self.begin()
        text = AFTER.replace("[one]", "[one]\nso_bindtodevice = nosuch0")
        self.check(text, "so_bindtodevice: this system refuses it: No such device")

    def test_socket_option_of_new(self) -> None:
        """
        It refuses one of a new socket.
        """
        self.begin()
        bad = "[bad]\nprotocol = echo\nlisten = tcp:0:interface=127.0.0.5\n"
        bad += "so_bindtodevice = nosuch0\n"
        self.check(bad + AFTER, "so_bindtodevice: this system refuses it: No such device")

    def test_descriptors(self) -> None:
        """
        The file promises more connections than there are descriptors.
        """
        self.begin(file_limit=RESERVED + 100)
        text = AFTER.replace("max_connections = 40", "max_connections = 98")
        self.check(text, "[socketd] max_connections = 98: needs more descriptors")

    def test_complaints_of_file(self) -> None:
        """
        The file itself is wrong, in two places.
        """
        self.begin()
        bad = "[bad]\nprotocol = echo\nlisten = tcp:70000\nlisen = tcp:7\n"
        self.check(AFTER + bad, "70000", "lisen")

    def test_trial(self) -> None:
        """
        What the machine refuses is found before anything is bound.
        """

        def refuse() -> Settings:
            raise SettingsError([Complaint("FILE", 3, "refused", "one", "so_linger", "0s")])

        self.begin()
        self.daemon.configure = refuse
        self.check(AFTER, "FILE:3: [one] so_linger = 0s: refused")

    def test_unexpected(self) -> None:
        """
        An error that nobody expected is raised, and peers are served on; the next
        reload is carried out.
        """

        def fail() -> Settings:
            raise ZeroDivisionError

        self.begin()
        self.daemon.configure = fail
        before = picture(self.daemon)
        self.assertRaises(ZeroDivisionError, self.daemon.reload)
        self.assertEqual(picture(self.daemon), before)
        self.daemon.configure = self.parse
        self.assertNotEqual(self.reloaded(AFTER), ())

    def test_again_and_again(self) -> None:
        """
        However often a file with a new service is refused, nothing stays of it.
        """
        self.begin()
        bad = f"[bad]\nprotocol = echo\nlisten = tcp:0:interface=127.0.0.5, {self.taken()}\n"
        self.refused(AFTER + bad)
        before = picture(self.daemon)
        for _ in range(20):
            self.refused(AFTER + bad)
        after = picture(self.daemon)
        for name, found in before.items():
            self.assertEqual(after[name], found, name)

    def test_states(self) -> None:
        """
        Whoever asked is told why it was refused.
        """
        self.begin()
        told: list[tuple[str, str]] = []
        self.daemon.on_state(lambda state, detail: told.append((state, detail)))
        (complaint,) = self.refused("[socketd]\n")
        self.assertEqual(told, [("reloading", ""), ("serving", complaint)])

    def test_not_while_ending(self) -> None:
        """
        A daemon that starts, drains or stops has no file read.
        """
        daemon = self.make()
        self.assertEqual(self.refused(ECHO), ("cannot reload while starting",))
        daemon.privilegedStartService()
        daemon.startService()
        daemon.drain()
        self.assertEqual(self.refused(ECHO), ("cannot reload while draining",))
        self.assertEqual(daemon.state, "draining")
        daemon.stopService()
        self.assertEqual(self.refused(ECHO), ("cannot reload while stopping",))
        self.assertEqual(daemon.state, "stopping")
        self.assertEqual(daemon.reloads, {"done": 0, "refused": 0})

    def test_nothing_to_read(self) -> None:
        """
        A daemon without a file cannot reload.
        """
        self.start(configure=None)
        self.assertEqual(len(self.refused(ECHO)), 1)


class MovedTests(DaemonCase):
    """
    Tests for reloads that keep sockets: nobody who connects is refused or lost.
    """

    def number(self, name: str = "echo", kind: str = "tcp") -> tuple[int, Any]:
        """
        Give the descriptor and the address of a listener's socket.
        """
        (found,) = (one for one in self.service(name).bound if one.listener.kind == kind)
        return found.sock.fileno(), found.sock.getsockname()

    def test_everything(self) -> None:
        """
        A file that changes everything is carried out, and told.
        """
        self.start(BEFORE)
        self.assertEqual(
            self.reloaded(AFTER),
            (
                "[socketd] log_level changed",
                "[socketd] log_quiet changed",
                "[socketd] max_connections changed",
                "[gone] removed",
                "[one] protocol, listen, log_messages, max_connections, max_per_source,"
                " idle_timeout, so_keepalive, so_rcvbuf, so_sndbuf changed",
                "[two] protocol, listen, log_connections, deny changed",
            ),
        )
        self.assertEqual(self.daemon.capacity.limit, 40)
        self.assertIs(self.daemon.journal.level, LogLevel.debug)
        self.assertEqual(self.daemon.reloads, {"done": 1, "refused": 0})

    def test_nothing(self) -> None:
        """
        The same file changes nothing, and leaves every object as it is.
        """
        self.start(BEFORE)
        self.enter("one")
        before = picture(self.daemon)
        self.assertEqual(self.reloaded(BEFORE), ())
        after = picture(self.daemon)
        del before["settings"], after["settings"]
        self.assertEqual(after, before)

    def test_waiting_peer(self) -> None:
        """
        Who has connected and was not accepted yet when the file is read is served, by
        the new protocol.
        """
        self.start()
        held = self.number()
        sock = self.connect(self.address())
        sock.send(b"hello")
        self.reload(ECHO + "protocol = upper\n")
        self.assertEqual(self.receive(sock, 5), b"HELLO")
        self.assertEqual(self.number(), held)

    def test_waiting_datagram(self) -> None:
        """
        A datagram that has come and was not received yet is answered.
        """
        self.start("[echo]\nlisten = udp:0:interface=127.0.0.1\n")
        sock = self.peer(kind=socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.sendto(b"hello", self.address(kind="udp"))
        self.reload("[echo]\nprotocol = upper\nlisten = udp:0:interface=127.0.0.1\n")
        self.turn()
        self.assertEqual(sock.recv(100), b"HELLO")

    def test_during_reload(self) -> None:
        """
        Who connects while the file is read is served.
        """
        socks: list[socket.socket] = []

        def configure() -> Settings:
            socks.append(self.connect(self.address()))
            return self.parse()

        self.start(configure=configure)
        for number in range(5):
            self.reloaded(ECHO + f"max_per_source = {number + 10}\n")
        self.assertEqual([self.ask(sock) for sock in socks], [b"hello"] * 5)

    def test_other_service(self) -> None:
        """
        Two services change addresses: each socket stays, and each peer finds the
        service that is there now.
        """
        text = "[echo]\nlisten = tcp:0:interface=127.0.0.{}\n"
        text += "[upper]\nlisten = tcp:0:interface=127.0.0.{}\n"
        self.start(text.format(1, 2))
        echo, upper = self.number(), self.number("upper")
        kept = self.enter()
        waiting = self.connect(self.address())
        self.assertEqual(
            self.reloaded(text.format(2, 1)), ("[echo] listen changed", "[upper] listen changed")
        )
        self.assertEqual((self.number(), self.number("upper")), (upper, echo))
        self.assertEqual(self.ask(waiting), b"HELLO")
        self.assertEqual(self.ask(kept), b"hello")

    def test_renamed_service(self) -> None:
        """
        A service with another name keeps the socket of the one before.
        """
        self.start()
        held = self.number()
        waiting = self.connect(self.address())
        changes = self.reloaded(ECHO.replace("[echo]", "[other]\nprotocol = echo"))
        self.assertEqual(changes, ("[echo] removed", "[other] added"))
        self.assertEqual(self.number("other"), held)
        self.assertEqual(self.ask(waiting), b"hello")

    def test_old_connections(self) -> None:
        """
        A connection keeps the protocol that it came to.
        """
        self.start()
        sock = self.enter()
        self.reloaded(ECHO + "protocol = upper\n")
        self.assertEqual(self.ask(sock), b"hello")
        self.assertEqual(self.ask(self.enter()), b"HELLO")

    def test_same_address_twice(self) -> None:
        """
        Two listeners for which the kernel chooses the port are two: both stay, and when
        the file has one, one goes.
        """
        twice = "[echo]\nlisten = tcp:0:interface=127.0.0.1, tcp:0:interface=127.0.0.1\n"
        self.start(twice)
        first, second = (one.sock.getsockname() for one in self.service().bound)
        self.reloaded(twice + "idle_timeout = 9s\n")
        names = [one.sock.getsockname() for one in self.service().bound]
        self.assertEqual(sorted(names), sorted((first, second)))
        self.assertEqual([self.ask(self.connect(name)) for name in names], [b"hello"] * 2)
        self.reloaded(ECHO)
        (left,) = (one.sock.getsockname() for one in self.service().bound)
        (gone,) = {first, second} - {left}
        self.assertRaises(ConnectionRefusedError, self.connect, gone)
        self.assertEqual(self.ask(self.connect(left)), b"hello")

    def test_removed_listener(self) -> None:
        """
        A listener that the file has no more is closed, and its neighbour is not.
        """
        self.start("[echo]\nlisten = tcp:0:interface=127.0.0.2, tcp:0:interface=127.0.0.1\n")
        gone, stays = (one.sock.getsockname() for one in self.service().bound)
        self.reloaded(ECHO)
        self.assertRaises(ConnectionRefusedError, self.connect, gone)
        self.assertEqual(self.ask(self.connect(stays)), b"hello")

    def test_backlog(self) -> None:
        """
        How many may wait changes at the socket that is there.
        """
        self.start("[echo]\nlisten = tcp:0:interface=127.0.0.1:backlog=9\n")
        held = self.number()
        self.assertEqual(backlog(self.service().bound[0].sock), 9)
        self.reloaded("[echo]\nlisten = tcp:0:interface=127.0.0.1:backlog=33\n")
        self.assertEqual(self.number(), held)
        self.assertEqual(backlog(self.service().bound[0].sock), 33)

    def test_option_set_and_not(self) -> None:
        """
        A socket option that comes into the file is set on the socket that is there; one
        that goes leaves it as a new socket would be.
        """
        text = "[echo]\nlisten = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1\n"
        self.start(text)
        bound = [one.sock for one in self.service().bound]
        before = [options_of(sock) for sock in bound]
        more = "so_linger = 0s\nso_keepalive = no\nso_broadcast = yes\nso_oobinline = yes\n"
        more += "so_sndbuf = 30KiB\nso_rcvbuf = 40KiB\ntcp_nodelay = no\ntcp_keepcnt = 7\n"
        self.reloaded(text + more + "tcp_user_timeout = 5s\nso_dontroute = yes\n")
        changed = [options_of(sock) for sock in bound]
        self.assertEqual(changed[0]["tcp_keepcnt"], 7)
        self.assertEqual(changed[1]["so_rcvbuf"], 2 * 40 * 1024)
        self.reloaded(text)
        numbers = [one.sock.fileno() for one in self.service().bound]
        self.assertEqual(numbers, [sock.fileno() for sock in bound])
        after = [options_of(one.sock) for one in self.service().bound]
        self.assertEqual(after, before)

    def test_option_of_another(self) -> None:
        """
        A socket that another service takes over has the options, the backlog and the mode
        of that one, and nothing of the one before.
        """
        listen = "listen = tcp:0:interface=127.0.0.1{}, unix:{{runtime}}/e.sock:mode={}\n"
        old = "[echo]\nso_linger = 0s\ntcp_keepcnt = 7\nso_oobinline = yes\n"
        new = "[upper]\ntcp_keepidle = 77s\nso_keepalive = no\n"
        self.start(old + listen.format(":backlog=9", 600))
        number = self.service().bound[0].sock.fileno()
        self.reloaded(new + listen.format(":backlog=33", 666))
        bound = self.service("upper").bound
        self.assertEqual(bound[0].sock.fileno(), number)
        found = options_of(bound[0].sock)
        mode = stat.S_IMODE(os.stat(f"{self.runtime}/e.sock").st_mode)
        fresh = self.make(new + listen.format(":backlog=33", 666).replace("e.sock", "f.sock"))
        fresh.privilegedStartService()
        self.assertEqual(found, options_of(fresh.socket_services[0].bound[0].sock))
        self.assertEqual(mode, 0o666)

    def test_option_of_neighbour(self) -> None:
        """
        Where services exchange their addresses, the options go with the services.
        """
        text = "[echo]\nlisten = tcp:0:interface=127.0.0.{}\ntcp_keepcnt = 7\n"
        text += "[upper]\nlisten = tcp:0:interface=127.0.0.{}\nso_oobinline = yes\n"
        self.start(text.format(1, 2))
        for numbers in ((2, 1), (1, 2)):
            self.reloaded(text.format(*numbers))
            echo, upper = (options_of(self.service(n).bound[0].sock) for n in ("echo", "upper"))
            self.assertEqual((echo["tcp_keepcnt"], echo["so_oobinline"]), (7, 0))
            self.assertEqual((upper["tcp_keepcnt"], upper["so_oobinline"]), (4, 1))

    def test_order(self) -> None:
        """
        The services stand in the order of the file, whatever stays or comes.
        """
        sections = {
            name: f"[{name}]\nprotocol = echo\nlisten = tcp:0:interface=127.0.0.{number}\n"
            for number, name in enumerate("abcde", 1)
        }
        self.start("".join(sections[name] for name in "abcd"))
        for order in ("dcba", "edcab", "bed", "abcde"):
            self.reloaded("".join(sections[name] for name in order))
            self.assertEqual([one.name for one in self.daemon.socket_services], list(order))


class UnixReloadTests(DaemonCase):
    """
    Tests for the files of UNIX sockets.
    """

    TEXT = "[echo]\nlisten = unix:{runtime}/e.sock"

    def path(self) -> str:
        """
        Give the path of the socket.
        """
        return f"{self.runtime}/e.sock"

    def test_file_stays(self) -> None:
        """
        The file of a socket that stays is the same all the time.
        """
        self.start(self.TEXT)
        before = os.stat(self.path())
        sock = self.connect(self.path())
        self.reloaded(self.TEXT + "\nprotocol = upper\n")
        self.assertEqual(os.stat(self.path()), before)
        self.assertEqual(self.ask(sock), b"HELLO")

    def test_file_of_renamed(self) -> None:
        """
        So it is where another service takes it over.
        """
        self.start(self.TEXT)
        before = os.stat(self.path())
        self.reloaded(self.TEXT.replace("[echo]", "[other]\nprotocol = echo"))
        self.assertEqual(os.stat(self.path()), before)
        self.assertEqual(self.ask(self.connect(self.path())), b"hello")

    def test_mode(self) -> None:
        """
        The mode changes at the file that is there.
        """
        self.start(self.TEXT + ":mode=600")
        before = os.stat(self.path())
        self.assertEqual(stat.S_IMODE(before.st_mode), 0o600)
        for mode in ("666", "660", "600"):
            self.reloaded(self.TEXT + f":mode={mode}")
            after = os.stat(self.path())
            self.assertEqual(after.st_ino, before.st_ino)
            self.assertEqual(stat.S_IMODE(after.st_mode), int(mode, 8))

    def test_backlog(self) -> None:
        """
        How many may wait changes at the socket that is there.
        """
        self.start(self.TEXT + ":backlog=1")
        self.reloaded(self.TEXT + ":backlog=3")
        for _ in range(4):
            self.waiting()
        self.assertRaises(BlockingIOError, self.waiting)

    def waiting(self) -> None:
        """
        Connect, unless too many wait.
        """
        sock = self.peer(socket.AF_UNIX)
        sock.setblocking(False)
        sock.connect(self.path())

    def test_file_goes(self) -> None:
        """
        The file goes with its listener.
        """
        self.start(self.TEXT + ", tcp:0:interface=127.0.0.1")
        self.reloaded(ECHO)
        self.assertFalse(os.path.exists(self.path()))

    def test_file_goes_with_service(self) -> None:
        """
        It goes with its service, too.
        """
        self.start(self.TEXT + "\n[upper]\nlisten = tcp:0:interface=127.0.0.1\n")
        self.reloaded("[upper]\nlisten = tcp:0:interface=127.0.0.1\n")
        self.assertFalse(os.path.exists(self.path()))

    def test_file_goes_at_stop(self) -> None:
        """
        A file that went through a reload goes at the stop.
        """
        self.start(self.TEXT)
        self.reloaded(self.TEXT + "\nprotocol = upper\n")
        self.daemon.stopService()
        self.assertFalse(os.path.exists(self.path()))

    def test_file_of_another(self) -> None:
        """
        A file that somebody else has put there is not ours, before and after a reload:
        its mode stays, and it stays at the stop.
        """
        self.start(self.TEXT + ":mode=600")
        os.unlink(self.path())
        other = self.peer(socket.AF_UNIX)
        other.bind(self.path())
        other.listen()
        os.chmod(self.path(), 0o644)
        (complaint,) = self.refused(self.TEXT + ":mode=666\nprotocol = upper\n")
        self.assertIn("somebody listens there already", complaint)
        self.assertEqual(stat.S_IMODE(os.stat(self.path()).st_mode), 0o644)
        self.daemon.stopService()
        self.assertTrue(os.path.exists(self.path()))

    def test_file_was_removed(self) -> None:
        """
        A file that somebody has removed is there again after a reload that changes the
        service: peers cannot come in else.
        """
        self.start(self.TEXT + ":mode=600")
        before = len(descriptors())
        os.unlink(self.path())
        self.reloaded(self.TEXT + ":mode=660\nprotocol = upper\n")
        self.assertEqual(stat.S_IMODE(os.stat(self.path()).st_mode), 0o660)
        self.assertEqual(len(descriptors()), before)
        self.assertEqual(self.ask(self.connect(self.path())), b"HELLO")


TLS = "[echo]\nlisten = tls:0:interface=127.0.0.1\ntls_certificate = {}\n"


class SecureTests(DaemonCase):
    """
    Tests for reloads between plain TCP and TLS.
    """

    def secure(self, sock: socket.socket) -> SSL.Connection:
        """
        Speak TLS at a socket.
        """
        tls = SSL.Connection(client_context(), sock)
        tls.set_connect_state()
        for _ in range(TURNS):
            try:
                tls.do_handshake()
            except SSL.WantReadError:
                self.turn(1)
            else:
                return tls
        self.fail("there was no handshake")

    def ask_secure(self, tls: SSL.Connection, data: bytes = b"hello") -> bytes:
        """
        Say something over TLS, and wait for the answer.
        """
        tls.send(data)
        for _ in range(TURNS):
            try:
                return tls.recv(len(data))
            except SSL.WantReadError:
                self.turn(1)
        self.fail("there was no answer")

    def test_to_tls_and_back(self) -> None:
        """
        The socket stays when TLS comes and goes; new peers have to speak as the file
        says, and those that are in speak as they began.
        """
        secure = TLS.format(self.certify(issued("a.example")))
        self.start()
        held = self.service().bound[0].sock.fileno()
        plain = self.enter()
        waiting = self.connect(self.address())
        self.reloaded(secure)
        self.assertEqual(self.service().bound[0].sock.fileno(), held)
        tls = self.secure(waiting)
        self.assertEqual(self.ask_secure(tls), b"hello")
        self.assertEqual(self.ask(plain), b"hello")
        self.reloaded(ECHO)
        self.assertEqual(self.service().bound[0].sock.fileno(), held)
        self.assertEqual(self.ask_secure(tls), b"hello")
        self.assertEqual(self.ask(plain), b"hello")
        self.assertEqual(self.ask(self.enter()), b"hello")

    def test_other_certificate(self) -> None:
        """
        A file that names another certificate has it shown to new peers.
        """
        first, second = issued("a.example"), issued("b.example")
        self.start(TLS.format(self.certify(first, "a")))
        old = self.secure(self.enter(kind="tls"))
        self.reloaded(TLS.format(self.certify(second, "b")))
        new = self.secure(self.enter(kind="tls"))
        for tls, made in ((old, first), (new, second)):
            shown = tls.get_peer_certificate()
            assert shown is not None
            self.assertEqual(shown.to_cryptography(), made.certificate)
            self.assertEqual(self.ask_secure(tls), b"hello")

    def test_handshake_goes_on(self) -> None:
        """
        Who is in the middle of a handshake finishes it.
        """
        self.start(TLS.format(self.certify(issued("a.example"))))
        sock = self.enter(kind="tls")
        text = TLS.format(self.certify(issued("b.example"), "b"))
        self.reloaded(text + "idle_timeout = 9s\n")
        self.assertEqual(self.ask_secure(self.secure(sock)), b"hello")


class LimitTests(DaemonCase):
    """
    Tests for rules that change under live connections.
    """

    def is_in(self, sock: socket.socket) -> bool:
        """
        Say whether a peer is served within a few turns.
        """
        sock.send(b"x")
        self.turn()
        return read_all(sock)[0] == b"x"

    def waiting(self, line: str) -> None:
        """
        See who waits at this line of a service or of the daemon, as it falls and rises.
        """
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
        """
        Who is in stays when fewer are allowed, and who waits comes in when more are.
        """
        self.waiting(ECHO + "max_connections = {}\n")

    def test_max_connections_of_daemon(self) -> None:
        """
        So it is with the limit of all services.
        """
        self.waiting(ECHO + "[socketd]\nmax_connections = {}\n")

    def test_max_connections_is_lifted(self) -> None:
        """
        Who waits comes in when there is no limit any more.
        """
        self.start(ECHO + "max_connections = 1\n")
        self.enter()
        waiting = self.connect(self.address())
        self.assertFalse(self.is_in(waiting))
        self.reloaded(ECHO)
        self.assertEqual(self.receive(waiting, 1), b"x")

    def test_room_after_reload(self) -> None:
        """
        Who waits through a reload comes in when somebody leaves.
        """
        self.start(ECHO + "max_connections = 1\n")
        first = self.enter()
        waiting = self.connect(self.address())
        self.assertFalse(self.is_in(waiting))
        self.reloaded(ECHO + "max_connections = 1\nidle_timeout = 9s\n")
        self.assertFalse(self.is_in(waiting))
        first.close()
        self.assertEqual(self.receive(waiting, 2), b"xx")

    def test_capacity_of_removed(self) -> None:
        """
        The connections of a removed service count for the daemon until they have ended.
        """
        head = "[socketd]\nmax_connections = 2\n"
        upper = "[upper]\nlisten = tcp:0:interface=127.0.0.2\n"
        daemon = self.start(head + ECHO + upper)
        sock = self.enter("upper")
        self.assertEqual(self.ask(sock), b"HELLO")
        self.reloaded(head + ECHO)
        self.assertEqual(self.ended(sock), "closed")
        sock.close()
        self.until(lambda: not daemon.roster)
        self.assertEqual(daemon.capacity.occupancy, 0)

    def test_max_per_source(self) -> None:
        """
        Who is in counts under the new limit.
        """
        self.start()
        socks = [self.enter() for _ in range(3)]
        self.reloaded(ECHO + "max_per_source = 4\n")
        self.assertEqual(self.ask(self.enter()), b"hello")
        self.assertEqual(self.ended(self.connect(self.address())), "reset")
        self.assertEqual([self.is_in(sock) for sock in socks], [True] * 3)
        self.assertEqual(self.ask(self.enter(source="127.0.0.2")), b"hello")

    def test_max_per_source_again(self) -> None:
        """
        The counts go on from one limit to the next, and each place is given back once.
        """
        daemon = self.start(ECHO + "max_per_source = 2\n")
        socks = [self.enter(), self.enter()]
        for limit in (3, 2, 5, 2):
            self.reloaded(ECHO + f"max_per_source = {limit}\n")
        self.assertEqual(self.ended(self.connect(self.address())), "reset")
        socks.pop().close()
        self.until(lambda: len(daemon.roster) == 1)
        self.assertEqual(self.ask(self.enter()), b"hello")
        sources = self.service().site.door.local_sources
        assert sources is not None
        socks.pop().close()
        self.reloaded(ECHO)
        self.reloaded(ECHO + "max_per_source = 1\n")
        sources = self.service().site.door.local_sources
        assert sources is not None
        self.assertEqual(len(sources), 1)
        self.assertEqual(self.ended(self.connect(self.address())), "reset")

    def test_networks(self) -> None:
        """
        Who may no longer come in is reset and counted, others stay.
        """
        self.start()
        stays, goes = self.enter(), self.enter(source="127.0.0.2")
        self.reloaded(ECHO + "deny = 127.0.0.2\n")
        self.assertEqual(self.ended(goes), "reset")
        self.assertEqual(self.ask(stays), b"hello")
        self.assertEqual(self.service().site.tally.refused["network"], 1)

    def test_unix_has_no_network(self) -> None:
        """
        Peers of a UNIX socket are in no network, and stay.
        """
        text = "[echo]\nlisten = unix:{runtime}/e.sock\n"
        self.start(text)
        sock = self.enter(kind="unix")
        self.reloaded(text + "deny = any\nmax_per_source = 1\n")
        self.assertEqual(self.ask(sock), b"hello")

    def test_bans_stay(self) -> None:
        """
        A ban outlives a reload that changes the door.
        """
        daemon = self.start()
        ban = daemon.bans.add(ip_network("127.0.0.2/32"))
        self.reloaded(ECHO + "max_per_source = 5\n")
        self.assertEqual(daemon.bans.current(), [ban])
        self.assertEqual(self.ended(self.connect(self.address(), "127.0.0.2")), "reset")
        self.assertEqual(self.service().site.tally.refused["banned"], 1)

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
        self.assertEqual(self.service().site.tally.overdue["idle_timeout"], 1)
        self.assertEqual(self.ask(busy), b"hello")

    def test_idle_timeout_goes(self) -> None:
        """
        A deadline that goes out of the file holds for nobody.
        """
        text = ECHO + "first_byte_timeout = 0s\nstall_timeout = 0s\nlifetime = 0s\n"
        self.start(text + "idle_timeout = 1s\n")
        sock = self.enter()
        self.reloaded(text + "idle_timeout = 0s\n")
        self.reactor.pump([1.0] * 10)
        self.assertEqual(self.ask(sock), b"hello")

    def test_lifetime(self) -> None:
        """
        Who is older than the new file allows is closed at once.
        """
        self.start()
        old = self.enter()
        self.reactor.advance(20.0)
        young = self.enter()
        self.reloaded(ECHO + "lifetime = 10s\n")
        self.assertEqual(self.ended(old), "closed")
        self.assertEqual(self.ask(young), b"hello")

    def test_logging(self) -> None:
        """
        What is logged of connections and messages changes for those that are in.
        """
        self.start(ECHO + "log_connections = no\n")
        logged: list[str] = []
        log = self.daemon.journal._log
        self.patch(log, "emit", lambda level, format, **facts: logged.append(facts["event"]))
        self.daemon.journal._watchers.clear()
        self.daemon.journal._tell()
        sock = self.enter()
        self.assertEqual(self.ask(sock), b"hello")
        self.assertEqual(logged, [])
        self.reloaded(ECHO + "log_messages = text\n")
        self.assertEqual(logged, ["reloaded", "listening"])
        self.assertEqual(self.ask(sock), b"hello")
        sock.close()
        self.until(lambda: not self.daemon.roster)
        self.assertEqual(logged[2:], ["message_received", "connection_lost"])
        self.reloaded(ECHO + "log_connections = no\n")
        self.assertEqual(self.ask(self.enter()), b"hello")
        self.assertEqual(logged[4:], ["reloaded", "listening"])

    def test_log_level(self) -> None:
        """
        The level of the log, and who is left out of it, change at once.
        """
        daemon = self.start()
        self.assertIs(daemon.journal.quiet, None)
        self.reloaded(ECHO + "[socketd]\nlog_level = error\nlog_quiet = 127.0.0.1\n")
        self.assertIs(daemon.journal.level, LogLevel.error)
        quiet = daemon.journal.quiet
        assert quiet is not None
        self.assertTrue(quiet("127.0.0.1"))
        self.assertFalse(quiet("127.0.0.2"))
        self.reloaded(ECHO)
        self.assertEqual((daemon.journal.level, daemon.journal.quiet), (LogLevel.info, None))

    def proxied(self, text: str) -> bytes:
        """
        Change the rules while a balancer has not yet said for whom it speaks; then it
        does.

        @return: the answer to its peer.
        """
        sock = self.enter()
        self.reloaded(text)
        sock.send(b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 7\r\n")
        answer = self.ask(sock)
        sock.close()
        self.until(lambda: not self.daemon.roster)
        return answer

    def test_balancer(self) -> None:
        """
        A balancer that has not yet said for whom it speaks is not asked: its own address
        need not be one that is served, and takes no place.
        """
        text = "[echo]\nlisten = haproxy:tcp:0:interface=127.0.0.1\nproxy_from = 127.0.0.1\n"
        text += "allow = 192.0.2.0/24\nmax_per_source = {}\n"
        self.start(text.format(3))
        self.assertEqual(self.proxied(text.format(2)), b"hello")
        self.assertEqual(self.proxied(text.format(1)), b"hello")
        door = self.service().site.door
        for sources in (door.sources, door.local_sources):
            assert sources is not None
            self.assertEqual(len(sources), 0)

    def test_datagram_rules(self) -> None:
        """
        The rules for datagrams change at the socket that is there.
        """
        text = "[echo]\nlisten = udp:0:interface=127.0.0.1\nguard_loopback = yes\n"
        text += "udp_burst = {}\nudp_rate = 1/h\n"
        self.start(text.format(1))
        for allowed in (1, 4, 2):
            self.reloaded(text.format(allowed))
            address = self.address(kind="udp")
            port: Any = self.service().bound[0].port
            # Nothing above the rate is let through by luck.
            port._guard._sources._random = lambda: 1.0
            answers = [self.ask_datagram(address, f"{n}".encode()) for n in range(6)]
            expected = [f"{n}".encode() if n < allowed else None for n in range(6)]
            self.assertEqual(answers, expected)

    def test_datagram_networks(self) -> None:
        """
        Who may ask changes for those that were judged already.
        """
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
    """
    Tests for services that go, and come back.
    """

    UPPER = "[upper]\nlisten = tcp:0:interface=127.0.0.2\n"

    def test_removed(self) -> None:
        """
        What has come to a removed service is answered before its connections are closed;
        nobody new comes in.
        """
        self.start(ECHO + self.UPPER)
        sock, address = self.enter("upper"), self.address("upper")
        sock.send(b"last words")
        self.reloaded(ECHO)
        self.assertEqual(self.receive(sock, 10), b"LAST WORDS")
        self.assertEqual(self.ended(sock), "closed")
        self.assertRaises(ConnectionRefusedError, self.connect, address)

    def flood(self, name: str) -> socket.socket:
        """
        Be owed more than the kernel keeps.
        """
        sock = self.enter(name)
        for _ in range(TURNS):
            try:
                sock.send(b"x" * 65536)
            except BlockingIOError:
                if self.connection_of(sock)._buffered:
                    return sock
            self.turn(1)
        self.fail("it takes all of it")

    def connection_of(self, sock: socket.socket) -> Any:
        """
        Find the daemon's side.
        """
        host, port = sock.getsockname()
        (found,) = (one for one in self.daemon.roster if one.peer == f"{host}:{port}")
        return found

    def test_does_not_take_it(self) -> None:
        """
        Who does not take what a removed service owes him is reset in time.
        """
        daemon = self.start("[socketd]\ndrain_timeout = 2s\n" + ECHO + self.UPPER)
        self.flood("upper")
        self.reloaded("[socketd]\ndrain_timeout = 2s\n" + ECHO)
        self.assertEqual(len(daemon.roster), 1)
        self.reactor.advance(1.5)
        self.turn()
        self.assertEqual(len(daemon.roster), 1)
        self.reactor.advance(0.5)
        self.turn()
        self.assertEqual(len(daemon.roster), 0)

    def test_comes_back(self) -> None:
        """
        A service that comes back goes on with its counts.
        """
        daemon = self.start(ECHO + self.UPPER)
        site = self.service("upper").site
        self.enter("upper").close()
        self.until(lambda: not daemon.roster)
        self.reloaded(ECHO)
        self.assertEqual(daemon.former, {"upper": site})
        self.reloaded(ECHO + self.UPPER)
        self.assertEqual(daemon.former, {})
        self.assertIs(self.service("upper").site, site)
        self.assertEqual(self.ask(self.enter("upper")), b"HELLO")
        self.assertEqual(site.tally.connections, 2)

    def test_comes_back_under_new_rules(self) -> None:
        """
        It comes back as the new file has it.
        """
        self.start(ECHO + self.UPPER)
        self.reloaded(ECHO)
        self.reloaded(ECHO + self.UPPER + "max_connections = 7\nlog_messages = hex\n")
        site = self.service("upper").site
        self.assertEqual((site.door.capacity.limit, site.log_messages), (7, "hex"))

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
        """
        A stop waits for the connections of a removed service, too.
        """
        daemon = self.start(ECHO + self.UPPER)
        sock = self.flood("upper")
        self.reloaded(ECHO)
        stopped = daemon.stopService()
        self.assertNoResult(stopped)
        while not read_all(sock)[1]:
            self.turn(1)
        sock.close()
        self.until(lambda: not daemon.roster)
        self.successResultOf(stopped)

    def test_stop_leaves_no_timer(self) -> None:
        """
        After a stop nothing is scheduled, though a service was just removed.
        """
        daemon = self.start(ECHO + self.UPPER)
        self.reloaded(ECHO)
        daemon.stopService()
        self.turn()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_all_names(self) -> None:
        """
        Each removed service is remembered once, however often it goes.
        """
        daemon = self.start(ECHO + self.UPPER)
        observers = len(daemon.journal._on_watched)
        for _ in range(10):
            self.reloaded(ECHO)
            self.reloaded(ECHO + self.UPPER)
        self.reloaded(ECHO)
        self.assertEqual(list(daemon.former), ["upper"])
        self.assertEqual(len(daemon.journal._on_watched), observers)


class InheritedReloadTests(DaemonCase):
    """
    Tests for sockets that systemd has handed over: nobody can bind them again.
    """

    TEXT = "[echo]\nlisten = systemd:web\n"

    def hand_over(self, *names: str) -> None:
        """
        Start with inherited sockets of these names.
        """
        found = []
        for name in names:
            sock = self.peer()
            sock.bind(("127.0.0.1", 0))
            sock.listen()
            sock.setblocking(False)
            kinds = socket.AF_INET, socket.SOCK_STREAM
            found.append(InheritedSocket(name, sock, *kinds, sock.getsockname()))
        self.socks = [one.sock for one in found]
        self.names = [one.address for one in found]
        text = "".join(f"[s-{n}]\nprotocol = echo\nlisten = systemd:{n}\n" for n in names[1:])
        self.start(self.TEXT + text, inherited=Inherited(tuple(found)))

    def test_changed(self) -> None:
        """
        A service that changes keeps them, and who waits there.
        """
        self.hand_over("web")
        waiting = self.connect(self.names[0])
        self.reloaded(self.TEXT + "protocol = upper\n")
        self.assertEqual(self.ask(waiting), b"HELLO")

    def test_refused(self) -> None:
        """
        A reload that is refused leaves them open and served.
        """
        self.hand_over("web")
        text = f"[echo]\nprotocol = upper\nlisten = systemd:web, {self.taken()}\n"
        self.refused(text)
        self.assertEqual(self.ask(self.connect(self.names[0])), b"hello")

    def test_other_service(self) -> None:
        """
        Another service can take one over.
        """
        self.hand_over("web")
        self.reloaded("[upper]\nlisten = systemd:web\n")
        self.assertEqual(self.ask(self.connect(self.names[0])), b"HELLO")

    def test_nobody_names_it(self) -> None:
        """
        A file in which nobody names one is refused, as at the start: peers would wait
        there for ever.
        """
        self.hand_over("web", "more")
        (complaint,) = self.refused(self.TEXT)
        host, port = self.names[1]
        expected = f"no service names the inherited socket more ({host}:{port})"
        self.assertEqual(complaint, expected)
        self.assertEqual(self.ask(self.connect(self.names[1])), b"hello")

    def test_instead(self) -> None:
        """
        So it is with a service that has another listener instead.
        """
        self.hand_over("web")
        self.refused(ECHO)
        self.assertEqual(self.ask(self.connect(self.names[0])), b"hello")

    def test_missing(self) -> None:
        """
        A file that names one that was never handed over is refused.
        """
        self.hand_over("web")
        (complaint,) = self.refused(self.TEXT + "[upper]\nlisten = systemd:wep\n")
        self.assertIn("no such socket was handed over (there is web)", complaint)

    def test_moved_back(self) -> None:
        """
        Two services exchange theirs, and exchange them again.
        """
        text = "[echo]\nlisten = systemd:{}\n[s-more]\nprotocol = upper\nlisten = systemd:{}\n"
        self.hand_over("web", "more")
        for names in (("more", "web"), ("web", "more")) * 3:
            self.reloaded(text.format(*names))
            answers = [self.ask(self.connect(name)) for name in self.names]
            served = dict(zip(names, (b"hello", b"HELLO")))
            self.assertEqual(answers, [served["web"], served["more"]])


class RepeatTests(DaemonCase):
    """
    Tests for many reloads of one daemon.
    """

    def files(self) -> list[str]:
        """
        Make files that take turns: rules, protocols and listeners change, a service
        comes and goes, and some are refused.
        """
        two = "[two]\nprotocol = {}\nlisten = unix:{{runtime}}/two.sock:mode={}, udp:0{}\n"
        here, there = ":interface=127.0.0.1", ":interface=127.0.0.3"
        lasting = ECHO + "first_byte_timeout = 0s\n"
        return [
            lasting + "idle_timeout = 1h\n" + two.format("upper", "600", here),
            lasting + "max_per_source = 50\n" + two.format("echo", "666", there),
            lasting + "max_connections = 90\nlog_connections = no\n",
            lasting + f"[two]\nprotocol = echo\nlisten = tcp:0{there}, {self.taken()}\n",
            "[echo]\n",
        ]

    def test_nothing_stays(self) -> None:
        """
        After a thousand reloads there are as many descriptors, objects, timers and
        readers as before, and connections are served.
        """
        files = self.files()
        self.start(files[0])
        self.daemon.journal._watchers.clear()
        socks = [self.enter() for _ in range(5)]
        found = []
        for number in range(WARM_UP + RELOADS + len(files)):
            self.reload(files[number % len(files)])
            if number % 100 == 0:
                self.reactor.advance(self.daemon.settings.daemon.drain_timeout)
            self.reactor.turn(1)
            if number >= WARM_UP and number % len(files) == 0:
                if number in (WARM_UP, WARM_UP + RELOADS):
                    found.append(self.measure())
        before, after = found
        self.assertEqual(after[1:], before[1:])
        self.assertTrue(after[0] - before[0] < SLACK, f"{after[0] - before[0]} objects stay")
        self.assertEqual([self.ask(sock) for sock in socks], [b"hello"] * 5)
        self.assertEqual(self.daemon.reloads["refused"] * 3, self.daemon.reloads["done"] * 2)

    def measure(self) -> tuple[int, int, int, int]:
        """
        Count what there is, once nothing is scheduled that will soon be over.
        """
        self.reactor.advance(self.daemon.settings.daemon.drain_timeout)
        self.turn()
        gc.collect()
        timers, readers = self.reactor.getDelayedCalls(), self.reactor.getReaders()
        return len(gc.get_objects()), len(descriptors()), len(timers), len(readers)


@attrs.frozen
class Step:
    """
    One file of a random walk.

    @ivar text: the file.
    @ivar good: whether it can be carried out.
    @ivar places: what is served where, if it is: the protocol by kind and address.
    """

    text: str
    good: bool
    places: dict[tuple[str, str], str]


class RandomTests(DaemonCase):
    """
    What is bound is what the last good file says, whatever came before.
    """

    KINDS = ("tcp", "udp", "unix", "unixgram")

    def place(self, random: random.Random) -> tuple[str, str]:
        """
        Choose a listener: a kind, and an address or a path.
        """
        kind = random.choice(self.KINDS)
        number = random.randrange(1, 6)
        if kind.startswith("unix"):
            return kind, f"{self.runtime}/{kind}{number}"
        return kind, f"127.0.0.{number}"

    def step(self, random: random.Random) -> Step:
        """
        Make a file: up to four services, each place once, and perhaps an error.
        """
        places = list({self.place(random) for _ in range(random.randrange(1, 9))})
        random.shuffle(places)
        names = random.sample(["a", "b", "c", "d", "e"], random.randrange(1, 5))
        sections: dict[str, list[str]] = {}
        protocols = {name: random.choice(("echo", "upper")) for name in names}
        served = {}
        for place in sorted(places):
            name = random.choice(names)
            served[place] = protocols[name]
            kind, where = place
            text = f"unix{kind[4:]}:{where}" if where[0] != "1" else f"{kind}:0:interface={where}"
            sections.setdefault(name, []).append(text)
        good = random.random() < 0.7
        if not good:
            bad = random.choice((self.blocked, "unix:/nowhere/a.sock", "tcp:70000", "tcp"))
            found = random.choice(list(sections.values()))
            found.insert(random.randrange(len(found) + 1), bad)
        order = random.sample(sorted(sections), len(sections))
        lines = [
            f"[{name}]\nprotocol = {protocols[name]}\nlisten = {', '.join(sections[name])}\n"
            f"idle_timeout = {random.randrange(60, 63)}s\n"
            for name in order
        ]
        return Step("".join(lines), good, served)

    def bound(self) -> dict[tuple[str, str], Any]:
        """
        List what is bound: the address by kind and place.
        """
        found = {}
        for service in self.daemon.socket_services:
            for one in service.bound:
                name = one.sock.getsockname()
                where = name if isinstance(name, str) else name[0]
                found[one.listener.kind, where] = name
        return found

    def probe(self, kind: str, address: Any) -> bytes:
        """
        Ask at an address.
        """
        if kind in ("tcp", "unix"):
            sock = self.connect(address)
            answer = self.ask(sock)
            sock.close()
            return answer
        family = socket.AF_UNIX if kind == "unixgram" else socket.AF_INET
        sock = self.peer(family, socket.SOCK_DGRAM)
        if kind == "unixgram":
            sock.bind("")
        sock.setblocking(False)
        sock.sendto(b"hello", address)
        self.turn(2)
        answer = sock.recv(100)
        sock.close()
        return answer

    def closed(self, kind: str, address: Any) -> bool:
        """
        Say whether nobody is at an address.
        """
        if kind.startswith("unix"):
            return not os.path.exists(address)
        if kind == "tcp":
            self.assertRaises(ConnectionRefusedError, self.connect, address)
            return True
        sock = self.peer(kind=socket.SOCK_DGRAM)
        sock.connect(address)
        sock.setblocking(False)
        sock.send(b"x")
        self.assertRaises(ConnectionRefusedError, sock.recv, 1)
        sock.close()
        return True

    def walk(self, seed: int) -> None:
        """
        Go through random files, and compare after each.
        """
        chance = random.Random(seed)
        self.blocked = self.taken()
        first = self.step(chance)
        while not first.good:
            first = self.step(chance)
        self.start(first.text)
        last = first
        for number in range(STEPS):
            before = self.bound()
            step = self.step(chance)
            outcome = self.reload(step.text)
            self.turn(1)
            where = f"seed {seed}, step {number}: {step.text} {outcome}"
            self.assertEqual(not outcome.complaints, step.good, where)
            last = step if step.good else last
            after = self.bound()
            self.assertEqual(after.keys(), last.places.keys(), where)
            for (kind, place), protocol in last.places.items():
                expected = b"HELLO" if protocol == "upper" else b"hello"
                self.assertEqual(self.probe(kind, after[kind, place]), expected, where)
            for (kind, place), name in before.items():
                # The kernel may have chosen the port again.
                if (kind, place) not in after:
                    self.assertTrue(self.closed(kind, name), where)
                else:
                    self.assertEqual(after[kind, place], name, where)
        self.until(lambda: not self.daemon.roster)
        self.end(self.daemon)

    def test_walks(self) -> None:
        """
        Each walk, from its own seed.
        """
        for seed in SEEDS:
            self.walk(seed)


class DrainTests(DaemonCase):
    """
    Tests for a daemon that accepts nobody any more.
    """

    def test_drain(self) -> None:
        """
        Listeners are closed, connections go on, and whoever asked is told.
        """
        daemon = self.start(ECHO + "[upper]\nlisten = unix:{runtime}/u.sock\n")
        told: list[str] = []
        daemon.on_state(lambda state, detail: told.append(state))
        sock, address = self.enter(), self.address()
        daemon.drain()
        self.assertEqual((daemon.state, daemon.health()), ("draining", "draining"))
        self.assertEqual(told, ["draining"])
        (line,) = self.events("draining")
        self.assertEqual(line, "accepting nobody any more; 1 connections go on")
        self.assertRaises(ConnectionRefusedError, self.connect, address)
        self.assertEqual(os.listdir(self.runtime), [])
        self.assertEqual(self.ask(sock), b"hello")
        self.assertIn("0 listeners, 1 connections", daemon.summary())

    def test_once(self) -> None:
        """
        To drain a daemon that drains or stops does nothing.
        """
        daemon = self.start()
        daemon.drain()
        daemon.drain()
        self.assertEqual(len(self.events("draining")), 1)
        daemon.stopService()
        daemon.drain()
        self.assertEqual((daemon.state, len(self.events("draining"))), ("stopping", 1))

    def test_deadlines_go_on(self) -> None:
        """
        The deadlines of connections, and the looks at the clock, go on.
        """
        daemon = self.start(ECHO + "idle_timeout = 5s\n")
        sock = self.enter()
        daemon.drain()
        self.wall += 100.0
        self.reactor.pump([0.25] * 40)
        self.assertEqual(self.ended(sock), "closed")
        self.assertEqual(len(self.events("clock_stepped")), 1)

    def test_then_stop(self) -> None:
        """
        A daemon that has drained stops as any other.
        """
        daemon = self.start()
        sock = self.enter()
        daemon.drain()
        sock.close()
        self.until(lambda: not daemon.roster)
        self.successResultOf(daemon.stopService())


class StopTests(DaemonCase):
    """
    Tests for the stop.
    """

    def test_idle(self) -> None:
        """
        Without connections it is over at once, and nothing is left.
        """
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
        self.assertEqual((daemon.state, daemon.health()), ("stopping", "stopping"))
        self.assertRaises(ConnectionRefusedError, self.connect, address)
        self.assertNoResult(stopped)
        self.assertEqual(self.receive(sock, 10), b"last words")
        self.assertEqual(self.ended(sock), "closed")
        self.assertNoResult(stopped)
        sock.close()
        self.turn()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def flooded(self) -> socket.socket:
        """
        Connect somebody who takes nothing of what he is owed.
        """
        sock = self.enter()
        (connection,) = self.daemon.roster
        for _ in range(TURNS):
            try:
                sock.send(b"x" * 65536)
            except BlockingIOError:
                break
            self.turn(1)
        self.assertTrue(connection._buffered)  # type: ignore[attr-defined]
        return sock

    def test_drain_timeout(self) -> None:
        """
        Who takes nothing is reset when the time is over, not before; then it ends.
        """
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

    def test_abort(self) -> None:
        """
        Who does not want to wait resets everybody at once.
        """
        text = "[socketd]\ndrain_timeout = 1h\n" + ECHO + "log_connections = no\n"
        daemon = self.start(text)
        self.flooded()
        stopped = daemon.stopService()
        daemon.abort()
        self.turn()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_new_drain_timeout(self) -> None:
        """
        The time is what the last good file says.
        """
        daemon = self.start("[socketd]\ndrain_timeout = 1h\n" + ECHO)
        self.reloaded("[socketd]\ndrain_timeout = 1s\n" + ECHO)
        self.flooded()
        stopped = daemon.stopService()
        self.reactor.advance(1.0)
        self.turn()
        self.successResultOf(stopped)
