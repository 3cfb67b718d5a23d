"""Tests for L{socketd.daemon.service}: one service, bound, served, closed or handed on."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.common.operator_queue import OperatorQueue
from socketd.daemon.service import Shared, SocketService, StreamFactory
from socketd.daemon.socket_pool import SocketPool
from socketd.net.datagram.batch_port import BatchedDatagramPort
from socketd.net.listen import Bound
from socketd.net.sockets.activation import Inherited, InheritedSocket
from socketd.net.sockets.local_addresses import HostAddresses
from socketd.net.stream.port import StreamPort
from socketd.net.tls.context import ServerContext
from socketd.protocols.measure.echo import EchoDatagrams
from socketd.protocols.registry import installed
from socketd.protocols.spec import ProtocolContext, ProtocolSpec
from socketd.settings import model
from socketd.settings.listener_syntax import parse_listener
from socketd.settings.load import parse
from tests.support.certificates import NOW, PAST, Made, issued
from tests.support.fakes import HandReactor, make_service_state, read_all

BOTH = "[echo]\nlisten = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1\n"
UNIX = "[echo]\nlisten = unix:{runtime}/s\n"
TURNS = 5


class ServiceCase(SynchronousTestCase):
    """
    Makes services without a daemon.

    @ivar runtime: a directory, with a name short enough for UNIX sockets.
    @ivar seen: the name and the facts of each event.
    """

    def setUp(self) -> None:
        self.reactor = HandReactor()
        self.service_state, self.seen = make_service_state(self.reactor)
        self.addCleanup(self.end)
        self.runtime = os.path.relpath(self.mktemp())
        os.makedirs(self.runtime)

    def end(self) -> None:
        """Reset who is left."""
        for connection in self.service_state.connection_table:
            connection.abortConnection()
        self.reactor.advance(0)

    def make(self, text: str = BOTH, inherited: Inherited = Inherited()) -> SocketService:
        (settings,) = parse(text, "FILE", installed(), self.runtime).services
        shared = Shared(
            self.reactor,
            self.service_state.event_bus,
            self.service_state.connection_table,
            self.service_state.policy.capacity,
            self.service_state.policy.bans,
            self.service_state.wheel,
            ProtocolContext(lambda: NOW, OperatorQueue(self.reactor)),
            HostAddresses(self.reactor.seconds).current,
            inherited,
        )
        context = None
        if settings.listeners[0].tls:
            context = ServerContext(settings.tls, lambda: NOW, self.reactor.seconds)
            self.assertEqual(context.load(), [])
        service = SocketService(shared, settings, self.service_state, context)
        self.addCleanup(service.close)
        return service

    def start(self, text: str = BOTH) -> SocketService:
        service = self.make(text)
        self.assertEqual(service.bind(), [])
        service.serve()
        self.reactor.turn()
        return service

    def peer(self, bound: Bound) -> socket.socket:
        peer = socket.socket(bound.sock.family, bound.sock.type)
        self.addCleanup(peer.close)
        peer.connect(bound.sock.getsockname())
        peer.setblocking(False)
        return peer

    def answer(self, bound: Bound) -> bytes:
        """Say something to a listener, and return what comes back in a few turns."""
        peer = self.peer(bound)
        peer.send(b"hello")
        self.reactor.turn(TURNS)
        return peer.recv(100)

    def names(self) -> list[str]:
        return [name for name, _ in self.seen]


class BindTests(ServiceCase):
    """Tests for L{SocketService.bind}."""

    def test_all(self) -> None:
        """Every listener is bound, and none is served."""
        service = self.make()
        self.assertEqual(service.bind(), [])
        listeners = [one.listener for one in service.bound]
        self.assertEqual(listeners, list(service.settings.listeners))
        self.assertEqual([one.port for one in service.bound], [None, None])
        self.assertEqual(self.reactor.getReaders(), [])

    def test_reasons(self) -> None:
        """Each listener that cannot be bound has its reason, the others are bound."""
        text = "[echo]\nlisten = unix:/nowhere/a, tcp:0:interface=127.0.0.1, unix:/nowhere/b\n"
        service = self.make(text)
        reasons = service.bind()
        start = "[echo] cannot listen at unix /nowhere/"
        why = "No such file or directory; make its directory, or write another path in FILE:2"
        expected = [f"{start}{name}: {why}" for name in "ab"]
        self.assertEqual(reasons, expected)
        self.assertEqual(len(service.bound), 1)

    def test_optional(self) -> None:
        """
        An optional listener whose address is missing is left out, with an event; one
        whose address is taken is a reason.
        """
        held = self.start("[echo]\nlisten = tcp:0:interface=127.0.0.1\n").bound[0]
        taken = held.sock.getsockname()[1]
        text = "[echo]\nlisten = tcp:0:interface=192.0.2.1:optional=yes,"
        service = self.make(text + f" tcp:{taken}:interface=127.0.0.1:optional=yes\n")
        self.seen.clear()
        (reason,) = service.bind()
        self.assertIn(": Address already in use", reason)
        self.assertEqual(self.names(), ["listener_skipped"])

    def test_pool(self) -> None:
        """What is bound already is taken, and taken out; what is not wanted stays in."""
        first = self.make()
        first.bind()
        other = Bound(parse_listener("tcp:0", ""), socket.socket())
        self.addCleanup(other.close)
        pool = SocketPool([*first.bound, other])
        second = self.make()
        self.assertEqual(second.bind(pool), [])
        for before, after in zip(first.bound, second.bound):
            self.assertIs(after.sock, before.sock)
            self.assertIsNot(after, before)
        self.assertEqual(list(pool), [other])

    def test_inherited(self) -> None:
        """A name means all sockets that have it."""
        found = []
        for _ in range(2):
            sock = socket.create_server(("127.0.0.1", 0))
            self.addCleanup(sock.close)
            found.append(InheritedSocket("web", sock, sock.getsockname()))
        service = self.make("[echo]\nlisten = systemd:web\n", Inherited(tuple(found)))
        self.assertEqual(service.bind(), [])
        self.assertEqual([one.sock for one in service.bound], [one.sock for one in found])

    def test_not_inherited(self) -> None:
        """A name that nothing was handed over by is a reason."""
        (reason,) = self.make("[echo]\nlisten = systemd:web\n").bind()
        self.assertEqual(
            reason,
            "[echo] cannot listen at systemd web: no such socket was handed over (there is"
            " none); twistd must not fork",
        )


class ServeTests(ServiceCase):
    """Tests for a service that serves."""

    def test_kinds(self) -> None:
        """Streams and datagrams are answered, each by its port."""
        service = self.start()
        self.assertEqual([self.answer(one) for one in service.bound], [b"hello"] * 2)
        stream, datagram = (one.port for one in service.bound)
        self.assertIsInstance(stream, StreamPort)
        self.assertIsInstance(datagram, BatchedDatagramPort)

    def test_announced_later(self) -> None:
        """Where it listens is said when the reactor turns; not if it was closed before."""
        service = self.make()
        service.bind()
        service.serve()
        self.assertEqual(self.names(), [])
        listeners = [str(one) for one in service.bound]
        self.reactor.turn()
        said = [facts["listener"] for name, facts in self.seen if name == "listening"]
        self.assertEqual(said, listeners)
        other = self.make(UNIX)
        other.bind()
        other.serve()
        other.close()
        self.seen.clear()
        self.reactor.turn()
        self.assertEqual(self.seen, [])

    def test_forget_sources(self) -> None:
        """Ports of datagrams judge every source again."""
        service = self.start()
        calls: list[None] = []
        port: Any = service.bound[1].port
        self.patch(port, "forget", lambda: calls.append(None))
        service.forget_sources()
        self.assertEqual(len(calls), 1)

    def test_stop(self) -> None:
        """
        A service that stops closes its listeners, answers what has come, and waits for
        the last connection.
        """
        service = self.start()
        peer = self.peer(service.bound[0])
        self.reactor.turn(TURNS)
        peer.send(b"hello")
        socks = [one.sock for one in service.bound]
        stopped = service.stop()
        self.assertEqual([sock.fileno() for sock in socks], [-1, -1])
        self.assertEqual(service.bound, [])
        self.reactor.turn(TURNS)
        self.assertEqual(read_all(peer), (b"hello", True))
        self.assertNoResult(stopped)
        peer.close()
        self.reactor.turn(TURNS)
        self.successResultOf(stopped)

    def test_stop_without_connections(self) -> None:
        """Without connections it has stopped at once."""
        self.successResultOf(self.start().stop())

    def test_close_before_start(self) -> None:
        """A service that was bound only can be closed; the file of its socket is gone."""
        service = self.make(UNIX)
        service.bind()
        self.assertEqual(os.listdir(self.runtime), ["s"])
        service.close()
        self.assertEqual(os.listdir(self.runtime), [])


class FurtherPortTests(ServiceCase):
    """Tests for the ports that a protocol opens beside its listeners."""

    def setUp(self) -> None:
        super().setUp()
        self.service = self.start("[echo]\nlisten = udp:0:interface=127.0.0.1\n")
        self.shared = self.service._shared
        self.context = self.service._protocol_context

    def open(self, port: int = 0) -> tuple[EchoDatagrams, Any]:
        """Open a port; return its protocol, and what closes it."""
        protocol = EchoDatagrams()
        return protocol, self.context.open_port(protocol, "127.0.0.1", port)

    def test_served(self) -> None:
        """It is served with the counters and the guard of the service, and is one of its ports."""
        _, close = self.open()
        first, further = self.service.served
        self.assertEqual(self.answer(further), b"hello")
        self.assertEqual(self.service_state.counters.datagrams_received, 1)
        assert isinstance(further.port, BatchedDatagramPort)
        self.assertIsNotNone(further.port._guard)
        self.assertIn(str(further), self.service.snapshot((), None).listeners)
        self.assertEqual(list(self.shared.own_ports()), self.shared.further_ports)
        close()
        close()
        self.assertEqual((self.service.served, self.shared.further_ports), ([first], []))
        self.assertEqual(further.sock.fileno(), -1)

    def test_ends(self) -> None:
        """It ends with the listeners of its service: at a close, a detach and a drain."""
        for end in ("close", "detach", "unbind"):
            service = self.start("[echo]\nlisten = udp:0:interface=127.0.0.1\n")
            service._protocol_context.open_port(EchoDatagrams(), "127.0.0.1", 0)
            sock = service.served[1].sock
            taken = getattr(service, end)()
            self.assertEqual((sock.fileno(), service.served), (-1, []), end)
            for bound in taken or ():
                bound.close()

    def test_opened_at_close(self) -> None:
        """One that the last datagram asks for ends, too."""
        port: Any = self.service.bound[0].port
        self.patch(port._protocol, "datagramReceived", lambda data, addr: self.open())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"x", port.socket.getsockname())
            self.service.close()
        self.assertEqual(self.service_state.counters.datagrams_received, 1)
        self.assertEqual((self.service.served, self.shared.further_ports), ([], []))

    def test_refused(self) -> None:
        """One that is in use cannot be opened, nor one more than a service may have."""
        port = self.service.bound[0].sock.getsockname()[1]
        problem = self.assertRaises(OSError, self.open, port)
        self.assertIn("in use", str(problem))
        self.patch(model, "MAX_FURTHER", 2)
        self.open()
        self.open()
        self.assertRaises(OSError, self.open)
        self.assertEqual(len(self.service.served), 3)

    def test_down(self) -> None:
        """One that the reactor closed after an error is no port of the service any more."""
        protocol, close = self.open()
        self.service.served[1].sock.close()
        self.assertEqual(self.service.served, self.service.bound)
        close()


class DetachTests(ServiceCase):
    """Tests for a service whose sockets another one takes over."""

    def test_detach(self) -> None:
        """The listeners are handed over open, with their files; the service has none."""
        service = self.start(UNIX)
        expected = service.bound[:]
        taken = service.detach()
        self.assertEqual((taken, service.bound), (expected, []))
        self.assertEqual([one.port for one in taken], [None])
        self.assertNotEqual(taken[0].sock.fileno(), -1)
        self.assertEqual(os.listdir(self.runtime), ["s"])
        self.assertEqual(self.reactor.getReaders(), [])
        taken[0].close()

    def test_next(self) -> None:
        """The next service answers at the same sockets, and says where it listens."""
        first = self.start()
        second = self.make(BOTH.replace("[echo]", "[upper]"))
        second.bind(SocketPool(first.bound))
        first.detach()
        self.seen.clear()
        second.serve()
        self.assertEqual([self.answer(one) for one in second.bound], [b"HELLO"] * 2)
        self.assertEqual(self.names().count("listening"), 2)


class CertificateTests(ServiceCase):
    """Tests for L{SocketService.renew_certificates}."""

    def write(self, made: Made) -> str:
        return made.write(f"{self.runtime}/a.pem")

    def secure(self) -> SocketService:
        path = self.write(issued("a.example"))
        text = f"[echo]\nlisten = tls:0:interface=127.0.0.1\ntls_certificate = {path}\n"
        service = self.start(text)
        self.seen.clear()
        return service

    def test_without_tls(self) -> None:
        """A service without TLS has no context, and nothing to look at."""
        service = self.start()
        self.seen.clear()
        self.assertIs(service.context, None)
        service.renew_certificates()
        self.assertEqual(self.seen, [])

    def test_same(self) -> None:
        """Files that are as they were are not read again."""
        service = self.secure()
        assert service.context is not None
        loads = service.context.loads
        service.renew_certificates()
        self.assertEqual((service.context.loads, self.seen), (loads, []))

    def test_new(self) -> None:
        """A new certificate is taken, and until when it is good is said."""
        service = self.secure()
        self.write(issued("b.example"))
        service.renew_certificates()
        ((name, facts),) = self.seen
        self.assertEqual(name, "certificate_loaded")
        self.assertEqual(facts["until"], "2049-01-01 00:00:00 UTC")

    def test_bad(self) -> None:
        """A bad one is told once, and the one that is used stays, until there is a good one."""
        service = self.secure()
        assert service.context is not None
        before = service.context.not_after
        path = Path(self.runtime, "a.pem")
        good = path.read_bytes()
        path.write_bytes(b"nothing")
        for _ in range(3):
            service.renew_certificates()
        ((name, facts),) = self.seen
        self.assertEqual((name, facts["option"]), ("certificate_refused", "tls_certificate"))
        self.assertEqual(service.context.not_after, before)
        path.write_bytes(good)
        service.renew_certificates()
        self.assertEqual(self.names(), ["certificate_refused", "certificate_loaded"])

    def test_missing(self) -> None:
        """So it is with a file that is gone for a moment."""
        service = self.secure()
        os.unlink(f"{self.runtime}/a.pem")
        service.renew_certificates()
        service.renew_certificates()
        self.assertEqual(self.names(), ["certificate_refused"])
        self.write(issued("a.example"))
        service.renew_certificates()
        self.assertEqual(self.names()[1:], ["certificate_loaded"])

    def test_invalid(self) -> None:
        """
        That a certificate has expired is said once, until there is a good one; it is no
        failure to load it.
        """
        service = self.secure()
        assert service.context is not None
        self.write(issued("old.example", end=PAST))
        for _ in range(3):
            service.renew_certificates()
        (loaded, (name, facts)) = self.seen
        self.assertEqual((loaded[0], name), ("certificate_loaded", "certificate_invalid"))
        self.assertIn("expired at 2021-01-01", facts["error"])
        self.assertEqual((service.context.loads, service.context.failures), (2, 0))
        self.write(issued("a.example"))
        service.renew_certificates()
        self.assertEqual(service.context.invalid(), [])
        self.write(issued("old.example", end=PAST))
        service.renew_certificates()
        self.assertEqual(self.names()[3:], ["certificate_loaded", "certificate_invalid"])


class PoolTests(SynchronousTestCase):
    """Tests for L{SocketPool}."""

    def bound(self, text: str) -> Bound:
        """Have a socket for a listener; it need not be bound to be in a pool."""
        sock = socket.socket()
        self.addCleanup(sock.close)
        return Bound(parse_listener(text, "/run/x"), sock)

    def test_take(self) -> None:
        """What is bound at a listener's place is taken once, whatever is spoken there."""
        seven, eight = self.bound("tcp:7"), self.bound("tcp:8")
        pool = SocketPool([seven, eight])
        self.assertEqual(list(pool), [seven, eight])
        self.assertIs(pool.take(parse_listener("tls:7", "")), seven)
        self.assertIs(pool.take(parse_listener("tcp:7", "")), None)
        self.assertEqual(list(pool), [eight])

    def test_same_place(self) -> None:
        """Two that have one place are taken one after the other."""
        first, second = self.bound("tcp:0"), self.bound("tcp:0")
        pool = SocketPool([first, second])
        found = [pool.take(parse_listener("tcp:0", "")) for _ in range(3)]
        self.assertEqual(found, [first, second, None])

    def test_inherited(self) -> None:
        """What was handed over has no place to be taken by, and is never left over."""
        web = self.bound("systemd:web")
        pool = SocketPool([web])
        self.assertEqual(list(pool), [])
        self.assertTrue(pool.lent(web))

    def test_lent(self) -> None:
        """A socket of the pool is known as such, also when it has another listener."""
        seven = self.bound("tcp:7")
        pool = SocketPool([seven])
        pool.take(seven.listener)
        self.assertTrue(pool.lent(Bound(parse_listener("tls:7", ""), seven.sock)))
        self.assertFalse(pool.lent(self.bound("tcp:7")))


class StreamFactoryTests(ServiceCase):
    """Tests for L{StreamFactory}."""

    def test_protocols(self) -> None:
        """
        Each connection has a protocol of its own, with the service's options; none is
        told of in the log.
        """
        made: list[Any] = []

        def stream(*arguments: Any) -> Protocol:
            made.append(arguments)
            return Protocol()

        text = "[reply]\nlisten = tcp:7\nreply = hi\n"
        (settings,) = parse(text, "FILE", installed(), self.runtime).services
        settings = evolve(settings, declared=ProtocolSpec(stream=stream))
        around = ProtocolContext(lambda: NOW, OperatorQueue(self.reactor))
        factory = StreamFactory(settings, around)
        verifyObject(IProtocolFactory, factory)
        self.assertIsNot(factory.buildProtocol(None), factory.buildProtocol(None))
        self.assertEqual(made, [(settings.options, around)] * 2)
        self.assertFalse(factory.noisy)
