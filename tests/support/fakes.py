"""A reactor that is turned by hand, and protocols that write down what happens."""

from __future__ import annotations

import select
import socket
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocol,
    IReactorFDSet,
    IReactorTime,
)
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyClass

from socketd.common.events import EventBus
from socketd.faults.draws import ConnectionDraw
from socketd.net.service_state import ConnectionTable, ServiceState
from socketd.net.stream.connection import StreamConnection
from tests.support.sockets import make_pair

#: Longer than a datagram takes over loopback on a busy machine (seconds).
PATIENCE = 30.0

#: Sends to itself; made here, so that no test that counts descriptors sees it come.
_MARKER = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
_MARKER.bind(("127.0.0.1", 0))
_MARKER.connect(_MARKER.getsockname())
_MARKER.settimeout(PATIENCE)


def settle() -> None:
    """
    Wait until loopback has delivered what was sent before.

    It does so mostly within the call that sends, but a busy kernel hands that on to a thread
    of its own (ksoftirqd). Each processor delivers in order, so what was sent before is there
    when this is.
    """
    _MARKER.send(b".")
    _MARKER.recv(1)


@implementer(IReactorFDSet)
class HandReactor(Clock):
    """Serves what is ready once for each L{turn}; its time is set by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []
        self.writers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        if reader not in self.readers:
            self.readers.append(reader)

    def addWriter(self, writer: Any) -> None:
        if writer not in self.writers:
            self.writers.append(writer)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def removeWriter(self, writer: Any) -> None:
        if writer in self.writers:
            self.writers.remove(writer)

    def removeAll(self) -> list[Any]:
        removed = [*self.readers, *self.writers]
        self.readers, self.writers = [], []
        return removed

    def getReaders(self) -> list[Any]:
        return list(self.readers)

    def getWriters(self) -> list[Any]:
        return list(self.writers)

    def turn(self, times: int = 1) -> None:
        """
        Let each ready descriptor read and write once, as a reactor would; what they have
        sent is there then.
        """
        for _ in range(times):
            settle()
            readable, writable, _ = select.select(self.readers, self.writers, [], 0)
            for descriptor in readable:
                if descriptor in self.readers:
                    self._end(descriptor, descriptor.doRead(), True)
            for descriptor in writable:
                if descriptor in self.writers:
                    self._end(descriptor, descriptor.doWrite(), False)
            self.advance(0)
        settle()

    def wait(self, seconds: float) -> None:
        """Wait until a descriptor is ready, or for so long."""
        select.select(self.readers, self.writers, [], seconds)

    def _end(self, descriptor: Any, why: Any, reading: bool) -> None:
        if why is None:
            return
        self.removeReader(descriptor)
        if reading and isinstance(why, ConnectionDone):
            descriptor.readConnectionLost(Failure(why))
        else:
            self.removeWriter(descriptor)
            descriptor.connectionLost(Failure(why))


verifyClass(IReactorFDSet, HandReactor)
verifyClass(IReactorTime, HandReactor)


class Endless:
    """A descriptor that is always ready, and counts how often it is asked."""

    def __init__(self, test: SynchronousTestCase) -> None:
        self.ours, self.peer = socket.socketpair()
        for one in (self.ours, self.peer):
            one.setblocking(False)
            test.addCleanup(one.close)
        self.peer.send(b"x")
        self.reads = self.writes = 0
        self.lost: list[Any] = []
        self.problem: Any = None
        self.after: Any = None

    def fileno(self) -> int:
        """The descriptor."""
        return self.ours.fileno()

    def doRead(self) -> Any:
        self.reads += 1
        if self.after is not None:
            self.after()
        if isinstance(self.problem, Exception) and self.problem.args:
            raise self.problem
        return self.problem

    def doWrite(self) -> Any:
        self.writes += 1

    def connectionLost(self, reason: Any) -> None:
        self.lost.append(reason)

    def logPrefix(self) -> str:
        return "endless"


@implementer(IProtocol)
class Recorder(Protocol):
    """Writes down what it is told, and answers with what C{answer} makes of it."""

    transport: Any

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.received = b""
        self.lost: list[Failure] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self.answer is not None:
            self.transport.write(self.answer(data))

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:
        self.lost.append(reason)


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Recorder):
    """A recorder that is told of each half of the close."""

    def __init__(self) -> None:
        super().__init__()
        self.halves: list[str] = []

    def readConnectionLost(self) -> None:
        self.halves.append("read")

    def writeConnectionLost(self) -> None:
        self.halves.append("write")


class DatagramRecorder(DatagramProtocol):
    """Writes down datagrams and sends each one back."""

    transport: Any

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append(datagram)
        self.transport.write(datagram, addr)


class Producer:
    """Writes down what a consumer asks of it."""

    def __init__(self, transport: Any = None, pieces: int = 0) -> None:
        self.transport = transport
        self.pieces = pieces
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")
        if self.pieces:
            self.pieces -= 1
            self.transport.write(b"x" * 1000)
            if not self.pieces:
                self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        self.calls.append("stop")


class OneFactory(Factory):
    """Hands out protocols made by a callable, and remembers them."""

    noisy = False

    def __init__(self, make: Any) -> None:
        self.make = make
        self.made: list[Any] = []

    def buildProtocol(self, addr: Any) -> Any:
        protocol = self.make()
        self.made.append(protocol)
        return protocol


class Events(list[tuple[str, dict[str, Any]]]):
    """The events of a service so far: the name of each, and its facts."""

    def named(self, name: str) -> list[dict[str, Any]]:
        """List the facts of those with a name."""
        return [facts for found, facts in self if found == name]


def make_service_state(reactor: Any, **options: Any) -> tuple[ServiceState, Events]:
    """Make a service, and the list that its events go to."""
    event_bus, events = EventBus(reactor), Events()
    options = {"log_connections": False, **options}
    service_state = ServiceState("test", event_bus, ConnectionTable(), **options)
    event_bus.watch(lambda event, facts: events.append((event.name, facts)))
    return service_state, events


def connect(
    reactor: Any,
    protocol: Any,
    service_state: ServiceState,
    small: bool = False,
    draw: ConnectionDraw | None = None,
    over_tcp: bool = False,
) -> tuple[StreamConnection, socket.socket]:
    """
    Make a connection over a pair of sockets, as L{make_pair} makes them.

    @param draw: the faults of the connection.
    @return: the connection, and the peer's socket (not blocking).
    """
    ours, peer = make_pair(over_tcp, small)
    connection = StreamConnection(reactor, ours, ours.getpeername(), service_state)
    connection.begin(protocol, draw=draw)
    return connection, peer


def read_all(peer: socket.socket) -> tuple[bytes, bool]:
    """
    Read what was sent.

    @return: the bytes, and whether the end has come too.
    """
    settle()
    parts: list[bytes] = []
    while True:
        try:
            data = peer.recv(1 << 20)
        except BlockingIOError:
            return b"".join(parts), False
        if not data:
            return b"".join(parts), True
        parts.append(data)
