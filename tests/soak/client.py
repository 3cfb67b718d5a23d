"""One client: how it reaches services, and what it counts."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

from attrs import define, field

from tests.soak.client_counts import ClientCounts
from tests.soak.connections import FAMILIES, PATIENCE, SOURCES, Connection, Mismatch, TlsConnection

#: The longest datagram that is sent here at UNIX sockets, more than is served.
MOST = 100_000

# IP_BIND_ADDRESS_NO_PORT of linux/in.h; the module has it in newer versions only.
_NO_PORT = 24

#: Where each service is, by its name and kind of listener.
Addresses = Mapping[tuple[str, str], Any]


class ServiceGone(Exception):
    """The service is not there at the moment."""


@define(eq=False)
class Peer:
    """
    One connection, and how it ended.

    @ivar aborted: whether it ended before all was sent and received.
    @ivar refused: why it was refused; empty if it was served.
    """

    connection: Connection
    aborted: bool = False
    refused: str = ""


@define(eq=False)
class Client:
    """
    A worker of one kind of load.

    @ivar kind: the name of the load.
    @ivar number: tells it from others of its kind.
    @ivar directory: for its sockets.
    @ivar stopped: set when it is to stop; no pause lasts longer.
    @ivar kept: what an exchange leaves to the next one.
    """

    kind: str
    number: int
    random: Random
    addresses: Callable[[], Addresses]
    directory: Path
    stopped: Event = field(factory=Event)
    counts: ClientCounts = field(factory=ClientCounts)
    kept: dict[str, Any] = field(factory=dict)

    def address(self, service: str, kind: str) -> Any:
        """Look up the address of a listener."""
        try:
            return self.addresses()[service, kind]
        except KeyError:
            raise ServiceGone(f"{service} has no {kind}") from None

    def pick_kind(self, service: str, kinds: tuple[str, ...]) -> str:
        """Draw one of those kinds of listeners that the service has."""
        known = self.addresses()
        found = [kind for kind in kinds if (service, kind) in known]
        if not found:
            raise ServiceGone(f"there is no {service}")
        return self.random.choice(found)

    @contextmanager
    def connect(self, service: str, kind: str = "tcp", source: str = "") -> Iterator[Peer]:
        """Connect, from a source if one is given; at the end, close and count the connection."""
        peer = Peer(self._connect(service, kind, source))
        try:
            yield peer
        except BaseException:
            peer.aborted = True
            raise
        finally:
            peer.connection.sock.close()
            self._count(service, peer)

    def start_tls(self, peer: Peer) -> TlsConnection:
        """Do the TLS handshake."""
        return TlsConnection(peer.connection)

    @contextmanager
    def datagrams(
        self, service: str, kind: str = "udp", source: str = "", named: bool = True, port: int = 0
    ) -> Iterator[socket.socket]:
        """Make a socket for datagrams to a service, at a port of its own if one is given."""
        address, family = self.address(service, kind), FAMILIES[kind]
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MOST)
            if family == socket.AF_INET:
                sock.bind((source or self.random.choice(SOURCES), port))
            elif family == socket.AF_UNIX and named:
                sock.bind(f"\0{self.directory}/{self.kind}-{self.number}")
            sock.connect(address)
            yield sock

    def send(self, service: str, sock: socket.socket, data: bytes) -> None:
        """Send a datagram."""
        sock.send(data)
        self.counts.service(service).asked += 1
        self.counts.load(self.kind).bytes += len(data)

    def receive(self, service: str, sock: socket.socket) -> bytes | None:
        """Receive a datagram; C{None} when none comes."""
        try:
            data = sock.recv(MOST)
        except TimeoutError:
            return None
        self.counts.service(service).answered += 1
        self.counts.load(self.kind).bytes += len(data)
        return data

    def tally(self, service: str, metric: str, *results: str) -> None:
        """Count what a metric of a service must say."""
        for result in results:
            self.counts.service(service).tallies[metric, result] += 1

    def check(self, good: bool, text: str) -> None:
        """Count a good reply, and raise L{Mismatch} for another one."""
        if not good:
            raise Mismatch(text)
        self.counts.load(self.kind).checked += 1

    def check_equal(self, found: bytes | None, expected: bytes) -> None:
        """Check that a reply is byte by byte what it should be."""
        if found != expected:
            shown = "nothing" if found is None else f"{found[:60]!r} ({len(found)} bytes)"
            raise Mismatch(f"{shown} instead of {expected[:60]!r} ({len(expected)} bytes)")
        self.check(True, "")

    def round_trip(
        self, service: str, connection: Connection | TlsConnection, data: bytes, answer: bytes
    ) -> None:
        """Send a message, and check the answer."""
        connection.send(data)
        self.check_equal(connection.read(len(answer)), answer)
        self.counts.service(service).round_trips += 1

    def wait(self, seconds: float) -> None:
        """Pause, unless the load ends."""
        self.stopped.wait(seconds)

    def _connect(self, service: str, kind: str, source: str) -> Connection:
        address, family = self.address(service, kind), FAMILIES[kind]
        sock = socket.socket(family, socket.SOCK_STREAM)
        connection = Connection(sock)
        try:
            if family == socket.AF_INET:
                # So the kernel need not find a port that is free for all destinations.
                sock.setsockopt(socket.IPPROTO_IP, _NO_PORT, 1)
                sock.bind((source or self.random.choice(SOURCES), 0))
            sock.connect(address)
        except (ConnectionRefusedError, FileNotFoundError) as problem:
            sock.close()
            raise ServiceGone(str(problem)) from problem
        except ConnectionResetError:
            # The kernel made it, and the daemon was faster than this thread: the next
            # word from there says so again.
            pass
        except BaseException:
            sock.close()
            raise
        self.counts.service(service).connects += 1
        return connection

    def _count(self, service: str, peer: Peer) -> None:
        counts, connection = self.counts.service(service), peer.connection
        self.counts.load(self.kind).bytes += connection.sent + connection.received
        if peer.refused:
            counts.refused[peer.refused] += 1
        elif peer.aborted:
            counts.aborted += 1
            counts.aborted_sent += connection.sent
            counts.aborted_received += connection.received
        else:
            counts.sent += connection.sent
            counts.received += connection.received
