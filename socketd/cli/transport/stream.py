"""
A stream as a way to the peer.
"""

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

from socketd.cli.common.errors import CommandError
from socketd.cli.transport.interface import CallbackProducer, IReceiver

ALERT = re.compile(rb"\x15\x03[\x00-\x04]\x00\x02[\x01\x02].", re.DOTALL)
"""
An alert of TLS (RFC 8446, sections 5.1 and 6), as many a server answers what is none.
"""


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class StreamLink(Protocol):
    """
    A stream to the peer: TCP, UNIX or TLS.

    TLS cannot shut down one direction. There L{end} sends C{close_notify} and reads on until the
    peer closes too; but many a peer, Twisted for one, drops then what it had not sent yet. So who
    wants the whole answer lets it come first, where L{can_end} is false. A peer may then just go,
    without a C{close_notify} of its own, which before our end would be an answer that is cut off.

    @ivar ready: fires when the peer can be talked to: for TLS, after the handshake.
    """

    keeps_messages = False

    def __init__(self, talker: IReceiver) -> None:
        """
        Begin unconnected.

        @param talker: who is told what the peer does.
        """
        self.ready: Deferred[None] = Deferred()
        self._talker = talker
        self._is_held = False
        self._is_ready = False
        self._has_said_end = False
        self._has_heard = False
        self._is_lost = False

    # What Twisted calls.

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
        # Our own doing; when the peer went away, connectionLost tells it.
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

    # What the talker calls.

    def send(self, data: bytes) -> None:
        """
        Say something.

        @param data: the bytes.
        """
        self._transport.write(data)

    def hold(self, valve: CallbackProducer) -> None:
        """
        Tell who must be paused while the peer takes nothing.

        @param valve: what pauses it.
        """
        ours = CallbackProducer(
            valve.pauseProducing, lambda: self._let_on(valve), valve.stopProducing
        )
        self._transport.registerProducer(ours, True)
        self._is_held = True

    @property
    def is_connected(self) -> bool:
        """
        Whether there is, or was, a connection, be it without a handshake.
        """
        return self.transport is not None

    def abandon(self) -> None:
        """
        Break off what may have begun to connect.
        """
        if self.is_connected:
            self.abort()

    @property
    def can_end(self) -> bool:
        """
        Whether the peer can be told our end without losing what it still has to say.
        """
        return not ISSLTransport.providedBy(self._transport)

    def end(self) -> None:
        """
        Shut down the writing side.
        """
        self._release()
        if self.can_end:
            self._transport.loseWriteConnection()
        else:
            self._has_said_end = True
            self._transport.loseConnection()

    def pause(self) -> None:
        """
        Take nothing from the peer until L{resume}.
        """
        self._transport.pauseProducing()

    def resume(self) -> None:
        """
        Take what the peer says.
        """
        self._transport.resumeProducing()

    def close(self) -> None:
        """
        Part after what was said is sent.
        """
        self._release()
        self._transport.loseConnection()

    def abort(self) -> None:
        """
        Part at once, where that did not happen yet.
        """
        # Twisted's TLS has nothing left to abort then, and raises an error.
        if not self._is_lost:
            self._transport.abortConnection()

    def _get_ready(self) -> None:
        # Whoever waited may have given up.
        if not self.ready.called:
            self._is_ready = True
            self.ready.callback(None)

    def _let_on(self, valve: CallbackProducer) -> None:
        # After an alert TLS drops what is written and wants to close what carries it; that waits
        # for the producer, which would go on to the end of its input for nothing.
        carrier = None if self.can_end else getattr(self._transport, "transport", None)
        if getattr(carrier, "disconnecting", False):
            self._release()
        else:
            valve.resumeProducing()

    def _release(self) -> None:
        # Twisted closes nothing while a producer is registered.
        if self._is_held:
            self._is_held = False
            self._transport.unregisterProducer()

    @property
    def _transport(self) -> Any:
        return self.transport
