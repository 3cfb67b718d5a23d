"""Message framing, and the base class of protocols that answer messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from socketd.settings.options import option
from socketd.settings.value_types import SIZE, choice, within

#: Bytes: the receive size of socket tutorials, and the line limit of the successors of inetd and
#: SMTP.
DEFAULT_MAX_MESSAGE = 4096

#: Bytes: a message and its reply fit the memory limit of a connection.
MAX_MESSAGE = 64 * 1024

#: Backpressure: the bytes that may be queued while a reply is pending; above it, reading pauses.
MAX_QUEUED = 64 * 1024

#: The overhead (bytes) counted for each queued piece of data, however short it is.
PIECE_OVERHEAD = 1024

#: The most replies, and bytes of replies, per batch: one receive can hold tens of thousands of
#: short lines. The rest waits until the peer has read the batch.
BATCH_REPLIES = 64
BATCH_BYTES = 64 * 1024


def framing_option() -> str:
    """Declare C{framing} in an options class."""
    return option(  # type: ignore[no-any-return]
        choice("chunk", "line"),
        "chunk",
        "A message is what one receive brings (chunk), or a line.",
    )


def max_message_option() -> int:
    """Declare C{max_message} in an options class."""
    return option(  # type: ignore[no-any-return]
        within(SIZE, 1, MAX_MESSAGE, "write 1 to 64KiB"),
        DEFAULT_MAX_MESSAGE,
        "The longest message; more is the next message (chunk) or ends the connection (line).",
    )


class MessageTooLong(Exception):
    """A line is longer than the longest message."""


@define
class Framing:
    """Splits received data into messages."""

    max_message: int

    def feed(self, data: bytes) -> Iterator[bytes]:
        """
        Take received bytes and yield the messages that they complete.

        @raise MessageTooLong: when a message is too long and cannot be split.
        """
        raise NotImplementedError

    def end(self) -> Iterator[bytes]:
        """Yield the message that EOF completes, if any."""
        return iter(())


@define
class Chunks(Framing):
    """Each received chunk is a message; one that is too long is split."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), self.max_message):
            yield data[start : start + self.max_message]


@define
class Lines(Framing):
    """Each line, including its line feed, is a message, and so is an unterminated line at EOF."""

    _rest: bytes = field(default=b"", init=False)

    def feed(self, data: bytes) -> Iterator[bytes]:
        data, start = self._rest + data, 0
        self._rest = b""
        while (end := data.find(b"\n", start) + 1) > 0:
            self._check(end - start)
            yield data[start:end]
            start = end
        self._rest = data[start:]
        self._check(len(self._rest) + 1)

    def end(self) -> Iterator[bytes]:
        if self._rest:
            yield self._rest

    def _check(self, length: int) -> None:
        if length > self.max_message:
            raise MessageTooLong


FRAMINGS: dict[str, type[Framing]] = {"chunk": Chunks, "line": Lines}


@implementer(IHalfCloseableProtocol, IPullProducer)
class MessageProtocol(Protocol):
    """
    A protocol that answers messages one at a time, in order.

    The peer's EOF ends its messages; a line that is too long closes the connection.

    While a reply is pending, the connection is still read (up to L{MAX_QUEUED}), so that a
    disconnect is noticed; the data is answered later, in order.

    @ivar ended: whether no further message will come.
    """

    transport: Any

    def __init__(self, framing: str, max_message: int) -> None:
        self._framing = FRAMINGS[framing](max_message)
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
        self._received.append(self._framing.feed(data))
        self.go_on()
        if self.waiting:
            self._queued += len(data) + PIECE_OVERHEAD
            if self._queued > MAX_QUEUED:
                self.transport.pauseProducing()

    def readConnectionLost(self) -> None:
        """Answer the remaining messages, then close."""
        if not self.ended:
            self.ended = True
            self._received.append(self._framing.end())
            self.go_on()

    def writeConnectionLost(self) -> None:
        """No-op: this protocol never half-closes."""

    def resumeProducing(self) -> None:
        """Answer the next batch, now that the write buffer is empty."""
        self.go_on()

    def stopProducing(self) -> None:
        """Drop the pending messages: the connection is lost."""
        self._producing = False
        self._received.clear()

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
        """
        Backpressure: while messages remain, register as pull producer and pause reading; then undo
        both.
        """
        if more is self._producing:
            return
        self._producing = more
        if more:
            self.transport.pauseProducing()
            self.transport.registerProducer(self, False)
        else:
            self.transport.unregisterProducer()
            self.transport.resumeProducing()
