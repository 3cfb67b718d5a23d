"""Tests of C{socketd.net.reactor.batch}."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

from twisted.internet import asyncioreactor, epollreactor, pollreactor, selectreactor
from twisted.internet.address import UNIXAddress
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    UNIXServerEndpoint,
    connectProtocol,
)
from twisted.internet.error import (
    CannotListenError,
    ConnectionDone,
    InvalidAddressError,
    UnsupportedAddressFamily,
    UnsupportedSocketType,
)
from twisted.internet.interfaces import IReactorFDSet, IReactorSocket
from twisted.internet.protocol import Factory
from twisted.internet.tcp import makeBinding
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import providedBy
from zope.interface.verify import verifyClass, verifyObject

from socketd.net.reactor.batch import BatchReactor
from socketd.net.reactor.epoll import SHORT_SLICE, TIME_SLICE
from tests.support.fakes import (
    DatagramRecorder,
    Endless,
    HandReactor,
    OneFactory,
    Recorder,
    connect,
    make_service_state,
    read_all,
)

#: Longer than any wait of these tests (seconds), so that a fault ends them.
TIMEOUT = 10.0


def reactors(test: SynchronousTestCase) -> Iterator[Any]:
    """Make one of each of Twisted's reactors."""
    import asyncio

    loop = asyncio.new_event_loop()
    test.addCleanup(loop.close)
    yield epollreactor.EPollReactor()
    yield pollreactor.PollReactor()
    yield selectreactor.SelectReactor()
    yield asyncioreactor.AsyncioSelectorReactor(loop)


