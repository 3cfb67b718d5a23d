"""
Accepted connections (TCP and UNIX).

Beyond Twisted's transport: data is written without waiting for the reactor, a peer
that does not read is not read from (backpressure), buffered data is still sent after
the peer's EOF, and every close is bounded in time.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from os import read
from typing import Any

from twisted.internet import error, main
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    ILoggingContext,
    INegotiated,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IReadWriteDescriptor,
    ISystemHandle,
    ITCPTransport,
    ITLSTransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.access.policy import Slot
from socketd.common.events import CONNECTION_LOST, CONNECTION_MADE, PROTOCOL_FAILED
from socketd.net.addresses import describe, host_of, to_address
from socketd.net.base_layer import Client
from socketd.net.service_state import ServiceState
from socketd.net.stream.deadlines import DeadlineChecks
from socketd.net.stream.states import (
    ABORT,
    CLOSE,
    END_HANDLED,
    END_OF_INPUT,
    LINGER,
    LINGERING,
    LOST,
    NEW,
    OPEN,
    READ_ENDING,
    READ_OPEN,
    SHUT_DOWN,
)
from socketd.net.stream.write_buffer import HIGH_WATER, LOST_FAILURE
from socketd.net.timer_wheel import NOWHERE

#: The most that one receive takes (bytes), so that connections are served in turn.  Just
#: below 128 KiB, from which on malloc(3) calls mmap(2) for each allocation.
RECEIVE_SIZE = 128 * 1024 - 256

#: The error text when there is no memory for the receive buffer.
NO_MEMORY = "no memory to receive"

# Shared instance: building a Failure costs as much as a connection.
_DONE = Failure(main.CONNECTION_DONE)

_ENDS: dict[type[BaseException] | None, str] = {
    error.ConnectionDone: "closed",
    error.ConnectionAborted: "reset here",
    error.ConnectionLost: "reset by peer",
}

#: SO_LINGER with a timeout of 0: close(2) resets the connection (socket(7)).
RESET = struct.pack("ii", 1, 0)


@implementer(
    ITCPTransport,
    IConsumer,
    IPushProducer,
    IReadWriteDescriptor,
    IHalfCloseableDescriptor,
    ISystemHandle,
    ITLSTransport,
    ILoggingContext,
)
class StreamConnection(DeadlineChecks):
    """
    One accepted connection; its states are those of L{socketd.net.stream.states}.

    @ivar connection_id: the id in logs and control commands.
    @ivar began: the time of accept(2) on the reactor's clock (seconds).
    @ivar messages_received: receives with data for the service's protocol.
    @ivar is_plain: whether received data goes straight to that protocol, not to a layer or
        nowhere.
    @ivar peer_known: whether the peer address is final, not that of a load balancer.
    @ivar app_transport: the TLS transport, or C{None} for plain text; on close, it sends
        its own end (close_notify) before the socket's.
    """

    __slots__ = (
        "_ahead",
        "_destination",
        "_family",
        "_paused",
        "_peer",
        "_peer_family",
        "_reading",
        "_slot",
        "app_transport",
        "connection_id",
        "is_plain",
        "messages_received",
        "peer_known",
        "protocol",
    )

    def __init__(
        self,
        reactor: Any,
        sock: socket.socket,
        peer: Any,
        service_state: ServiceState,
        slot: Slot | None = None,
    ) -> None:
        self.reactor = reactor
        self._socket = sock
        family: int = sock.family
        self._family = self._peer_family = family
        # read(2) and write(2) on the descriptor cost less than the socket's methods.  Once
        # closed, the number may be reused, so it is valid only while connected is true.
        self._descriptor = sock.fileno()
        self._peer = peer
        self._destination: Any = None
        self.service_state = service_state
        self._slot = slot
        self.connection_id = service_state.connection_table.new_id()
        self.began: float = reactor.seconds()
        self.messages_received = self.bytes_received = self.bytes_sent = self.preamble = 0
        self.state = NEW
        self._buffer = None
        self._buffered = 0
        self.producer = None
        self._streaming = self._producer_paused = self._paused = self._reading = False
        self.peer_known = self.handshaking = False
        self.is_plain = True
        self._ahead = b""
        self.app_transport: Any = None
        self.tick, self.timed_out, self._grace_ends = NOWHERE, "", 0.0
        self._lingers = True

    def begin(
        self, protocol: IProtocol, handshaking: bool = False, peer_known: bool = True
    ) -> None:
        """
        Connect the protocol and start reading.

        @param handshaking: whether a PROXY header or a handshake comes first, within
            C{handshake_timeout}.
        @param peer_known: whether the peer address is final, not that of a load balancer.
        """
        self.protocol = protocol
        self.handshaking = handshaking
        self.is_plain = not handshaking
        self.service_state.enter(self)
        self.start_deadlines()
        if peer_known:
            self.log_open()
        # Before makeConnection(), in which a protocol may already hand the socket over.
        self._update_reading()
        self._call(partial(protocol.makeConnection, self))

    def log_open(self) -> None:
        """Log the new connection."""
        self.peer_known = True
        if self.service_state.announced:
            self.service_state.emit(
                CONNECTION_MADE, self.service_state.log_connections, **self._facts()
            )

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
            self._peer_family, self._peer = client.family, client.source
            self._destination, self._slot = client.destination, client.slot
        if not self.peer_known:
            self.log_open()
        self.handshaking = handshaking
        self.app_transport = transport
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

    # Reading

    def doRead(self) -> None:
        """Receive once and pass the data to the protocol."""
        if not self._reading:
            return
        try:
            data = read(self._descriptor, RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self.connectionLost(LOST_FAILURE)
            return
        except MemoryError:
            self.service_state.emit(PROTOCOL_FAILED, peer=self.peer, error=NO_MEMORY)
            self.abortConnection()
            return
        if not data:
            self._end_of_input()
            return
        self.bytes_received += len(data)
        if self.is_plain:
            self.messages_received += 1
            if self.service_state.observed:
                self._observe(data)
        elif self.state.phase == LINGERING:
            return
        try:
            self.protocol.dataReceived(data)
        except Exception as problem:
            self.report(problem)
            self.abortConnection()

    def _take_ahead(self) -> None:
        """Deliver what followed a layer's bytes in the same receive, before later data."""
        if not (self._ahead and self._wants_to_read()):
            return
        data, self._ahead = self._ahead, b""
        if self.state.phase == OPEN:
            if self.is_plain:
                self.count_message(data)
            self._call(partial(self.protocol.dataReceived, data))
        self._update_reading()

    def count_message(self, data: bytes) -> None:
        """Count a message for the service's protocol, and emit its event if it is observed."""
        self.messages_received += 1
        if self.service_state.observed:
            self._observe(data)

    def _observe(self, data: bytes) -> None:
        host = host_of(self._peer_family, self._peer)
        self.service_state.message(host, data, self.peer, self.connection_id)

    def acknowledge(self) -> None:
        """
        Acknowledge received data at once (TCP_QUICKACK), for use when no reply carries the ACK.

        Nagle's algorithm (RFC 896) holds the peer's next small segment back until then, and
        the kernel delays an ACK by 40 ms.
        """
        # UNIX sockets have no such option.
        with suppress(OSError):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def readConnectionLost(self, reason: Failure) -> None:
        """Handle EOF that the reactor detected."""
        self._end_of_input()

    def writeConnectionLost(self, reason: Failure) -> None:
        """Handle a closed output that the reactor detected."""
        self.connectionLost(reason)

    def _end_of_input(self) -> None:
        """
        Handle EOF: close, or notify a half-closeable protocol, which may send more.

        Buffered data is still sent: the peer may have shut down only its writing side.
        """
        if not self.happens(END_OF_INPUT):
            return
        if self.state.phase == OPEN:
            if IHalfCloseableProtocol.providedBy(self.protocol):
                self._call(self.protocol.readConnectionLost)
            else:
                self.loseConnection()
        self.happens(END_HANDLED)
        if self.state.is_closing:
            if self._has_more():
                self.reactor.addWriter(self)
            else:
                self.connectionLost(_DONE)
        self._update_reading()

    def _update_reading(self) -> None:
        """Register or unregister for reading, according to pauses and backpressure."""
        wanted = self._wants_to_read()
        if wanted and self._ahead:
            wanted = False
            self.reactor.callLater(0, self._take_ahead)
        if wanted is not self._reading:
            self._reading = wanted
            (self.reactor.addReader if wanted else self.reactor.removeReader)(self)

    def _wants_to_read(self) -> bool:
        state = self.state
        if state.read_side != READ_OPEN:
            return False
        if state.phase == OPEN:
            return not self._paused and self._buffered <= HIGH_WATER
        return state.phase == LINGERING

    def pauseProducing(self) -> None:
        """Pause reading until L{resumeProducing}."""
        self._paused = True
        self._update_reading()

    def resumeProducing(self) -> None:
        """Resume reading."""
        self._paused = False
        self._update_reading()

    def stopProducing(self) -> None:
        """Close: the consumer of the received data is gone."""
        self.loseConnection()

    # In no interface, but protocols call these on Twisted's own transports.
    stopReading = pauseProducing
    startReading = resumeProducing

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
        protocol = self.protocol if self.app_transport is None else self.app_transport.protocol
        if IHalfCloseableProtocol.providedBy(protocol):
            self._call(protocol.writeConnectionLost)

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
            self.connectionLost(_DONE)
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
        """Serve data that has already arrived, then close."""
        if self._reading:
            self.doRead()
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
        """
        Start TLS; the protocol keeps this object as its transport.

        @param contextFactory: as Twisted's own transports take it.
        @param normal: whether this side is the server.
        """
        # Lazy: this import takes 0.1 s, which a daemon without TLS need not spend.
        from socketd.net.tls.layer import SecureProtocolFactory
        from socketd.net.tls.transport import SecureTransport

        # There is no wrapped factory to call: the protocol already exists.
        none: Any = None
        factory = SecureProtocolFactory(contextFactory, not normal, none, self.reactor)
        tls = factory.protocol(factory, self.protocol, False)
        self.__class__ = StartedTlsConnection
        # This object as it was, which sends plain text.
        below = super(StartedTlsConnection, self)
        self.app_transport = SecureTransport(tls, below, self.protocol)
        self.protocol = tls
        tls.makeConnection(below)

    def close(self) -> None:
        """Close after all data is sent (through TLS if active)."""
        (self.app_transport or self).loseConnection()

    def report(self, problem: Exception) -> None:
        """Log an exception that the protocol raised."""
        self.service_state.report(self.peer, problem)

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
            reason = _DONE
        self._close_socket(reason.type is error.ConnectionAborted)
        self._buffer, self._buffered = None, 0
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        self.service_state.leave(self)
        if self._slot is not None:
            self._slot.leave()
        if self.service_state.announced and self.peer_known:
            self._log_close(self.timed_out or _ENDS.get(reason.type, "failed"))
        self._call(partial(self.protocol.connectionLost, reason))

    def _log_close(self, word: str) -> None:
        self.service_state.emit(
            CONNECTION_LOST,
            self.service_state.log_connections,
            reason=word,
            received=self.bytes_received,
            sent=self.bytes_sent,
            **self._facts(),
        )

    def _call(self, hook: Callable[[], object]) -> None:
        try:
            hook()
        except Exception as problem:
            self.report(problem)
            self.abortConnection()

    def _close_socket(self, reset: bool) -> None:
        if self._reading:
            self._reading = False
            self.reactor.removeReader(self)
        self.reactor.removeWriter(self)
        self.happens(LOST)
        if reset and self._family != socket.AF_UNIX:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._socket.close()

    def _facts(self) -> dict[str, Any]:
        return {"peer": self.peer, "connection": self.connection_id}

    # The socket

    def logPrefix(self) -> str:
        """The service and the connection id, for the log line of a traceback."""
        return f"{self.service_state.name} {self.connection_id}"

    def fileno(self) -> int:
        """The file descriptor; -1 when closed."""
        return self._descriptor if self.state.connected else -1

    def getHandle(self) -> socket.socket:
        """The socket."""
        return self._socket

    @property
    def socket(self) -> socket.socket:
        """The socket; in no interface, but many protocols use this attribute."""
        return self._socket

    def getPeer(self) -> Any:
        """The peer's address."""
        return to_address(self._peer_family, socket.SOCK_STREAM, self._peer)

    def getHost(self) -> Any:
        """The local address, or the one at the proxy that its client connected to."""
        if self._destination is not None:
            return to_address(self._peer_family, socket.SOCK_STREAM, self._destination)
        name = self._socket.getsockname()
        return to_address(self._family, socket.SOCK_STREAM, name)

    def getTcpNoDelay(self) -> bool:
        """Whether TCP_NODELAY is set; false on UNIX sockets."""
        return self._tcp and bool(
            self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        )

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Set TCP_NODELAY; ignored on UNIX sockets."""
        if self._tcp:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """Whether SO_KEEPALIVE is set."""
        return bool(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Set SO_KEEPALIVE."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)

    @property
    def peer(self) -> str:
        """The peer's address as printable text."""
        return describe(self._peer_family, self._peer)

    @property
    def _tcp(self) -> bool:
        return self._family != socket.AF_UNIX


@implementer(INegotiated)
class StartedTlsConnection(StreamConnection):
    """
    A connection after L{StreamConnection.startTLS}.

    The protocol keeps its transport object, whose class is switched instead: a check for
    TLS in each write would cost every connection.
    """

    __slots__ = ()

    def write(self, data: bytes) -> None:
        """
        Encrypt and send data.

        @raise TypeError: if C{data} is not bytes.
        """
        self.app_transport.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Encrypt and send several pieces as one."""
        self.app_transport.writeSequence(data)

    def loseConnection(self) -> None:
        """Close after all buffered data is sent."""
        self.app_transport.loseConnection()

    def abortConnection(self) -> None:
        """Reset the connection."""
        self.app_transport.abortConnection()

    def getHandle(self) -> Any:
        """The pyOpenSSL connection object, as Twisted's own TLS transports return it."""
        return self.app_transport.getHandle()

    def getPeerCertificate(self) -> Any:
        """The peer's certificate (a pyOpenSSL object), or C{None}."""
        return self.app_transport.getPeerCertificate()

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """The negotiated application protocol (ALPN), or C{None}."""
        return self.app_transport.negotiatedProtocol  # type: ignore[no-any-return]
