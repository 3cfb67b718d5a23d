"""
Accepted connections (TCP and UNIX).

Beyond Twisted's transport: data is written without waiting for the reactor, a peer
that does not read is not read from (backpressure), buffered data is still sent after
the peer's EOF, and every close is bounded in time.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Any

from twisted.internet import error
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    ILoggingContext,
    INegotiated,
    IProtocol,
    IProtocolFactory,
    IReadWriteDescriptor,
    ISystemHandle,
    ITCPTransport,
    ITLSTransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.access.policy import Slot
from socketd.common.events import CONNECTION_LOST, CONNECTION_MADE
from socketd.net.addresses import to_address
from socketd.net.base_layer import Client
from socketd.net.service_state import ServiceState
from socketd.net.stream.faulty import Faulty
from socketd.net.stream.read_side import CLOSED_CLEANLY, ReadSide
from socketd.net.stream.starttls import StartedTls, start_tls
from socketd.net.stream.states import (
    ABORT,
    CLOSE,
    LINGER,
    LINGERING,
    LOST,
    NEW,
    OPEN,
    READ_ENDING,
    READ_OPEN,
    SHUT_DOWN,
)
from socketd.net.timer_wheel import NOWHERE
from socketd.protocols.spec import IDrainable, IFarewell
from socketd.settings.faults.profile import PROTOCOL

if TYPE_CHECKING:
    from socketd.faults.draws import ConnectionDraw
    from socketd.net.faults.stream_fault import StreamFault

_ENDS: dict[type[BaseException] | None, str] = {
    error.ConnectionDone: "closed",
    error.ConnectionAborted: "reset here",
    error.ConnectionLost: "reset by peer",
}

#: SO_LINGER with a timeout of 0: close(2) resets the connection (socket(7)).
RESET = struct.pack("ii", 1, 0)


@implementer(
    ITCPTransport,
    IReadWriteDescriptor,
    ISystemHandle,
    ITLSTransport,
    ILoggingContext,
)
class StreamConnection(ReadSide):
    """
    One accepted connection; its states are those of L{socketd.net.stream.states}.

    @ivar began: the time of accept(2) on the reactor's clock (seconds).
    @ivar peer_known: whether the peer address is final, not that of a load balancer.
    @ivar proxy: the address of the load balancer whose PROXY header named the peer, or C{None}.
    @ivar app_transport: the TLS transport, or C{None} for plain text; on close, it sends
        its own end (close_notify) before the socket's.
    """

    _destination: Any
    _family: int
    _fault: StreamFault | None
    _slot: Slot | None
    peer_known: bool
    proxy: Any
    __slots__ = tuple(__annotations__)

    def __init__(
        self,
        reactor: Any,
        sock: socket.socket | int,
        peer: Any,
        service_state: ServiceState,
        slot: Slot | None = None,
        family: int = socket.AF_UNIX,
    ) -> None:
        """
        @param sock: the socket, or its descriptor: most connections never need the object, which
            takes 3 us to make and to close.
        @param family: that of a descriptor.
        """
        self.reactor = reactor
        # read(2) and write(2) on the descriptor cost less than the socket's methods.  Once
        # closed, the number may be reused, so it is valid only while connected is true.
        if isinstance(sock, int):
            self._made, self._descriptor = None, sock
        else:
            self._made, self._descriptor, family = sock, sock.fileno(), sock.family
        self._family = self._peer_family = family
        self._peer = peer
        self._destination = self.proxy = None
        self.service_state = service_state
        self._slot = slot
        self.connection_id = service_state.connection_table.new_id()
        self.began = reactor.seconds()
        self.messages_received = self.bytes_received = self.bytes_sent = self.preamble = 0
        self.state = NEW
        self._buffer = None
        self._buffered = 0
        self.producer = None
        self._streaming = self._producer_paused = self._paused = self._reading = False
        self.peer_known = self.handshaking = False
        self.is_plain = True
        self._ahead = b""
        self.app_transport = None
        self.tick, self.timed_out, self._grace_ends = NOWHERE, "", 0.0
        self._lingers = True
        self._fault = None

    def begin(
        self,
        protocol: IProtocol,
        handshaking: bool = False,
        peer_known: bool = True,
        draw: ConnectionDraw | None = None,
    ) -> None:
        """
        Connect the protocol and start reading.

        @param handshaking: whether the protocol is a layer (PROXY, TLS), which has
            C{handshake_timeout} to be done.
        @param draw: the faults of the connection; C{None}: it has none.
        """
        self.protocol = protocol
        self.handshaking = handshaking
        self.is_plain = not handshaking
        if draw is not None:
            self.change_fault(draw)
        self.service_state.enter(self)
        self.start_deadlines()
        if peer_known:
            self._log_open()
        # Before makeConnection(), in which a protocol may already hand the socket over.
        self._update_reading()
        self._call(protocol.makeConnection, self)

    def _log_open(self) -> None:
        self.peer_known = True
        state = self.service_state
        if state.announced:
            facts: dict[str, Any] = {"peer": self.peer, "connection": self.connection_id}
            if self._fault is not None:
                facts["fault"] = self._fault.draw.text
            state.emit(CONNECTION_MADE, state.log_connections, **facts)

    def hand_over(
        self,
        factory: IProtocolFactory,
        transport: Any = None,
        client: Client | None = None,
        handshaking: bool = False,
        rest: bytes = b"",
    ) -> bool:
        """
        Continue with the protocol behind a layer, which has done its part.

        @param transport: what that protocol writes to, and who decrypts for it; C{None}: it
            takes the layer's place at this connection.
        @param client: the client that a PROXY header named.
        @param handshaking: whether the protocol is a layer again (TLS).
        @param rest: received data that is the protocol's.
        @return: whether the factory has made a protocol; without one the connection is reset.
        """
        if client is not None:
            self.proxy = to_address(self._family, socket.SOCK_STREAM, self._peer)
            self._peer_family, self._peer = client.family, client.source
            self._destination, self._slot = client.destination, client.slot
        if not self.peer_known:
            self._log_open()
        self.handshaking = handshaking
        self.app_transport = transport
        if self._fault is not None and not handshaking:
            self.start_fault()
        protocol = factory.buildProtocol(self.getPeer())
        if protocol is None:
            (transport or self).abortConnection()
            return False
        if transport is None:
            self.protocol = protocol
            self.is_plain = not handshaking
            self.preamble = self.bytes_received - len(rest)
        else:
            transport.protocol = protocol
            # The client may have sent the last flight and wait for this ACK with its first
            # message.
            self.acknowledge()
        protocol.makeConnection(transport or self)
        if rest:
            self._ahead = rest
            self._update_reading()
        return True

    # Faults

    @property
    def fault(self) -> ConnectionDraw | None:
        """How it misbehaves; C{None}: not at all."""
        return None if self._fault is None else self._fault.draw

    def change_fault(self, draw: ConnectionDraw | None) -> None:
        """
        Misbehave as was drawn from now on, or no more; what was held is sent first, at once.

        A connection whose output was ended by its profile stays so.
        """
        before = self._fault
        if not self.state.is_alive or (before is not None and before.is_cut):
            return
        if before is not None:
            self.stop_fault()
            self._switch_to(_PLAIN.get(type(self), type(self)))
            self._fault = None
        if draw is not None:
            # Lazy, for most daemons have no fault profile.
            from socketd.net.faults.stream_fault import StreamFault

            self._fault = StreamFault(draw, self.service_state.counters.faults)
            if not (self.handshaking and draw.options.at == PROTOCOL):
                self.start_fault()

    def start_fault(self) -> None:
        """Begin to misbehave."""
        self._switch_to(_FAULTY[type(self)])
        self.apply_fault()

    def _switch_to(self, kind: type[StreamConnection]) -> None:
        self.__class__ = kind
        if isinstance(self, StartedTls):
            self.rejoin()

    def apply_fault(self) -> None:
        """Nothing is done without a profile."""

    def stop_fault(self) -> None:
        """Nothing is held before a profile begins."""

    def send_held(self) -> None:
        """Nothing is held without a profile."""

    # Writing

    def _progressed(self) -> None:
        if self.state.is_closing:
            self.start_grace(self.reactor.seconds())
        self._update_reading()

    def _all_sent(self) -> None:
        closing = self.state.is_closing
        if self.app_transport is not None:
            self.app_transport.send_close_notify()
        if self._buffer is not None or not self.state.is_alive:
            return
        if closing:
            self._linger()
            return
        self._shut_down()
        protocol = self._protocol_behind
        if IHalfCloseableProtocol.providedBy(protocol):
            self._call(protocol.writeConnectionLost)

    @property
    def _protocol_behind(self) -> Any:
        """The protocol behind TLS, or that of the connection."""
        return self.protocol if self.app_transport is None else self.app_transport.protocol

    def _shut_down(self) -> bool:
        self.happens(SHUT_DOWN)
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return True

    # Closing

    def loseConnection(self) -> None:
        """Close after all buffered data is sent."""
        if not self.happens(CLOSE):
            return
        handles_end = self.state.read_side == READ_ENDING
        if not handles_end:
            self._update_reading()
            self.reactor.addWriter(self)
        if self._has_more() or not handles_end:
            # Even an empty buffer may not become writable while the peer does not read.
            self.start_grace(self.reactor.seconds())

    def _linger(self) -> None:
        """
        Close after the last byte is sent.

        close(2) with unread input resets the connection, and the peer may lose data that it
        has not yet received.  So only the writing side is shut down, and input is discarded
        until EOF (RFC 9293, 3.10.4; RFC 2525, 2.17).
        """
        if self.state.read_side != READ_OPEN or not (self._lingers and self._shut_down()):
            self.connectionLost(CLOSED_CLEANLY)
        elif self.happens(LINGER):
            self.is_plain = False
            self.start_grace(self.reactor.seconds())
            self._update_reading()

    def send(self, data: bytes) -> None:
        """Send application data (through TLS if active)."""
        (self.app_transport or self).write(data)

    @property
    def source(self) -> tuple[int, Any]:
        """The source that the access policy checked: an address family and an address."""
        return self._peer_family, self._peer

    def drain_and_close(self) -> None:
        """Serve data that has already arrived, then close, or let the protocol do so."""
        if self._reading:
            self.doRead()
        self.change_fault(None)
        protocol = self._protocol_behind
        # A profile that has cut the output stays, and no answer would be sent.
        if self.state.phase == OPEN and self._fault is None and IDrainable.providedBy(protocol):
            self._call(protocol.drain)
        else:
            self.close()

    def reapply_policy(self, slot: Slot | None, reason: str | None) -> None:
        """
        Apply a changed access policy to a live connection; reset it if refused.

        @param slot: its slot in the source's quota under the new policy.
        @param reason: why the new policy refuses it; C{None} if it does not.
        """
        before, self._slot = self._slot, slot
        if before is not None:
            before.leave()
        if reason:
            self.timed_out = reason
            self.service_state.counters.refused[reason] += 1
            self.abortConnection()
        elif self.state.is_alive:
            self.check(self.reactor.seconds())

    def startTLS(self, contextFactory: Any, normal: bool = True) -> None:
        """Start TLS, as the server if C{normal}; the protocol keeps this transport."""
        start_tls(self, _STARTED[type(self)], contextFactory, normal)

    def close(self) -> None:
        """
        Close after all data is sent (through TLS if active), and the farewell of the protocol. The
        daemon and an operator do not wait for a profile.
        """
        self.change_fault(None)
        protocol = self._protocol_behind
        if self.state.phase == OPEN and IFarewell.providedBy(protocol):
            self._call(protocol.say_farewell)
        (self.app_transport or self).loseConnection()

    def half_close(self) -> None:
        """Shut down the writing side after all data is sent."""
        (self.app_transport or self).loseWriteConnection()

    def abortConnection(self) -> None:
        """Reset the connection."""
        if self.happens(ABORT):
            self._update_reading()
            self.reactor.removeWriter(self)
            self.reactor.callLater(0, self.connectionLost, Failure(error.ConnectionAborted()))

    def connectionLost(self, reason: Failure) -> None:
        """End the connection; a live connection's socket is closed only here."""
        if not self.state.connected:
            return
        if self.state.phase == LINGERING and reason.type is error.ConnectionLost:
            # All data and our FIN were sent; only the peer's EOF was missing.
            reason = CLOSED_CLEANLY
        self._close_socket(reason.type is error.ConnectionAborted)
        self._buffer, self._buffered = None, 0
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        self.service_state.leave(self)
        if self._slot is not None:
            self._slot.leave()
        if self.service_state.announced and self.peer_known:
            self.service_state.emit(
                CONNECTION_LOST,
                self.service_state.log_connections,
                peer=self.peer,
                connection=self.connection_id,
                reason=self.timed_out or _ENDS.get(reason.type, "failed"),
                received=self.bytes_received,
                sent=self.bytes_sent,
            )
        self._call(self.protocol.connectionLost, reason)

    def _close_socket(self, reset: bool) -> None:
        if self._reading:
            self._reading = False
            self.reactor.removeReader(self)
        self.reactor.removeWriter(self)
        if reset and self._family != socket.AF_UNIX:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.happens(LOST)
        if self._made is None:
            os.close(self._descriptor)
        else:
            self._made.close()

    # The socket

    def logPrefix(self) -> str:
        """The service and the connection id, for the log line of a traceback."""
        return f"{self.service_state.name} {self.connection_id}"

    def fileno(self) -> int:
        return self._descriptor if self.state.connected else -1

    def getHandle(self) -> socket.socket:
        return self._socket

    @property
    def socket(self) -> socket.socket:
        """The socket; in no interface, but many protocols use this attribute."""
        return self._socket

    def getPeer(self) -> Any:
        return to_address(self._peer_family, socket.SOCK_STREAM, self._peer)

    def getHost(self) -> Any:
        """The local address, or the one at the proxy that its client connected to."""
        if self._destination is not None:
            return to_address(self._peer_family, socket.SOCK_STREAM, self._destination)
        return to_address(self._family, socket.SOCK_STREAM, self._socket.getsockname())

    def getTcpNoDelay(self) -> bool:
        if self._family == socket.AF_UNIX:
            return False
        return bool(self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        if self._family != socket.AF_UNIX:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        return bool(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)


@implementer(INegotiated)
class StartedTlsConnection(StartedTls, StreamConnection):
    """A connection after L{StreamConnection.startTLS}."""

    __slots__ = ()


class FaultyConnection(Faulty, StreamConnection):
    """A connection with a fault profile."""

    __slots__ = ()


@implementer(INegotiated)
class FaultyStartedTlsConnection(StartedTls, Faulty, StreamConnection):
    """A connection with both."""

    __slots__ = ()


_FAULTY: dict[type[StreamConnection], type[StreamConnection]] = {
    StreamConnection: FaultyConnection,
    StartedTlsConnection: FaultyStartedTlsConnection,
}
_STARTED: dict[type[StreamConnection], type[StartedTls]] = {
    StreamConnection: StartedTlsConnection,
    StartedTlsConnection: StartedTlsConnection,
    FaultyConnection: FaultyStartedTlsConnection,
    FaultyStartedTlsConnection: FaultyStartedTlsConnection,
}
_PLAIN = {faulty: plain for plain, faulty in _FAULTY.items()}