class BatchReactorTests(SynchronousTestCase):
    """A batch reactor serves behind any reactor of Twisted's."""

    def setUp(self) -> None:
        self.hand = HandReactor()
        self.reactor = BatchReactor(self.hand)
        self.addCleanup(self.reactor.connectionLost, Failure(ConnectionDone()))

    def test_time_slice(self) -> None:
        """
        Events are served for a while, or until a timer is due; where timers are always due, events
        have a part of the time.
        """
        endless = Endless(self)
        endless.after = lambda: self.hand.advance(0.0005)
        for due, seconds in (
            (None, TIME_SLICE), (60.0, TIME_SLICE), (0.002, 0.002), (0.0, SHORT_SLICE),
        ):  # fmt: skip
            hand: Any = self.hand
            hand.timeout = lambda due=due: due
            reactor = BatchReactor(hand)
            self.addCleanup(reactor.connectionLost, Failure(ConnectionDone()))
            reactor._clock = hand.seconds
            reactor.addReader(endless)
            before = endless.reads
            reactor.doRead()
            self.assertEqual(endless.reads - before, round(seconds / 0.0005), due)
            reactor.removeReader(endless)

    def test_connection(self) -> None:
        """A connection is served, in both directions, until its end."""
        service_state, _ = make_service_state(self.reactor)
        protocol = Recorder(lambda data: data)
        connection, peer = connect(self.reactor, protocol, service_state)
        data = os.urandom(1 << 20)
        received, rest, ended = b"", memoryview(data), False
        while not ended:
            try:
                rest = rest[peer.send(rest) :] if rest else rest
            except BlockingIOError:
                pass
            if not rest:
                peer.shutdown(socket.SHUT_WR)
            self.hand.turn()
            part, ended = read_all(peer)
            received += part
        self.assertEqual(received, data)
        self.assertEqual(len(protocol.lost), 1)
        self.assertEqual(self.reactor.getReaders() + self.reactor.getWriters(), [])

    def test_address_in_use(self) -> None:
        """An address that cannot be had is reported as Twisted does."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.assertRaises(
                CannotListenError, self.reactor.listenTCP, port, Factory(), 5, "127.0.0.1"
            )

    def test_unix_file_is_removed(self) -> None:
        """A port at a path has its mode and removes its file."""
        path = os.path.relpath(self.mktemp())
        port = self.reactor.listenUNIX(path, OneFactory(Recorder), mode=0o600)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        port.stopListening()
        self.hand.turn()
        self.assertFalse(os.path.exists(path))

    def test_started_again(self) -> None:
        """
        A port that was stopped is bound and served once more; an address that another
        has taken meanwhile is reported as Twisted does.
        """
        path = os.path.relpath(self.mktemp())
        port = self.reactor.listenUNIX(path, OneFactory(lambda: Recorder(bytes.upper)))
        port.stopListening()
        self.hand.turn()
        port.startListening()
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(path)
            peer.send(b"again")
            self.hand.turn(3)
            self.assertEqual(peer.recv(9), b"AGAIN")
        port.stopListening()
        self.hand.turn(3)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
            other.listen()
            self.assertRaises(CannotListenError, port.startListening)

    def test_files(self) -> None:
        """A regular file is the reactor's to serve."""
        with open(self.mktemp(), "wb") as one:
            file = Endless(self)
            self.patch(file, "fileno", one.fileno)
            self.reactor.addReader(file)
            self.reactor.addWriter(file)
            self.assertIn(file, self.hand.readers)
            self.assertIn(file, self.hand.writers)
            self.reactor.removeReader(file)
            self.reactor.removeWriter(file)
            self.assertNotIn(file, self.hand.readers)
            self.assertNotIn(file, self.hand.writers)

    def test_abstract_names(self) -> None:
        """A name that begins with a NUL byte stands in no directory, and has no mode."""
        name = "\0" + os.path.abspath(self.mktemp())[-80:]
        streams: Any = self.reactor.listenUNIX(name, OneFactory(Recorder))
        self.assertEqual(streams.getHost(), UNIXAddress(name))
        self.assertRaises(CannotListenError, self.reactor.listenUNIX, name, Factory())
        streams.close()
        datagrams: Any = self.reactor.listenUNIXDatagram(name, DatagramRecorder())
        self.assertEqual(datagrams.getHost(), UNIXAddress(name))
        datagrams.close()

    def test_bindings(self) -> None:
        """A port may be told with the options of its socket, as Twisted's makeBinding does."""
        for address, port, more in (("127.0.0.1", False, True), ("::1", True, False)):
            binding = makeBinding(address, 0, reuseAddress=port, reusePort=more)
            served: Any = self.reactor.listenTCP(binding, OneFactory(Recorder))
            found = [
                bool(served.socket.getsockopt(socket.SOL_SOCKET, option))
                for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT)
            ]
            self.assertEqual((served.getHost().host, found), (address, [port, more]))
            served.close()
            listen = self.reactor.listenTCP
            self.assertRaises(ValueError, listen, binding, Factory(), interface="127.0.0.2")

    def test_datagrams(self) -> None:
        """Datagrams are served over UDP and UNIX, the length of none of them cut."""
        path = os.path.relpath(self.mktemp())
        recorder, local = DatagramRecorder(), DatagramRecorder()
        ports: list[Any] = [
            self.reactor.listenUDP(0, recorder, interface="::1"),
            self.reactor.listenUNIXDatagram(path, local, mode=0o600),
        ]
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            client.sendto(b"x" * 9000, ("::1", ports[0].getHost().port))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.sendto(b"y" * 9000, path)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.hand.turn()
        self.assertEqual(recorder.received + local.received, [b"x" * 9000, b"y" * 9000])
        for port in ports:
            port.close()
        self.assertFalse(os.path.exists(path))

    def test_datagrams_at_a_host_name(self) -> None:
        """A host name is no interface for datagrams, and is not looked up."""
        listen = self.reactor.listenUDP
        self.assertRaises(InvalidAddressError, listen, 0, DatagramRecorder(), "localhost")

    def test_adopted_wrongly(self) -> None:
        """A socket of another type, or of a family that is unknown here, is refused."""
        reactor: Any = self.reactor
        factory = OneFactory(Recorder)
        with socket.socket() as stream:
            number = stream.fileno()
            for adopt in (reactor.adoptStreamPort, reactor.adoptStreamConnection):
                self.assertRaises(UnsupportedAddressFamily, adopt, number, 1 << 16, factory)
            recorder = DatagramRecorder()
            adopt = reactor.adoptDatagramPort
            self.assertRaises(UnsupportedAddressFamily, adopt, number, 1 << 16, recorder)
            self.assertRaises(UnsupportedSocketType, adopt, number, socket.AF_INET, recorder)

    def test_delegation(self) -> None:
        """What is not about sockets that are served, the reactor does itself."""
        calls: list[tuple[Any, ...]] = []
        hand: Any = self.hand
        hand.callFromThread = lambda *arguments: calls.append(arguments)
        self.reactor.callFromThread(max, 1, 2)
        self.assertEqual(calls, [(max, 1, 2)])
        hand.nameResolver = object()
        self.assertIs(self.reactor.nameResolver, hand.nameResolver)
        hand.running = True
        self.assertTrue(self.reactor.running)

    def test_adopted(self) -> None:
        """Adopted sockets are served; their originals can be closed."""
        factory = OneFactory(lambda: Recorder(bytes.upper))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            port: Any = self.reactor.adoptStreamPort(listener.fileno(), socket.AF_INET, factory)
        self.addCleanup(port.close)
        ours, peer = socket.socketpair()
        with ours:
            self.reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, factory)
        client = socket.create_connection(address)
        for one in (peer, client):
            self.addCleanup(one.close)
            one.send(b"hello")
        self.hand.turn(3)
        self.assertEqual((peer.recv(9), client.recv(9)), (b"HELLO", b"HELLO"))
        for protocol in factory.made:
            protocol.transport.abortConnection()
        self.hand.turn()

    def test_adopted_datagrams(self) -> None:
        """So is a datagram socket."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            address = sock.getsockname()
            recorder = DatagramRecorder()
            adopt = self.reactor.adoptDatagramPort
            port: Any = adopt(sock.fileno(), socket.AF_INET, recorder)
        self.addCleanup(port.close)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"x" * 9000, address)
            self.hand.turn()
            self.assertEqual(len(client.recv(1 << 16)), 9000)


class UnderReactorsTests(SynchronousTestCase):
    """Every reactor that twistd offers runs it, with Twisted's own endpoints on top."""

    def run_under(self, reactor: Any) -> None:
        """Serve an endpoint under a reactor, talk to it, and measure its timers."""
        batch = BatchReactor(reactor)
        factory = OneFactory(lambda: Recorder(bytes.upper))
        client = Recorder()

        def connected(port: Any) -> Any:
            endpoint = TCP4ClientEndpoint(batch, "127.0.0.1", port.getHost().port)
            return connectProtocol(endpoint, client)

        def poll() -> None:
            if client.received:
                client.transport.loseConnection()
            if client.lost:
                reactor.callLater(0, reactor.stop)
            else:
                reactor.callLater(0.001, poll)

        listening = TCP4ServerEndpoint(batch, 0, interface="127.0.0.1").listen(factory)
        listening.addCallback(connected)
        listening.addCallback(lambda protocol: protocol.transport.write(b"hello"))
        reactor.callLater(0, poll)
        reactor.callLater(TIMEOUT, reactor.stop)
        reactor.run(installSignalHandlers=False)
        self.assertEqual(client.received, b"HELLO")

    def test_reactors(self) -> None:
        """Under epoll, poll, select and asyncio alike."""
        for reactor in reactors(self):
            self.run_under(reactor)

    def test_interfaces(self) -> None:
        """It provides what each of them does."""
        for interface in (IReactorFDSet, IReactorSocket):
            self.assertTrue(verifyClass(interface, BatchReactor))
        for reactor in reactors(self):
            batch = BatchReactor(reactor)
            for interface in providedBy(reactor):
                if not interface.__name__.startswith("_"):
                    self.assertTrue(interface.providedBy(batch), interface)
                    self.assertTrue(verifyObject(interface, batch))
            batch.connectionLost(Failure(ConnectionDone()))

    def test_unix_endpoint(self) -> None:
        """UNIX endpoints of Twisted listen at it."""
        path = os.path.relpath(self.mktemp())
        batch = BatchReactor(HandReactor())
        port = self.successResultOf(
            UNIXServerEndpoint(batch, path).listen(OneFactory(Recorder))
        )
        self.assertTrue(os.path.exists(path))
        port.stopListening()

    def test_timers_under_flood(self) -> None:
        """A descriptor that is always ready does not keep timers from firing."""
        reactor = epollreactor.EPollReactor()
        batch = BatchReactor(reactor)
        endless = Endless(self)
        batch.addReader(endless)
        fired: list[int] = []

        def fire() -> None:
            fired.append(endless.reads)
            if len(fired) < 10:
                reactor.callLater(0, fire)
            else:
                reactor.stop()

        reactor.callLater(0, fire)
        reactor.run(installSignalHandlers=False)
        self.assertEqual(len(fired), 10)
        self.assertGreater(fired[-1], fired[0])
