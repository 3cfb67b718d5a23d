"""One connection of HTTP: Twisted's server, with bounds and exact complaints."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http
from zope.interface import implementer

from socketd.common.events import REQUEST
from socketd.common.text import escaped
from socketd.common.timer import Timer
from socketd.protocols.spec import IDrainable, ProtocolContext
from socketd.protocols.web.answers import TEXT, Answer, BadRequest, phrase
from socketd.protocols.web.asked import Asked
from socketd.protocols.web.exchange import Exchange
from socketd.protocols.web.head import MAX_HEADERS, READ, check_header, request_line
from socketd.protocols.web.options import WebSocketOptions

#: Requests of one connection that are answered in one turn of the reactor (about 1 ms), so that
#: others are served in turn.
BATCH = 16

#: Bytes that are read while a request is answered: a pipeline, and the sign that a peer has gone.
MAX_AHEAD = 16 * 1024

_HEAD_END = re.compile(rb"\n\r?\n")


@implementer(IHalfCloseableProtocol, IDrainable)
class Channel(http.HTTPChannel):
    """
    One connection.

    It has HTTPChannel's lines one head at a time. While a request is answered what follows
    waits here.

    @ivar count: the number of the current request, from 1.
    @ivar delay: the timer of an answer that is to be late.
    """

    transport: Any

    def __init__(self, options: WebSocketOptions, context: ProtocolContext) -> None:
        super().__init__()
        self.requestFactory = Exchange
        self.options = options
        self.context = context
        self.count = 0
        self.totalHeadersSize, self.maxHeaders = options.max_header, MAX_HEADERS
        self._line = self._rest = b""
        self._busy = self._answering = self._full = self._held = self._ended = False
        self._drains = False
        self._turn = 0
        self._bad = False
        self.delay, self._next, self._deadline = (Timer(context.clock) for _ in range(3))
        self._successor: IProtocol | None = None

    # Called by the transport.

    def dataReceived(self, data: bytes) -> None:
        """Answer the requests that the data completes."""
        self._rest += data
        self._work()

    def readConnectionLost(self) -> None:
        """Answer what has come, and then close."""
        self._ended = True
        self._work()

    def writeConnectionLost(self) -> None:
        """No-op: this protocol never half-closes."""

    def drain(self) -> None:
        """Finish the answer that is being made, or whose request is being read, and close."""
        self._drains, self.persistent = True, False
        if self.line_mode and not self._answering:
            self._deadline.stop()
            self.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._bad = True
        self._work()
        self.delay.stop()
        super().connectionLost(reason)

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self._full = True

    def resumeProducing(self) -> None:
        self._full = False
        super().resumeProducing()
        self._work()

    # Requests in their order.

    def _work(self) -> None:
        """Answer requests until more is needed, one has to wait, or others are to be served."""
        self._busy, self._turn = True, 0
        self._next.stop()
        while self._rest and self._is_ready and self._turn < BATCH:
            if not self._feed():
                break
        self._busy = False
        self._wait()

    @property
    def _is_ready(self) -> bool:
        """Whether a request may be read."""
        return not (self._answering or self._full or self._is_closing)

    @property
    def _is_closing(self) -> bool:
        return self._bad or self.transport.disconnecting

    def _feed(self) -> bool:
        """Pass on a whole head, or a part of a body; return whether there was one."""
        if not self.line_mode:
            data, self._rest = self._rest, b""
            self.rawDataReceived(data)
            return True
        if self._rest[0] in b"\r\n":
            # An empty line before a request is ignored (RFC 9112, 2.2).
            self._rest = self._rest.lstrip(b"\r\n")
        found = _HEAD_END.search(self._rest)
        length = found.end() if found else len(self._rest)
        if length > self.options.max_header:
            self._refuse_head()
        if found is None or self._bad:
            return False
        head, self._rest = self._rest[:length], self._rest[length:]
        self._line, *lines = (line.removesuffix(b"\r") for line in head.split(b"\n")[:-1])
        try:
            for line in [request_line(self._line), *lines]:
                if not self._bad:
                    self.lineReceived(line)
        except BadRequest as problem:
            self.refuse(problem)
        return True

    def _wait(self) -> None:
        """Set the timers, and read no further, as what is left needs."""
        if self._is_closing:
            self._rest = b""
        elif self._rest and self._is_ready and self._turn >= BATCH:
            self._next.start(0, self._work)
        elif self._ended and self._is_ready:
            self._end()
        held = len(self._rest) > MAX_AHEAD
        if held or self._held:
            self._held = held
            (self.transport.pauseProducing if held else self.transport.resumeProducing)()
        self._wait_for_request()

    def _wait_for_request(self) -> None:
        begun = (self._rest or not self.line_mode) and self._is_ready
        if not begun or self._next.is_running:
            self._deadline.stop()
        elif not self._deadline.is_running:
            self._deadline.start(self.options.request_timeout, self._time_out)

    def _end(self) -> None:
        """Close after the peer's EOF; a request that is not complete is told so."""
        if self._rest or not self.line_mode:
            self.refuse(BadRequest(400, "incomplete", "the request ends before its end"))
        else:
            self.loseConnection()

    def _time_out(self) -> None:
        self.refuse(BadRequest(408, "timeout", "the request has taken too long"))

    # Hooks of HTTPChannel.

    def setLineMode(self, extra: bytes = b"") -> None:
        """Go on with a head; C{extra} is what followed a body, and came before the rest."""
        self.line_mode = 1
        self._rest = extra + self._rest

    def headerReceived(self, line: bytes) -> bool:
        """Keep a header as it was sent; HTTPChannel gets only those that it reads."""
        lines = self.requests[-1].lines
        lines.append(line)
        name = line.partition(b":")[0].lower()
        try:
            check_header(name, line, len(lines), self.options.max_body)
        except BadRequest as problem:
            self.refuse(problem)
            return False
        return name not in READ or bool(super().headerReceived(line))

    def allHeadersReceived(self) -> None:
        """Check what the headers must have before a body is asked for."""
        hosts = sum(line[:5].lower() == b"host:" for line in self.requests[-1].lines)
        if hosts > 1 or not hosts and self._version == b"HTTP/1.1":
            self.refuse(BadRequest(400, "host", "HTTP/1.1 wants one Host header"))
        elif self._command == b"CONNECT":
            self.refuse(BadRequest(501, "method", "this is no proxy"))
        else:
            super().allHeadersReceived()

    def checkPersistence(self, request: http.Request, version: bytes) -> bool:
        """Decide whether another request may follow."""
        self.count += 1
        field = b",".join(request.requestHeaders.getRawHeaders(b"connection", [])).lower()
        tokens = [token.strip() for token in field.split(b",")]
        keep = b"close" not in tokens if version == b"HTTP/1.1" else b"keep-alive" in tokens
        return keep and self.count < self.options.max_requests

    def allContentReceived(self) -> None:
        """Answer the request."""
        if not self._bad:
            self._deadline.stop()
            self._answering = True
            super().allContentReceived()

    def requestDone(self, request: http.Request) -> None:
        self._answering = False
        self._turn += 1
        super().requestDone(request)
        if self._successor is not None:
            self._hand_over(self._successor)
        elif not self._busy:
            self._work()

    def go_on_with(self, successor: IProtocol) -> None:
        """Hand the connection over to a protocol once the current request is answered."""
        self._successor = successor
        self.persistent = True

    def _hand_over(self, successor: Any) -> None:
        rest, self._rest = self._rest, b""
        # From here on this channel is told nothing, not even of the end.
        self._bad = True
        self._wait()
        self.transport.unregisterProducer()
        self.transport.protocol = successor
        successor.makeConnection(self.transport)
        if rest:
            successor.dataReceived(rest)
        if self._drains:
            successor.drain()

    def getPeer(self) -> None:
        """No-op: each request of Twisted's asks, and none of ours needs an answer."""

    getHost = getPeer

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(BadRequest(400, "syntax", "the request is not HTTP (RFC 9112)"))

    # What is wrong.

    def _refuse_head(self) -> None:
        self._line, line_end, _ = self._rest.partition(b"\n")
        if line_end and len(self._line) < self.options.max_header:
            text = f"the headers are too long; up to {self.options.max_header} bytes"
            self.refuse(BadRequest(431, "header_size", text))
        else:
            text = f"the target is too long; up to {self.options.max_header} bytes"
            self.refuse(BadRequest(414, "target_size", text))

    def refuse(self, problem: BadRequest) -> None:
        """Answer that a request is bad, once, and close, since its end is not known."""
        if self._bad:
            return
        self._bad, self._rest = True, b""
        self.count_bad(problem)
        self.note(problem.status)
        body = f"{problem}\n".encode()
        status = f"HTTP/1.1 {problem.status} {phrase(problem.status)}\r\nServer: socketd\r\n"
        length = f"Content-Type: {TEXT}\r\nContent-Length: {len(body)}\r\n"
        head = f"{status}{length}Connection: close\r\n\r\n"
        self.transport.write(head.encode() + body)
        self.loseConnection()

    # Answers.

    def answer(self, asked: Asked) -> Answer:
        """
        Find the answer to a request.

        @raise BadRequest: if it asks for what there is not, or too much.
        """
        if self.options.health and asked.path == self.options.health:
            return Answer(body=b"ok\n", media_type=TEXT, is_noted=False)
        if self.options.websocket and asked.wants_websocket:
            # Lazy: a service that no client asks for it does not spend the time of the import.
            from socketd.protocols.web.upgrade import switch

            return switch(asked, self.options, self.context.clock)
        return self.answer_other(asked)

    def answer_other(self, asked: Asked) -> Answer:
        """Find the answer to a request that is neither a health check nor for WebSocket."""
        raise NotImplementedError

    def count_bad(self, problem: BadRequest) -> None:
        """Count a bad request."""
        self.context.record.counters.bad_requests[problem.reason] += 1

    def note(self, status: int, is_event: bool = True) -> None:
        """Count an answer, and emit its event."""
        record = self.context.record
        record.counters.responses[f"{status // 100}xx"] += 1
        if is_event and record.announced:
            record.emit(
                REQUEST,
                record.log_connections,
                request=escaped(self._line),
                status=status,
                peer=self.transport.peer,
                connection=self.transport.connection_id,
            )
