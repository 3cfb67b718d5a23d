"""The answers of C{http} as values, what is wrong with a request, and what sends pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IProtocol, IPushProducer, IReactorTime
from zope.interface import implementer

from socketd.common.timer import Timer

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
BYTES = "application/octet-stream"

#: Why a request is bad, as metrics name it.
REASONS = (
    "argument", "body_size", "encoding", "expectation", "header_size", "host", "incomplete",
    "method", "origin", "path", "syntax", "target_size", "timeout", "upgrade", "version",
)  # fmt: skip

#: Bytes of a piece of a long answer: one system call.
PIECE = 16 * 1024

#: Bytes that a long answer sends in one turn of the reactor, so that others are served in turn.
TURN_BYTES = 64 * 1024

#: Statuses whose answer has no body (RFC 9110, 15.2.2, 15.3.5, 15.3.6 and 15.4.5).
NO_BODY = (101, 204, 205, 304)

#: The headers of an answer that switches to WebSocket, or asks for it (RFC 9110, 15.5.22).
SWITCHING = ("Upgrade", "websocket"), ("Connection", "Upgrade")


@frozen
class Answer:
    """
    An answer.

    @ivar body: the body, unless it is sent in pieces; C{None}: what is told of the request.
    @ivar pieces: makes the body of a long answer.
    @ivar length: how long that is (bytes); C{None}: not known before it is made.
    @ivar pause: seconds between two pieces.
    @ivar delay: seconds before the answer.
    @ivar is_noted: whether it is an event.
    @ivar successor: the protocol that takes the connection over.
    """

    status: int = 200
    body: bytes | None = b""
    media_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    pieces: Iterator[bytes] | None = None
    length: int | None = None
    pause: float = 0.0
    delay: float = 0.0
    is_noted: bool = True
    successor: IProtocol | None = None


def in_pieces(
    pieces: Iterator[bytes], length: int, status: int = 200, *headers: tuple[str, str]
) -> Answer:
    """Make an answer of bytes; one that is a single piece is sent at once."""
    if length <= PIECE:
        return Answer(status, b"".join(pieces), BYTES, headers)
    return Answer(status, b"", BYTES, headers, pieces, length)


class BadRequest(Exception):
    """A request that is not answered as asked; C{reason}: one of L{REASONS}."""

    def __init__(self, status: int, reason: str, text: str, *headers: tuple[str, str]) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason
        self.headers = headers

    @property
    def answer(self) -> Answer:
        """The status, with what is wrong as text."""
        return Answer(self.status, f"{self}\n".encode(), TEXT, self.headers)


@cache
def phrase(status: int) -> str:
    """Name a status; one that is not registered is C{Unknown}."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def json_text(fields: Mapping[str, Any]) -> bytes:
    """Write fields as a JSON object, each on a line of its own, for people and programs."""
    lines = (f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items())
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


@implementer(IPushProducer)
class Sending:
    """Sends the pieces of a long answer while the peer reads, and then finishes the request."""

    def __init__(
        self, exchange: Any, pieces: Iterator[bytes], pause: float, clock: IReactorTime
    ) -> None:
        """@param pause: seconds between two pieces; 0: as fast as the peer reads."""
        self._exchange = exchange
        self._pieces = pieces
        self._pause = pause
        self._paused = False
        self._next = Timer(clock)

    def start(self) -> None:
        """Send the first pieces."""
        self._exchange.registerProducer(self, True)
        self._send()

    def _send(self) -> None:
        written = 0
        while not self._paused:
            piece = next(self._pieces, None)
            if piece is None:
                self._exchange.unregisterProducer()
                self._exchange.finish()
                return
            self._exchange.write(piece)
            written += len(piece)
            if self._pause or written >= TURN_BYTES:
                break
        if not self._paused:
            self._next.start(self._pause, self._send)

    def pauseProducing(self) -> None:
        self._paused = True
        self.stopProducing()

    def resumeProducing(self) -> None:
        if self._paused:
            self._paused = False
            self._send()

    def stopProducing(self) -> None:
        """Cancel what is to be sent later."""
        self._next.stop()
