"""The stream transport of clients."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from socketd.cli.transport.interface import CallbackProducer, IClientTransport, Receiver
from socketd.common.errors import CommandError

#: A TLS alert record (RFC 8446, sections 5.1 and 6), with which many TLS servers reply to plain
#: text.
ALERT = re.compile(rb"\x15\x03[\x00-\x04]\x00\x02[\x01\x02].", re.DOTALL)


@implementer(IClientTransport, IHalfCloseableProtocol, IHandshakeListener)
class StreamTransport(Protocol):
    """
    A stream: TCP, UNIX or TLS.

    TLS cannot shut down one direction. There L{loseWriteConnection} sends C{close_notify} and
    reads until the peer closes, but many peers (Twisted, for one) drop unsent data on it. Where
    L{can_half_close} is false, wait for the whole reply first. After our C{close_notify} the peer
    may close without its own; before it, that means a truncated reply.

    @ivar ready: fires when data can be sent: for TLS, after the handshake.
    """

    is_datagram = False
    transport: Any

    def __init__(self, receiver: Receiver) -> None:
        self.ready: Deferred[None] = Deferred()
        self._receiver = receiver
        self._has_producer = False
        self._is_ready = False
        self._has_sent_eof = False
        self._has_received = False
        self._is_lost = False

    # Called by Twisted.

    def connectionMade(self) -> None:
        if self.can_half_close:
            # The wrapper that Twisted's client endpoints put around this protocol keeps only the
            # last of the interfaces that are passed through it (C{directlyProvides} replaces);
            # without this the peer's EOF would count as the end of both directions.
            wrapper = getattr(self.transport, "protocol", None)
            if wrapper is not None and wrapper is not self:
                alsoProvides(wrapper, IHalfCloseableProtocol)
            self._get_ready()

    def handshakeCompleted(self) -> None:
        self._get_ready()

    def dataReceived(self, data: bytes) -> None:
        is_first, self._has_received = not self._has_received, True
        if is_first and self.can_half_close and ALERT.fullmatch(data):
            self.abortConnection()
            self._lose(Failure(CommandError("the peer speaks TLS; use --tls")))
        elif not self._is_lost:
            self._receiver.dataReceived(data)

    def readConnectionLost(self) -> None:
        if not self._is_lost:
            self._receiver.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """No-op: caused by our own shutdown."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._is_lost:
            return
        if self._is_ready:
            is_complete = self._has_sent_eof and reason.type is ConnectionLost
            self._lose(Failure(ConnectionDone()) if is_complete else reason)
            return
        self._is_lost = True
        if not self.ready.called:
            self.ready.errback(reason)

    def _get_ready(self) -> None:
        # The connect timeout may have fired it already.
        if not self.ready.called:
            self._is_ready = True
            self.ready.callback(None)

    def _lose(self, reason: Failure) -> None:
        self._is_lost = True
        self._receiver.connectionLost(reason)

    @property
    def is_connected(self) -> bool:
        """Whether a connection was ever made, with or without a TLS handshake."""
        return self.transport is not None

    # Called by the receiver.

    @property
    def can_half_close(self) -> bool:
        """False for TLS."""
        return not ISSLTransport.providedBy(self.transport)

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        def resume() -> None:
            # After an alert, TLS drops written data and closes its carrier once the producer is
            # unregistered; without this the producer would run to the end of its input for
            # nothing.
            carrier = None if self.can_half_close else getattr(self.transport, "transport", None)
            if getattr(carrier, "disconnecting", False):
                self.unregisterProducer()
            else:
                producer.resumeProducing()

        ours = CallbackProducer(producer.pauseProducing, resume, producer.stopProducing)
        self.transport.registerProducer(ours, True)
        self._has_producer = True

    def unregisterProducer(self) -> None:
        if self._has_producer:
            self._has_producer = False
            self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self.transport.resumeProducing()

    def loseWriteConnection(self) -> None:
        # Twisted does not close while a producer is registered.
        self.unregisterProducer()
        if self.can_half_close:
            self.transport.loseWriteConnection()
        else:
            self._has_sent_eof = True
            self.transport.loseConnection()

    def loseConnection(self) -> None:
        self.unregisterProducer()
        self.transport.loseConnection()

    def abortConnection(self) -> None:
        # Twisted's TLS transport raises an error on abort after the connection is lost.
        if self.is_connected and not self._is_lost:
            self.transport.abortConnection()

    stopProducing = abortConnection
