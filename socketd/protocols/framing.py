"""The options of messages, and the base class of protocols that answer messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.protocols.frames import MAX_MESSAGE, MessageTooLong, framing_type, parse_framing
from socketd.settings.options import option
from socketd.settings.value_types import SIZE, within

#: Bytes: the receive size of socket tutorials, and the line limit of the successors of inetd and
#: SMTP.
DEFAULT_MAX_MESSAGE = 4096

#: Backpressure: the bytes that may be queued while a reply is pending; above it, reading pauses.
MAX_QUEUED = 64 * 1024

#: The overhead (bytes) counted for each queued piece of data, however short it is.
PIECE_OVERHEAD = 1024

#: The most replies, and bytes of replies, per batch: one receive can hold tens of thousands of
#: short lines. The rest waits until the peer has read the batch.
BATCH_REPLIES = 64
BATCH_BYTES = 64 * 1024


def framing_option(timed: bool = False) -> str:
    """
    Declare C{framing} in an options class.

    @param timed: whether the protocol gives L{MessageProtocol} a clock, which C{idle} needs.
    """
    return option(  # type: ignore[no-any-return]
        framing_type(timed),
        "chunk",
        "Where a message ends: with a receive (chunk), a line, the bytes that a length counts, a"
        " delimiter, so many bytes, or a silence.",
    )


def max_message_option() -> int:
    """Declare C{max_message} in an options class."""
    return option(  # type: ignore[no-any-return]
        within(SIZE, 1, MAX_MESSAGE, "write 1 to 64KiB"),
        DEFAULT_MAX_MESSAGE,
        "The longest message; more is the next message (chunk) or ends the connection (others).",
    )


@implementer(IHalfCloseableProtocol, IPullProducer)
class MessageProtocol(Protocol):
    """
    A protocol that answers messages one at a time, in order.

    The peer's EOF ends its messages; one that is too long closes the connection.

    While a reply is pending, the connection is still read (up to L{MAX_QUEUED}), so that a
    disconnect is noticed; the data is answered later, in order.

    @ivar framing: where its messages end.
    @ivar ended: whether no further message will come.
    """

    transport: Any

    def __init__(self, framing: str, max_message: int, clock: IReactorTime | None = None) -> None:
        self.framing = parse_framing(framing)(max_message)
        self.framing.start(clock, self._take)
        self._received: deque[Iterator[bytes]] = deque()
        self._queued = 0
        self._batch_replies = self._batch_bytes = 0
        self._producing = False
        self.ended = False

    # For the protocols that derive from this.

    def message_received(self, message: bytes) -> None:
        """Answer one message."""
        raise NotImplementedError

    @property
    def waiting(self) -> bool:
        """Whether the last reply is incomplete, so that the next message waits for L{go_on}."""
        return False

    def answer(self, data: bytes) -> None:
        """Send a reply, or a part of one."""
        if data:
            self._batch_replies += 1
            self._batch_bytes += len(data)
            self.transport.write(data)

    def finish(self) -> None:
        """Accept no further messages, and close once all replies are sent."""
        self.ended = True
        self.framing.stop()
        self._received.clear()

    def go_on(self) -> None:
        """Answer the queued messages until one has to wait or a batch is full."""
        try:
            more = self._answer_batch()
        except MessageTooLong:
            self.finish()
            more = False
        self._produce(more)
        if more or self.waiting:
            return
        if self.ended:
            self.transport.loseConnection()
        elif self._queued > MAX_QUEUED:
            self.transport.resumeProducing()
        self._queued = 0

    # Called by the transport.

    def dataReceived(self, data: bytes) -> None:
        if self.ended:
            return
        self._received.append(self.framing.feed(data))
        self.go_on()
        if self.waiting:
            self._queued += len(data) + PIECE_OVERHEAD
            if self._queued > MAX_QUEUED:
                self.transport.pauseProducing()

    def readConnectionLost(self) -> None:
        """Answer the remaining messages, then close."""
        if not self.ended:
            self.ended = True
            self._take(self.framing.end())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Stop the timer; a derived class calls this, too."""
        self.framing.stop()

    def writeConnectionLost(self) -> None:
        """No-op: this protocol never half-closes."""

    def resumeProducing(self) -> None:
        """Answer the next batch, now that the write buffer is empty."""
        self.go_on()

    def stopProducing(self) -> None:
        """Drop the pending messages: the connection is lost."""
        self._producing = False
        self._received.clear()

    def _take(self, messages: Iterator[bytes]) -> None:
        """Answer further messages when it is their turn."""
        self._received.append(messages)
        self.go_on()

    def _answer_batch(self) -> bool:
        """Answer queued messages, and return whether some remain because the batch is full."""
        self._batch_replies = self._batch_bytes = 0
        while self._received and not self.waiting:
            if self._batch_replies >= BATCH_REPLIES or self._batch_bytes >= BATCH_BYTES:
                return True
            message = next(self._received[0], None)
            if message is None:
                self._received.popleft()
            else:
                self.message_received(message)
        return False

    def _produce(self, more: bool) -> None:
        """While messages remain, be a pull producer and read nothing; then undo both."""
        if more is self._producing:
            return
        self._producing = more
        if more:
            self.transport.pauseProducing()
            self.transport.registerProducer(self, False)
        else:
            self.transport.unregisterProducer()
            self.transport.resumeProducing()
