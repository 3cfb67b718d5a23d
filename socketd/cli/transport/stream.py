"""The stream transport of clients."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    ISSLTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.cli.transport.interface import CallbackProducer, IReceiver
from socketd.common.errors import CommandError

#: A TLS alert record (RFC 8446, sections 5.1 and 6), with which many TLS servers reply to plain
#: text.
ALERT = re.compile(rb"\x15\x03[\x00-\x04]\x00\x02[\x01\x02].", re.DOTALL)


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class StreamLink(Protocol):
    """
    A stream transport: TCP, UNIX or TLS.

    TLS cannot shut down one direction. There L{end} sends C{close_notify} and reads until the peer
    closes, but many peers (Twisted, for one) drop unsent data on it. Where L{can_end} is false,
    wait for the whole reply before L{end}. After our C{close_notify} the peer may close without
    its own; before it, that means a truncated reply.

    @ivar ready: fires when data can be sent: for TLS, after the handshake.
    """

    keeps_messages = False

    def __init__(self, talker: IReceiver) -> None:
        """
        Create the object, not yet connected.

        @param talker: the receiver of data and connection events.
        """
        self.ready: Deferred[None] = Deferred()
        self._talker = talker
        self._is_held = False
        self._is_ready = False
        self._has_said_end = False
        self._has_heard = False
        self._is_lost = False

    # Called by Twisted.

    def connectionMade(self) -> None:
        if self.can_end:
            self._get_ready()

    def handshakeCompleted(self) -> None:
        self._get_ready()

    def dataReceived(self, data: bytes) -> None:
        is_first, self._has_heard = not self._has_heard, True
        if is_first and self.can_end and ALERT.fullmatch(data):
            self.abort()
            self._lose(Failure(CommandError("the peer speaks TLS; use --tls")))
        elif not self._is_lost:
            self._talker.answered(data)

    def readConnectionLost(self) -> None:
        if not self._is_lost:
            self._talker.peer_ended()

    def writeConnectionLost(self) -> None:
        # Caused by our own shutdown; a lost connection is reported by connectionLost.
        pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._is_lost:
            return
        if self._is_ready:
            is_enough = self._has_said_end and reason.type is ConnectionLost
            self._lose(Failure(ConnectionDone()) if is_enough else reason)
            return
        self._is_lost = True
        if not self.ready.called:
            self.ready.errback(reason)

    def _lose(self, reason: Failure) -> None:
        self._is_lost = True
        self._talker.lost(reason)

    # Called by the receiver.

    def send(self, data: bytes) -> None:
        """
        Send data.

        @param data: the bytes to send.
        """
        self._transport.write(data)

    def hold(self, valve: CallbackProducer) -> None:
        """
        Register the producer to pause while the write buffer is full (backpressure).

        @param valve: the producer.
        """
        ours = CallbackProducer(
            valve.pauseProducing, lambda: self._let_on(valve), valve.stopProducing
        )
        self._transport.registerProducer(ours, True)
        self._is_held = True

    @property
    def is_connected(self) -> bool:
        """Whether a connection was ever made, with or without a TLS handshake."""
        return self.transport is not None

    def abandon(self) -> None:
        """Abort a connection attempt."""
        if self.is_connected:
            self.abort()

    @property
    def can_end(self) -> bool:
        """Whether EOF can be sent without risk to the rest of the reply: false for TLS."""
        return not ISSLTransport.providedBy(self._transport)

    def end(self) -> None:
        """Send EOF: shut down the write side, or send C{close_notify} over TLS."""
        self._release()
        if self.can_end:
            self._transport.loseWriteConnection()
        else:
            self._has_said_end = True
            self._transport.loseConnection()

    def pause(self) -> None:
        """Stop reading from the peer until L{resume} (backpressure)."""
        self._transport.pauseProducing()

    def resume(self) -> None:
        """Resume reading from the peer."""
        self._transport.resumeProducing()

    def close(self) -> None:
        """Close after the write buffer is sent."""
        self._release()
        self._transport.loseConnection()

    def abort(self) -> None:
        """Reset the connection, unless it has ended already."""
        # Twisted's TLS transport raises an error on abort after the connection is lost.
        if not self._is_lost:
            self._transport.abortConnection()

    def _get_ready(self) -> None:
        # The connect timeout may have fired it already.
        if not self.ready.called:
            self._is_ready = True
            self.ready.callback(None)

    def _let_on(self, valve: CallbackProducer) -> None:
        # After an alert, TLS drops written data and closes its carrier once the producer is
        # unregistered; without this the producer would run to the end of its input for nothing.
        carrier = None if self.can_end else getattr(self._transport, "transport", None)
        if getattr(carrier, "disconnecting", False):
            self._release()
        else:
            valve.resumeProducing()

    def _release(self) -> None:
        # Twisted does not close while a producer is registered.
        if self._is_held:
            self._is_held = False
            self._transport.unregisterProducer()

    @property
    def _transport(self) -> Any:
        return self.transport
