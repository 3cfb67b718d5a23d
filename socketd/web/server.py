"""
HTTP/1.0 and 1.1 for a few pages, robust against slow, broken and hostile clients.

It is Twisted's HTTP without twisted.web.resource: no files, no forms, no error pages.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from twisted.web import http
from zope.interface import implementer

from socketd.common.timer import Timer

#: Limit for the request line and for each header (bytes): a usual request of a scraper
#: has a hundred bytes in all.
MAX_LINE = 4096

#: Limits for the request line and headers together (bytes), and for the number of headers.
MAX_HEADER_BYTES = 8192
MAX_HEADERS = 50

#: Limit for the body of a request (bytes), as for a line at the control socket.
MAX_BODY = 8192

#: Limit of requests per connection; a scraper reaches it in about half an hour.
MAX_REQUESTS = 100

#: Limit of concurrent connections; one more resets the oldest that is no stream. A scraper
#: needs one.
MAX_CONNECTIONS = 32

#: Time limit for a complete request, from its first byte or from accept (seconds).
REQUEST_TIMEOUT = 10.0

#: Keep-alive timeout (seconds); scrapes are up to a minute apart.
IDLE_TIMEOUT = 75.0

#: Headers, each with its value.
Headers = tuple[tuple[bytes, bytes], ...]


@frozen
class Page:
    """A response with its complete body."""

    code: int
    body: bytes
    media_type: bytes = b"text/plain; charset=utf-8"
    headers: Headers = ()


@frozen
class Route:
    """
    What answers the requests for a path: with a page, a deferred one, or C{None} for a stream.
    """

    answer: Callable[[PageRequest], Page | Deferred[Page] | None]
    methods: tuple[bytes, ...] = (b"GET", b"HEAD")


#: The routes by path.
Routes = dict[bytes, Route]


class PageRequest(http.Request):
    """One request; only one that is posted has a body."""

    channel: Channel
    content: BytesIO

    def gotLength(self, length: int | None) -> None:
        """Reject a long body; Twisted would write it to a file."""
        self.content = BytesIO()
        if length is None or length > MAX_BODY:
            self.channel.refuse(http.REQUEST_ENTITY_TOO_LARGE)

    def process(self) -> None:
        answer = self._answer()
        if isinstance(answer, Deferred):
            answer.addCallback(self._respond)
        elif answer is not None:
            self._respond(answer)

    def begin_stream(self, media_type: bytes, headers: Headers = ()) -> None:
        """Begin a response that lasts until C{finish()} or the end of the connection."""
        self.channel.begin_stream()
        self._begin(http.OK, media_type, headers)
        self.write(b"")

    def _begin(self, code: int, media_type: bytes, headers: Headers) -> None:
        self.setResponseCode(code)
        for name, value in (
            (b"Server", b"socketd"),
            (b"Date", http.datetimeToString()),
            (b"Content-Type", media_type),
            (b"Cache-Control", b"no-store"),
            (b"X-Content-Type-Options", b"nosniff"),
            *headers,
        ):
            self.setHeader(name, value)

    def _respond(self, page: Page) -> None:
        # The client may have gone before a deferred page was there.
        if self.channel is None:
            return
        self._begin(page.code, page.media_type, page.headers)
        self.setHeader(b"Content-Length", b"%d" % len(page.body))
        self.write(page.body)
        self.finish()

    def _answer(self) -> Page | Deferred[Page] | None:
        # RFC 9112, 3.2: an HTTP/1.1 request without Host must be answered with 400.
        if self.clientproto == b"HTTP/1.1" and not self.requestHeaders.hasHeader(b"host"):
            return plain(http.BAD_REQUEST)
        route = self.channel.routes.get(_path(self.path))
        if self.content.getvalue() and (route is None or b"POST" not in route.methods):
            return plain(http.REQUEST_ENTITY_TOO_LARGE)
        if route is None:
            return plain(http.NOT_FOUND)
        if self.method not in route.methods:
            return plain(http.NOT_ALLOWED, headers=((b"Allow", b", ".join(route.methods)),))
        return route.answer(self)


@implementer(IHalfCloseableProtocol)
class Channel(http.HTTPChannel):
    """One HTTP connection."""

    transport: Any

    def __init__(self, routes: Routes, reactor: Any, left: Callable[[Channel], object]) -> None:
        """@param left: called when the connection has ended."""
        super().__init__()
        self.requestFactory = PageRequest
        self.MAX_LENGTH = MAX_LINE
        self.totalHeadersSize, self.maxHeaders = MAX_HEADER_BYTES, MAX_HEADERS
        # Twisted's own timeout restarts with each byte.
        self.timeOut = None
        self.routes = routes
        self.is_stream = False
        self._left = left
        self._deadline = Timer(reactor)
        self._asking = False
        self._count = 0

    def connectionMade(self) -> None:
        super().connectionMade()
        self._wait(REQUEST_TIMEOUT)

    def dataReceived(self, data: bytes) -> None:
        """Parse data of a request; its first byte starts the request timeout."""
        if not self._asking:
            self._asking = True
            self._wait(REQUEST_TIMEOUT)
        super().dataReceived(data)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(http.BAD_REQUEST)

    def checkPersistence(self, request: http.Request, version: bytes) -> bool:
        """Decide whether the connection stays open for another request."""
        self._count += 1
        if self._count >= MAX_REQUESTS:
            request.setHeader(b"Connection", b"close")
            return False
        return bool(super().checkPersistence(request, version))

    def requestDone(self, request: http.Request) -> None:
        self._asking = False
        self._wait(IDLE_TIMEOUT)
        super().requestDone(request)

    def begin_stream(self) -> None:
        """Stop the timeout: the response is a stream."""
        self.is_stream = True
        self._deadline.stop()

    def refuse(self, code: int) -> None:
        """Respond with a bare status, and close."""
        status = b"HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        self.transport.write(status % (code, http.RESPONSES[code]))
        self.loseConnection()

    def readConnectionLost(self) -> None:
        """Handle EOF: close after pending data is sent."""
        self.loseConnection()

    def writeConnectionLost(self) -> None:
        """Do nothing: L{connectionLost} follows."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._deadline.stop()
        super().connectionLost(reason)
        self._left(self)

    def _wait(self, seconds: float) -> None:
        self._deadline.start(seconds, self.transport.abortConnection)


class ChannelFactory(Factory):
    """Creates the protocol of each connection; at the limit it resets the oldest connection."""

    noisy = False

    def __init__(self, routes: Routes, reactor: Any) -> None:
        self._routes = routes
        self._reactor = reactor
        # In the order of accept.
        self._channels: dict[Channel, None] = {}

    def buildProtocol(self, addr: Any) -> Channel:
        if len(self._channels) >= MAX_CONNECTIONS:
            oldest = next(channel for channel in self._channels if not channel.is_stream)
            self._leave(oldest)
            oldest.transport.abortConnection()
        channel = Channel(self._routes, self._reactor, self._leave)
        self._channels[channel] = None
        return channel

    def _leave(self, channel: Channel) -> None:
        self._channels.pop(channel, None)


def _path(target: bytes) -> bytes:
    """Extract the path from a request target, which may be an absolute URL (RFC 9112, 3.2.2)."""
    if target.startswith(b"/"):
        return target
    _, _, rest = target.partition(b"://")
    return b"/" + rest.partition(b"/")[2]


def plain(code: int, text: str = "", headers: Headers = ()) -> Page:
    """Make a page of one line: the reason of the status, unless there is a better one."""
    line = text.encode() or http.RESPONSES[code]
    return Page(code, line + b"\n", headers=headers)
