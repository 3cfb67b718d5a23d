"""
Accepted connections (TCP and UNIX).

A connection does more than Twisted's: it writes at once where it can, stops
reading from a peer that does not read, sends all that is owed to a peer that has
shut down its writing side, and never hangs when it closes.
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
from socketd.net.addresses import host_of
from socketd.net.service_state import ServiceState
from socketd.net.stream.handle import SocketInfo
from socketd.net.stream.write_buffer import HIGH_WATER, LOST, WriteBuffer
from socketd.net.timer_wheel import NOWHERE

#: One receive takes no more, so that a connection has its turn and others too.  As
#: much as malloc(3) gives without mapping memory anew each time (from 128 KiB on).
RECEIVE_SIZE = 128 * 1024 - 256

#: What is said where memory does not suffice to receive.
NO_MEMORY = "no memory to receive"

# Made once: a failure costs as much as a whole connection else.
_DONE = Failure(main.CONNECTION_DONE)

_ENDS: dict[type[BaseException] | None, str] = {
    error.ConnectionDone: "closed",
    error.ConnectionAborted: "reset here",
    error.ConnectionLost: "reset by peer",
}

#: The value of SO_LINGER with which close(2) resets (socket(7)).
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
class StreamConnection(WriteBuffer, SocketInfo):
    """
    One accepted connection.

    @ivar connection_id: its id in logs and commands.
    @ivar service_state: the service that it belongs to.
    @ivar began: when it was accepted, on the reactor's clock.
    @ivar messages_received: receives that brought bytes for the service's protocol.
    @ivar is_plain: whether what is received goes to that protocol as it is, and not to
        TLS or the reader of a header.
    @ivar disconnecting: whether closing has begun.
    @ivar known: whether its peer is the real one, and no balancer.
    @ivar app_transport: the transport that the service's protocol writes to, where it is
        another one: that of TLS.  It has the last word.
    """

    __slots__ = (
        "_ahead",
        "_discarding",
        "_ending",
        "_entrance",
        "_family",
        "_paused",
        "_peer",
        "_peer_family",
        "_read_ended",
        "_reading",
        "connection_id",
        "is_plain",
        "known",
        "messages_received",
        "protocol",
        "app_transport",
    )

    def __init__(
        self,
        reactor: Any,
        sock: socket.socket,
        peer: Any,
        service_state: ServiceState,
        slot_held: Slot | None = None,
    ) -> None:
        self.reactor = reactor
        self._socket = sock
        self._family = self._peer_family = sock.family
        # read(2) and write(2) on the number cost less than the socket's methods;
        # once it is closed, and may be another's, connected is false.
        self._descriptor = sock.fileno()
        self._peer = peer
        self.service_state = service_state
        self._entrance = slot_held
        self.connection_id = service_state.connection_table.new_id()
        self.began: float = reactor.seconds()
        self.messages_received = self.bytes_received = self.bytes_sent = self.preamble = 0
        self.connected = True
        self.disconnecting = False
        self._buffer = None
        self._buffered = 0
        self._producer: Any = None
        self._streaming = self._producer_paused = False
        self._paused = self._reading = self._read_ended = self._ending = False
        self._shut = self._half_closing = self._discarding = self._aborting = False
        self.known = self.handshaking = False
        self.is_plain = True
        self._ahead = b""
        self.app_transport: Any = None
        self.slot, self.timed_out, self._grace_ends = NOWHERE, "", 0.0
        self._lingers = True

    def begin(self, protocol: IProtocol, handshaking: bool = False, known: bool = True) -> None:
        """
        Connect the protocol, and start to read.

        @param handshaking: whether something has to be agreed on before the service
            begins; there is a deadline for that.
        @param known: whether the peer is the real one, and no balancer.
        """
        self.protocol = protocol
        self.handshaking = handshaking
        self.is_plain = not handshaking
        self.service_state.enter(self)
        self.start_deadlines()
        if known:
            self.log_open()
        # First, so that a protocol may hand the socket to another one at once.
        self._update_reading()
        self._call(partial(protocol.makeConnection, self))

    def log_open(self) -> None:
        """
        Say that the peer has come.
        """
        self.known = True
        if self.service_state.announced:
            self.service_state.emit(
                CONNECTION_MADE, self.service_state.log_connections, **self._facts()
            )

    def set_peer(self, family: int, peer: Any, slot_held: Slot | None) -> None:
        """
        Take note of the real peer, for whom a balancer speaks.

        @param slot_held: what is handed back when the peer has gone.
        """
        self._peer_family, self._peer, self._entrance = family, peer, slot_held
        self.log_open()

    # Reading

    def doRead(self) -> None:
        """
        Receive once and hand the bytes to the protocol.
        """
        if not self._reading:
            return
        try:
            data = read(self._descriptor, RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self.connectionLost(_DONE if self._discarding else LOST)
            return
        except MemoryError:
            self.service_state.emit(PROTOCOL_FAILED, peer=self.peer, error=NO_MEMORY)
            self.abortConnection()
            return
        if not data:
            self._end_of_input()
            return
        self.bytes_received += len(data)
        if self._discarding:
            return
        if self.is_plain:
            self.messages_received += 1
            if self.service_state.observed:
                self.observe(data)
        try:
            self.protocol.dataReceived(data)
        except Exception as problem:
            self.report(problem)
            self.abortConnection()

    def receive(self, data: bytes) -> None:
        """
        Have the protocol receive bytes that came together with something before
        them, as soon as it wants to and before all others.
        """
        self._ahead = data
        self._update_reading()

    def _take_ahead(self) -> None:
        if not (self._ahead and self._wants_to_read()):
            return
        data, self._ahead = self._ahead, b""
        if not self._discarding:
            if self.is_plain:
                self.messages_received += 1
                if self.service_state.observed:
                    self.observe(data)
            self._call(partial(self.protocol.dataReceived, data))
        self._update_reading()

    def observe(self, data: bytes) -> None:
        """
        Tell whoever wants to know of each message.
        """
        host = host_of(self._peer_family, self._peer)
        self.service_state.message(host, data, self.peer, self.connection_id)

    def acknowledge(self) -> None:
        """
        Acknowledge at once what has come, where nothing is to be sent that does.

        A peer that sends in small pieces holds the next one back until then (RFC 896), and
        the kernel would wait 40 ms for an answer of ours.
        """
        # UNIX sockets have nothing of the kind.
        with suppress(OSError):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def readConnectionLost(self, reason: Failure) -> None:
        """
        Take note that the reactor saw the end of the input.
        """
        self._end_of_input()

    def writeConnectionLost(self, reason: Failure) -> None:
        """
        Take note that the reactor saw the end of the output.
        """
        self.connectionLost(reason)

    def _end_of_input(self) -> None:
        """
        Close, or let a protocol that has more to say do so.

        What is buffered is still sent: the peer may have shut down its writing
        side only.
        """
        self._read_ended = self._ending = True
        if not self.disconnecting:
            if IHalfCloseableProtocol.providedBy(self.protocol):
                self._call(self.protocol.readConnectionLost)
            else:
                self.loseConnection()
        self._ending = False
        if self.disconnecting and not self._has_more():
            self.connectionLost(_DONE)
        elif self.disconnecting:
            self.reactor.addWriter(self)
        self._update_reading()

    def _update_reading(self) -> None:
        """
        Read while somebody wants it and the peer takes what it is sent.
        """
        wanted = self._wants_to_read()
        if wanted and self._ahead:
            wanted = False
            self.reactor.callLater(0, self._take_ahead)
        if wanted is not self._reading:
            self._reading = wanted
            (self.reactor.addReader if wanted else self.reactor.removeReader)(self)

    def _wants_to_read(self) -> bool:
        wanted = self._discarding or not (
            self._paused or self.disconnecting or self._buffered > HIGH_WATER
        )
        return wanted and self.connected and not self._read_ended and not self._aborting

    def pauseProducing(self) -> None:
        """
        Do not read any more, until L{resumeProducing}.
        """
        self._paused = True
        self._update_reading()

    def resumeProducing(self) -> None:
        """
        Read on.
        """
        self._paused = False
        self._update_reading()

    def stopProducing(self) -> None:
        """
        Close; the consumer of what is read here is gone.
        """
        self.loseConnection()

    # What protocols call on Twisted's own transports, though no interface has it.
    stopReading = pauseProducing
    startReading = resumeProducing

    def _drained(self) -> None:
        self.reactor.removeWriter(self)
        if self._producer_owes():
            self._producer_paused = False
            self._producer.resumeProducing()
            if self._streaming and (self.disconnecting or self._half_closing):
                # It may have nothing more to say, and would not say that either.
                self.reactor.addWriter(self)
        elif self.disconnecting:
            self._finish()
        elif self._half_closing:
            self._finish_writing()

    def _finish_writing(self) -> None:
        if not self._has_last_word():
            return
        self._half_closing = False
        self._shut_down()
        protocol = self.protocol if self.app_transport is None else self.app_transport.protocol
        if IHalfCloseableProtocol.providedBy(protocol):
            self._call(protocol.writeConnectionLost)

    def _has_last_word(self) -> bool:
        """
        Have TLS, where that is spoken, say that no more will be sent.

        @return: whether that is sent, too.
        """
        if self.app_transport is not None:
            self.app_transport.drain_and_close()
        return self._buffer is None and not self._aborting

    # Closing

    def loseConnection(self) -> None:
        """
        Close once all that is owed is sent.
        """
        if not self.connected or self.disconnecting:
            return
        self.disconnecting = True
        if not self._ending:
            self._update_reading()
            self.reactor.addWriter(self)
        if self._has_more() or not self._ending:
            # A peer that does not read may keep even an empty buffer from being told so.
            self.start_grace(self.reactor.seconds())

    def send(self, data: bytes) -> None:
        """
        Send bytes as the service's protocol would, through TLS where that is spoken.
        """
        (self.app_transport or self).write(data)

    @property
    def source(self) -> tuple[int, Any]:
        """
        Whom the door was asked about: a family, and an address of it.
        """
        return self._peer_family, self._peer

    def poll_once(self) -> None:
        """
        Send and receive once what can be, without waiting for the reactor's word.
        """
        if self._buffer is not None:
            self.doWrite()
        self.doRead()

    def drain_and_close(self) -> None:
        """
        Answer what has come already, and close.
        """
        if self._reading:
            self.doRead()
        self.close()

    def reapply_policy(self, slot_held: Slot | None, reason: str | None) -> None:
        """
        Go on under another door, or end.

        @param slot_held: the place that the connection has there.
        @param reason: why it has none.
        """
        before, self._entrance = self._entrance, slot_held
        if before is not None:
            before.leave()
        if reason:
            self.timed_out = reason
            self.service_state.counters.refused[reason] += 1
            self.abortConnection()
        elif self.connected and not self._aborting:
            self.look(self.reactor.seconds())

    def startTLS(self, contextFactory: Any, normal: bool = True) -> None:
        """
        Speak TLS from now on; the protocol stays, and writes to this transport.

        @param contextFactory: as Twisted's own transports take it.
        @param normal: whether this side is the server.
        """
        # A tenth of a second, which a daemon without TLS does not spend.
        from socketd.net.tls.started import start_tls

        start_tls(self, StartedTlsConnection, contextFactory, not normal)

    def close(self) -> None:
        """
        Close as the service's protocol would.
        """
        (self.app_transport or self).loseConnection()

    def loseWriteConnection(self) -> None:
        """
        Shut down the writing side once all that is owed is sent.
        """
        if self.connected and not (self._aborting or self._shut):
            self._half_closing = True
            self.reactor.addWriter(self)

    def report(self, problem: Exception) -> None:
        """
        Say that the protocol raised.
        """
        self.service_state.report(self.peer, problem)

    def abortConnection(self) -> None:
        """
        Reset the connection.
        """
        if not self.connected or self._aborting:
            return
        self._aborting = self._shut = True
        self._update_reading()
        self.reactor.removeWriter(self)
        self.reactor.callLater(0, self.connectionLost, Failure(error.ConnectionAborted()))

    def connectionLost(self, reason: Failure) -> None:
        """
        End: the only place where the socket is closed.
        """
        if not self.connected:
            return
        if self._discarding and reason.type is error.ConnectionLost:
            # All was sent and the end told: only the peer's own was waited for.
            reason = _DONE
        self._shut = True
        self._buffer, self._buffered = None, 0
        self._close_socket(reason.type is error.ConnectionAborted)
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        self.service_state.leave(self)
        if self._entrance is not None:
            self._entrance.leave()
        if self.service_state.announced and self.known:
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

    def _has_more(self) -> bool:
        return self._buffer is not None or self._producer_owes()

    def _finish(self) -> None:
        """
        Close now that all is sent.

        A close with unread input would reset the connection, and the peer might
        lose what it has not yet received.  So only the writing side is shut
        down, and the input is thrown away until it ends (RFC 9293, 3.10.4; RFC
        2525, 2.17).
        """
        if not self._has_last_word():
            return
        if self._read_ended or not (self._lingers and self._shut_down()):
            self.connectionLost(_DONE)
            return
        self._discarding = True
        self.start_grace(self.reactor.seconds())
        self._update_reading()

    def _shut_down(self) -> bool:
        self._shut = True
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return True

    def _close_socket(self, reset: bool) -> None:
        if self._reading:
            self._reading = False
            self.reactor.removeReader(self)
        self.reactor.removeWriter(self)
        self.connected = False
        if reset and self._family != socket.AF_UNIX:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._socket.close()

    def logPrefix(self) -> str:
        """
        Name this connection in a traceback's log line.
        """
        return f"{self.service_state.name} {self.connection_id}"

    def _facts(self) -> dict[str, Any]:
        return {"peer": self.peer, "connection": self.connection_id}


@implementer(INegotiated)
class StartedTlsConnection(StreamConnection):
    """
    A connection on which TLS was started.

    The protocol keeps its transport, so the object becomes another one: to ask at each
    write whether TLS is spoken would cost every connection.
    """

    __slots__ = ()

    def write(self, data: bytes) -> None:
        """
        Encrypt bytes and send them.

        @raise TypeError: if C{data} is not bytes.
        """
        self.app_transport.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        Encrypt several pieces as one.
        """
        self.app_transport.writeSequence(data)

    def loseConnection(self) -> None:
        """
        Close once all that is owed is sent.
        """
        self.app_transport.loseConnection()

    def abortConnection(self) -> None:
        """
        Reset the connection.
        """
        self.app_transport.abortConnection()

    def getHandle(self) -> Any:
        """
        The TLS state of pyOpenSSL, as Twisted's other transports of TLS give it.
        """
        return self.app_transport.getHandle()

    def getPeerCertificate(self) -> Any:
        """
        The certificate that the peer has shown, as pyOpenSSL has it; C{None} if none.
        """
        return self.app_transport.getPeerCertificate()

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """
        The application protocol that was agreed on (ALPN), or C{None}.
        """
        return self.app_transport.negotiatedProtocol  # type: ignore[no-any-return]
