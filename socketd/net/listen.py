"""Bind the sockets of listeners and serve them with ports."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from errno import EADDRINUSE
from typing import Any

from attrs import define, evolve, field
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.protocol import DatagramProtocol

from socketd.net.addresses import describe
from socketd.net.datagram.batch_port import BatchedDatagramPort
from socketd.net.datagram.port import DatagramTerms
from socketd.net.port import Port
from socketd.net.service_state import ServiceState
from socketd.net.sockets.activation import InheritedSocket
from socketd.net.sockets.bind import RECEIVE_BUFFER, CannotListen, prepare, sharing
from socketd.net.sockets.group import SINGLE, Spread, begin, bind_group, steer
from socketd.net.sockets.sockopts import Refused, change
from socketd.net.stream.port import StreamPort, StreamTerms
from socketd.settings.listeners import BindAddress, Listener, bind_address, canonical_host
from socketd.settings.model import ProtocolSpec, SocketOptions

_COUNT_CHANGED = "another number of workers would serve it; start the daemon again for that"

_BESIDE_REFUSED = (
    "this daemon itself holds {}, and the system lets no other socket be bound beside it;"
    " reload without that listener first, then with this one"
)


@define(eq=False)
class Bound:
    """
    A listener with its bound socket.

    @ivar options: the options that were set on the socket.
    @ivar before: the listener that a reused socket was bound for.
    @ivar beside: sockets with a conflicting address; until L{settle} it does not listen.
    @ivar spread: how workers share it.
    @ivar more: the sockets of all workers but the first one.
    @ivar is_copy: whether it is a worker's copy of its master's socket.
    @ivar is_handed: whether workers serve it, in place of a port.
    @ivar port: the port that serves it, after L{serve}.
    """

    listener: Listener
    sock: socket.socket
    options: SocketOptions = SocketOptions()
    _file: tuple[int, int] | None = field()

    @_file.default
    def _identify(self) -> tuple[int, int] | None:
        return _identity(self.listener.path) if self.listener.has_file else None

    before: Listener | None = None
    beside: Sequence[socket.socket] = ()
    spread: Spread = SINGLE
    more: Sequence[socket.socket] = ()
    is_copy: bool = field(default=False, kw_only=True)
    is_handed: bool = field(default=False, init=False)
    port: Port | None = field(default=None, init=False)

    @property
    def is_lent(self) -> bool:
        """Whether another process owns the socket: systemd, or the master of a worker."""
        return self.is_copy or self.listener.is_inherited

    @property
    def is_irreplaceable(self) -> bool:
        """Whether it must stay open, as systemd does not hand it over again."""
        return self.listener.is_inherited and not self.is_copy

    @property
    def socks(self) -> list[socket.socket]:
        """Its sockets, by worker."""
        return [self.sock, *self.more]

    @property
    def is_stream(self) -> bool:
        """Whether the socket accepts connections."""
        return self.sock.type == socket.SOCK_STREAM

    def __str__(self) -> str:
        """The kind and address, with the port that the kernel chose if it is open."""
        if self.is_down:
            return str(self.listener)
        address = describe(self.sock.family, self.sock.getsockname())
        return f"{self.listener.kind} {address.removeprefix('unix ')}"

    def serve(
        self,
        reactor: Any,
        served: IProtocolFactory | DatagramProtocol,
        service_state: ServiceState,
        *terms: StreamTerms | DatagramTerms,
    ) -> IListeningPort:
        """
        Start serving.

        @param served: a factory for streams, a protocol for datagrams.
        @param terms: how peers are served; by default, as in Twisted.
        """
        make: Any = StreamPort if self.is_stream else BatchedDatagramPort
        port = make(reactor, self.sock, served, service_state, *terms)
        port.stopping = self._remove_file
        if not self.is_lent:
            port.rebind = self._rebind
        self.port = port
        port.startListening()
        return port  # type: ignore[no-any-return]

    def _rebind(self) -> socket.socket:
        """Bind a new socket for a port that is restarted."""
        again = bind_for_twisted(self.listener, self.options)
        self.sock, self._file = again.sock, again._file
        return self.sock

    @property
    def place(self) -> BindAddress:
        """The bound address; for a host name, the address that it resolved to."""
        place = bind_address(self.listener)
        if not place.port:
            return place
        return evolve(place, host=canonical_host(self.sock.getsockname()[0], place.family))

    @property
    def is_down(self) -> bool:
        """Whether the socket is closed, as it is after an error that the reactor reported."""
        return self.sock.fileno() < 0

    @property
    def is_serving(self) -> bool:
        """Whether a port or another process serves the open socket."""
        return (self.port is not None or self.is_handed) and not self.is_down

    @property
    def is_reachable(self) -> bool:
        """Whether peers can reach it: the file of a UNIX socket may have been removed."""
        return not (self.is_down or self.missing)

    @property
    def missing(self) -> str:
        """Why peers cannot reach its socket file; empty if they can."""
        if self.is_lent or not self.listener.has_file or self._owns_file():
            return ""
        if os.path.lexists(self.listener.path):
            return "another file is in its place"
        return "its file is gone; a reload makes another one"

    def for_listener(
        self, listener: Listener, options: SocketOptions, spread: Spread = SINGLE
    ) -> Bound:
        """
        Reuse the socket for another listener of the same address; the options are tried on
        a scratch socket, so that this one is unchanged.

        @raise CannotListen: if the system refuses an option, or the number of workers changes.
        """
        if spread.count != self.spread.count:
            raise CannotListen(_COUNT_CHANGED)
        with socket.socket(listener.family, listener.type) as scratch:
            try:
                prepare(scratch, listener, options)
            except (OSError, Refused) as problem:
                raise CannotListen.because(problem) from None
        kept = self.sock, self.options, self._file, self.listener
        return Bound(listener, *kept, spread=spread, more=self.more)

    def settle(self, new: SocketOptions) -> list[str]:
        """
        Apply the settings of the new listener and its options to a reused socket, and let a
        socket that was bound beside others listen.

        @return: the refused settings, one text each.
        """
        before, beside, self.beside = self.before, self.beside, ()
        if self.is_lent or not (before or beside):
            return []
        refused = [text for sock in self.socks for text in self._change(sock, new)]
        self.options = new
        try:
            if before and self._owns_file() and self.listener.mode != before.mode:
                os.chmod(self.listener.path, self.listener.mode)
            with sharing(*self.socks, *beside):
                begin(self.socks, self.listener, self.spread, bool(beside))
        except OSError as problem:
            refused.append(f"listen: {problem.strerror}")
        return refused

    def _change(self, sock: socket.socket, new: SocketOptions) -> list[str]:
        old, new = self.spread.options(self.options), self.spread.options(new)
        refused = change(sock, self.listener, old, new)
        if not self.is_stream and new.so_rcvbuf is None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        return refused

    def steer_again(self) -> None:
        """Steer sources again: the last stream socket that stops listening ends that."""
        if self.spread.prefixes is not None:
            with suppress(OSError):
                steer(self.socks, self.spread.prefixes)

    def finish(self) -> None:
        """Serve pending connections or datagrams before the socket is closed."""
        if self.port is not None and not self.is_down:
            self.port.finish()

    def release(self) -> None:
        """Stop serving, but keep the socket open."""
        if self.port is not None:
            self.port.release()
        self.port = None

    def close(self) -> None:
        """Stop serving, and remove the file of a UNIX socket if it is still ours."""
        for sock in self.more:
            sock.close()
        if self.port is not None:
            self.port.close()
            return
        self._remove_file()
        self.sock.close()

    def _remove_file(self) -> None:
        if self._owns_file():
            os.unlink(self.listener.path)

    def _owns_file(self) -> bool:
        if self.is_lent or self._file is None:
            return False
        return _identity(self.listener.path) == self._file


def bind(
    listener: Listener,
    options: SocketOptions,
    beside: Sequence[Bound] = (),
    spread: Spread = SINGLE,
) -> Bound:
    """
    Bind a listener.

    @param beside: sockets of this daemon with a conflicting address.  If there are any, a
        stream socket listens only from L{Bound.settle} on, so that a reload that is rolled
        back loses no connection.
    @param spread: how workers share it.
    @raise CannotListen: if a step fails; the text says why.
    """
    others = [sock for one in beside for sock in one.socks]
    try:
        first, *more = bind_group(listener, options, others, spread)
    except (OSError, Refused) as problem:
        if beside and getattr(problem, "errno", None) == EADDRINUSE:
            raise CannotListen(_BESIDE_REFUSED.format(*beside)) from None
        raise CannotListen.because(problem, listener) from None
    later = others if listener.is_stream else ()
    return Bound(listener, first, options, beside=later, spread=spread, more=more)


def bind_for_twisted(listener: Listener, options: SocketOptions) -> Bound:
    """
    Bind a listener on behalf of a caller that knows Twisted's exceptions.

    @raise CannotListenError: if a step fails.
    """
    try:
        return bind(listener, options)
    except CannotListen as problem:
        interface = None if listener.path else listener.interface
        place = listener.path or listener.port
        raise CannotListenError(interface, place, problem) from None


def inherit(listener: Listener, found: InheritedSocket, declared: ProtocolSpec) -> Bound:
    """
    Use an inherited socket for a listener.

    @raise CannotListen: if the protocol or a layer does not support the socket's type.
    """
    transport = "stream" if found.is_stream else "datagram"
    if getattr(declared, transport) is None:
        lacks = f"{found.describe()} is for {transport}s, which the protocol does not have"
        raise CannotListen(lacks)
    if not found.is_stream and (listener.tls or listener.proxied):
        raise CannotListen(f"{found.describe()} is for datagrams; only streams have TLS or PROXY")
    return Bound(listener, found.sock)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
