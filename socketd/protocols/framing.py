"""
Where one message ends and the next begins, for the protocols that answer messages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any
from typing import Protocol as TypingProtocol

from attrs import define, field
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from socketd.settings.options import option
from socketd.settings.value_types import SIZE, choice, within

#: 4096 is what socket tutorials receive at a time, and what inetd's and SMTP's
#: successors take as a line.
DEFAULT_MAX_MESSAGE = 4096

#: A message and its answer fit the memory that a connection may use.
MAX_MESSAGE = 64 * 1024

#: What may come while an answer has to wait; beyond it the peer is not read from.
MAX_BEHIND = 64 * 1024

#: Answers, and bytes of them, that are sent at once; a receive of short lines has
#: tens of thousands, and the rest waits until the peer has taken these.
MAX_ANSWERS = 64
MAX_ANSWERED = 64 * 1024

#: What the bookkeeping of one received piece counts for, however short it is.
COST_OF_PIECE = 1024

_OUT_OF_RANGE = "write 1 to 64KiB"


def framing_option() -> str:
    """
    Declare C{framing}, for an options class.
    """
    return option(  # type: ignore[no-any-return]
        choice("chunk", "line"),
        "chunk",
        "A message is what one receive brings (chunk), or a line.",
    )


def max_message_option() -> int:
    """
    Declare C{max_message}, for an options class.
    """
    return option(  # type: ignore[no-any-return]
        within(SIZE, 1, MAX_MESSAGE, _OUT_OF_RANGE),
        DEFAULT_MAX_MESSAGE,
        "The longest message; more is the next message (chunk) or ends the connection (line).",
    )


class MessageTooLong(Exception):
    """
    A line went on beyond the longest message.
    """


@define
class Chunks:
    """
    What one receive brings is a message, cut where it is too long.
    """

    max_message: int

    def feed(self, data: bytes) -> Iterator[bytes]:
        """
        Take received bytes and give the messages that they complete.
        """
        for start in range(0, len(data), self.max_message):
            yield data[start : start + self.max_message]

    def end(self) -> Iterator[bytes]:
        """
        Give what the end of the stream completes: nothing.
        """
        return iter(())


@define
class Lines:
    """
    A line, with its line feed, is a message; so is the rest at the end.
    """

    max_message: int
    _rest: bytes = field(default=b"", init=False)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """
        Take received bytes and give the messages that they complete.

        @raise MessageTooLong: when a line does not end in time.
        """
        data, start = self._rest + data, 0
        self._rest = b""
        while (end := data.find(b"\n", start) + 1) > 0:
            self._check(end - start)
            yield data[start:end]
            start = end
        self._rest = data[start:]
        self._check(len(self._rest) + 1)

    def end(self) -> Iterator[bytes]:
        """
        Give what the end of the stream completes: a line without line feed.
        """
        if self._rest:
            yield self._rest

    def _check(self, length: int) -> None:
        if length > self.max_message:
            raise MessageTooLong


class Framing(TypingProtocol):
    """
    Cuts what is received into messages.
    """

    def feed(self, data: bytes) -> Iterator[bytes]:
        """
        Take received bytes and give the messages that they complete.
        """

    def end(self) -> Iterator[bytes]:
        """
        Give what the end of the stream completes.
        """


FRAMINGS: dict[str, Callable[[int], Framing]] = {"chunk": Chunks, "line": Lines}


@implementer(IHalfCloseableProtocol, IPullProducer)
class MessageProtocol(Protocol):
    """
    A protocol that answers messages, one after the other.

    A peer that shuts down its writing side has sent its last message; one that
    sends a line without end is closed.

    While an answer has to wait the connection is still read, so that a peer that
    is gone is noticed; what has come is answered later, in turn.

    @ivar ended: whether no further message will come.
    """

    transport: Any

    def __init__(self, framing: str, max_message: int) -> None:
        self._framing = FRAMINGS[framing](max_message)
        self._received: deque[Iterator[bytes]] = deque()
        self._behind = 0
        self._answers_sent = self._bytes_answered = 0
        self._producing = False
        self.ended = False

    def dataReceived(self, data: bytes) -> None:
        """
        Answer the messages that the data completes.
        """
        if self.ended:
            return
        self._received.append(self._framing.feed(data))
        self.go_on()
        if self.waiting:
            self._behind += len(data) + COST_OF_PIECE
            if self._behind > MAX_BEHIND:
                self.transport.pauseProducing()

    def readConnectionLost(self) -> None:
        """
        Answer what is left, then close.
        """
        if not self.ended:
            self.ended = True
            self._received.append(self._framing.end())
            self.go_on()

    def writeConnectionLost(self) -> None:
        """
        Nothing: this side is shut down by closing only.
        """

    @property
    def waiting(self) -> bool:
        """
        Whether the last answer is not complete, so that the next message has to
        wait for L{go_on}.
        """
        return False

    def message_received(self, message: bytes) -> None:
        """
        Answer one message.
        """
        raise NotImplementedError

    def answer(self, data: bytes) -> None:
        """
        Send an answer, or a part of one.
        """
        if data:
            self._answers_sent += 1
            self._bytes_answered += len(data)
            self.transport.write(data)

    def resumeProducing(self) -> None:
        """
        Answer more, now that the peer has taken what it was sent.
        """
        self.go_on()

    def stopProducing(self) -> None:
        """
        Answer nothing any more: the peer is gone.
        """
        self._producing = False
        self._received.clear()

    def finish(self) -> None:
        """
        Take no further message, and close once all answers are sent.
        """
        self.ended = True
        self._received.clear()

    def go_on(self) -> None:
        """
        Answer the messages that are there, up to one that has to wait.
        """
        try:
            more = self._answer_received()
        except MessageTooLong:
            self.finish()
            more = False
        self._produce(more)
        if more or self.waiting:
            return
        if self.ended:
            self.transport.loseConnection()
        elif self._behind > MAX_BEHIND:
            self.transport.resumeProducing()
        self._behind = 0

    def _produce(self, more: bool) -> None:
        """
        Be asked for more when the peer has taken what it was sent, and receive
        nothing until then.
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

    def _answer_received(self) -> bool:
        """
        @return: whether there is more to answer than goes at once.
        """
        self._answers_sent = self._bytes_answered = 0
        while self._received and not self.waiting:
            if self._answers_sent >= MAX_ANSWERS or self._bytes_answered >= MAX_ANSWERED:
                return True
            message = next(self._received[0], None)
            if message is None:
                self._received.popleft()
            else:
                self.message_received(message)
        return False
