"""One request and its answer."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from twisted.python.failure import Failure
from twisted.web import http

from socketd.protocols.web.answers import NO_BODY, Answer, BadRequest, Sending, phrase
from socketd.protocols.web.asked import Asked
from socketd.protocols.web.head import long_body


class Exchange(http.Request):
    """
    One request and its answer.

    @ivar lines: the headers as sent, each on a line; Twisted changes their case.
    """

    channel: Any

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.lines: list[bytes] = []
        self._pieces: list[bytes] = []
        self._size = 0

    # Called by the channel.

    def parseCookies(self) -> None:
        """No-op: they are headers as others."""

    def gotLength(self, length: int | None) -> None:
        """No-op: a length that is known is checked with its header."""

    def handleContentChunk(self, data: bytes) -> None:
        """Keep a part of the body, as long as it is not too long."""
        self._size += len(data)
        if self._size > self.channel.options.max_body:
            self._pieces.clear()
            self.channel.refuse(long_body(self.channel.options.max_body))
        else:
            self._pieces.append(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Answer the request, which is complete."""
        self.method, self.uri, self.clientproto = command, path, version
        self.process()

    def connectionLost(self, reason: Failure) -> None:
        if self.producer is not None:
            self.producer.stopProducing()
        super().connectionLost(reason)

    def process(self) -> None:
        asked = Asked(
            self.method.decode("ascii"),
            self.uri.decode("ascii"),
            self.clientproto.decode("ascii"),
            tuple(self.lines),
            b"".join(self._pieces),
            self.channel.count,
        )
        try:
            answer = self.channel.answer(asked)
        except BadRequest as problem:
            self.channel.count_bad(problem)
            answer = problem.answer
        if answer.delay:
            self.channel.delay.start(answer.delay, self.respond, answer)
        else:
            self.respond(answer)

    def respond(self, answer: Answer) -> None:
        """Send the answer, at once or in pieces."""
        self.code = answer.status
        if answer.successor is not None:
            self.channel.go_on_with(answer.successor)
        elif self.channel.context.record.draining:
            self.channel.persistent = False
        body, pieces = answer.body or b"", answer.pieces
        length = len(body) if pieces is None else answer.length
        self.chunked = int(length is None and self.clientproto == b"HTTP/1.1")
        if length is None and not self.chunked:
            # HTTP/1.0 ends an answer of unknown length with the connection.
            self.channel.persistent = False
        head = self._head(answer, length)
        self.startedWriting = 1
        self.channel.note(answer.status, answer.is_noted)
        if self.method == b"HEAD" or self.code in NO_BODY:
            # It ends with its headers.
            self.chunked, pieces, body = 0, None, b""
        self.channel.write(head + body)
        if pieces is None:
            self.finish()
        else:
            clock = self.channel.context.clock
            Sending(self, pieces, answer.pause, clock).start()

    def _head(self, answer: Answer, length: int | None) -> bytes:
        lines = [
            f"HTTP/1.1 {answer.status} {phrase(answer.status)}",
            "Server: socketd",
            f"Date: {_date(int(self.channel.context.wall_clock()))}",
        ]
        if answer.status not in NO_BODY:
            lines += [f"Content-Type: {answer.media_type}", "X-Content-Type-Options: nosniff"]
            if length is not None:
                lines.append(f"Content-Length: {length}")
            elif self.chunked:
                lines.append("Transfer-Encoding: chunked")
        elif answer.status == 205:
            lines.append("Content-Length: 0")
        lines += [f"{name}: {value}" for name, value in answer.headers]
        if not self.channel.persistent:
            lines.append("Connection: close")
        elif self.clientproto != b"HTTP/1.1":
            lines.append("Connection: keep-alive")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    """Format a time for C{Date} (RFC 9110, 5.6.7), once a second."""
    return str(http.datetimeToString(second), "ascii")
