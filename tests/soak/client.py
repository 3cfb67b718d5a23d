"""One client: whom it reaches and how, and what it notes of that."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

from attrs import define, field

from tests.soak.ledger import Ledger
from tests.soak.wires import FAMILIES, PATIENCE, SOURCES, Mismatch, SecureWire, Wire

#: The longest datagram of UNIX sockets that anybody sends here, more than is served.
MOST = 100_000

# IP_BIND_ADDRESS_NO_PORT of linux/in.h; the module has it in newer versions only.
_NO_PORT = 24

#: Where each service is, by its name and kind of listener.
Places = Mapping[tuple[str, str], Any]


class Gone(Exception):
    """What is asked for is not there at the moment, or was reset, as it may be."""


@define(eq=False)
class Peer:
    """
    One connection, and how it ended.

    @ivar wire: it.
    @ivar torn: whether it ended, or was ended, before all was said.
    @ivar refused: why the door did not let it in; empty if it did.
    """

    wire: Wire
    torn: bool = False
    refused: str = ""


@define(eq=False)
class Client:
    """
    A worker of one kind of load.

    @ivar kind: which.
    @ivar number: tells it from others of its kind.
    @ivar random: decides.
    @ivar places: where services are.
    @ivar directory: for its sockets.
    @ivar stopped: set when it is to stop; nobody waits longer than that.
    @ivar ledger: its own.
    """

    kind: str
    number: int
    random: Random
    places: Callable[[], Places]
    directory: Path
    stopped: Event = field(factory=Event)
    ledger: Ledger = field(factory=Ledger)

    def place(self, service: str, kind: str) -> Any:
        """
        Say where a service is.

        @raise Gone: if it is nowhere.
        """
        try:
            return self.places()[service, kind]
        except KeyError:
            raise Gone(f"{service} has no {kind}") from None

    def serves(self, service: str, kinds: tuple[str, ...]) -> str:
        """
        Pick one of those kinds of listeners that there are.

        @raise Gone: if there is none.
        """
        known = self.places()
        found = [kind for kind in kinds if (service, kind) in known]
        if not found:
            raise Gone(f"there is no {service}")
        return self.random.choice(found)

    @contextmanager
    def dial(self, service: str, kind: str = "tcp", source: str = "") -> Iterator[Peer]:
        """
        Have a connection; at its end it is booked.

        @param source: the address that it comes from; any where not given.
        """
        peer = Peer(self._connect(service, kind, source))
        try:
            yield peer
        except BaseException:
            peer.torn = True
            raise
        finally:
            peer.wire.sock.close()
            self._book(service, peer)

    def secure(self, peer: Peer) -> SecureWire:
        """Shake hands."""
        return SecureWire(peer.wire)

    @contextmanager
    def datagrams(
        self, service: str, kind: str = "udp", source: str = "", named: bool = True
    ) -> Iterator[socket.socket]:
        """Have a socket that sends to a service; see L{ask}."""
        place, family = self.place(service, kind), FAMILIES[kind]
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MOST)
            if family == socket.AF_INET:
                sock.bind((source or self.random.choice(SOURCES), 0))
            elif family == socket.AF_UNIX and named:
                sock.bind(f"\0{self.directory}/{self.kind}-{self.number}")
            sock.connect(place)
            yield sock

    def tell(self, service: str, sock: socket.socket, data: bytes) -> None:
        """Send a datagram."""
        sock.send(data)
        self.ledger.account(service).asked += 1
        self.ledger.deed(self.kind).bytes += len(data)

    def hear(self, service: str, sock: socket.socket) -> bytes | None:
        """
        Receive a datagram.

        @return: C{None} when none comes.
        """
        try:
            data = sock.recv(MOST)
        except TimeoutError:
            return None
        self.ledger.account(service).answered += 1
        self.ledger.deed(self.kind).bytes += len(data)
        return data

    def check(self, good: bool, text: str) -> None:
        """
        Note a reply that is as it should be.

        @raise Mismatch: if it is not.
        """
        if not good:
            raise Mismatch(text)
        self.ledger.deed(self.kind).checked += 1

    def equal(self, found: bytes | None, expected: bytes) -> None:
        """
        Note a reply that is byte by byte what it should be.

        @raise Mismatch: if it is not.
        """
        if found != expected:
            shown = "nothing" if found is None else f"{found[:60]!r} ({len(found)} bytes)"
            raise Mismatch(f"{shown} instead of {expected[:60]!r} ({len(expected)} bytes)")
        self.check(True, "")

    def round(self, service: str, wire: Wire | SecureWire, data: bytes, answer: bytes) -> None:
        """Send a message, and check the answer."""
        wire.send(data)
        self.equal(wire.read(len(answer)), answer)
        self.ledger.account(service).rounds += 1

    def wait(self, seconds: float) -> None:
        """Pass time, unless all is over."""
        self.stopped.wait(seconds)

    def now(self) -> float:
        """The time of day, in seconds since 1970."""
        return time.time()

    def _connect(self, service: str, kind: str, source: str) -> Wire:
        place, family = self.place(service, kind), FAMILIES[kind]
        sock = socket.socket(family, socket.SOCK_STREAM)
        wire = Wire(sock)
        try:
            if family == socket.AF_INET:
                self._bind(sock, source or self.random.choice(SOURCES))
            sock.connect(place)
        except (ConnectionRefusedError, FileNotFoundError) as problem:
            sock.close()
            raise Gone(str(problem)) from problem
        except ConnectionResetError:
            # The kernel made it, and the daemon was faster than this thread: the next
            # word from there says so again.
            pass
        except BaseException:
            sock.close()
            raise
        self.ledger.account(service).connects += 1
        return wire

    def _bind(self, sock: socket.socket, source: str) -> None:
        # So the kernel need not find a port that is free for all destinations.
        sock.setsockopt(socket.IPPROTO_IP, _NO_PORT, 1)
        sock.bind((source, 0))

    def _book(self, service: str, peer: Peer) -> None:
        account, wire = self.ledger.account(service), peer.wire
        self.ledger.deed(self.kind).bytes += wire.sent + wire.received
        if peer.refused:
            account.refused[peer.refused] += 1
        elif peer.torn:
            account.torn += 1
            account.torn_sent += wire.sent
            account.torn_received += wire.received
        else:
            account.sent += wire.sent
            account.received += wire.received
