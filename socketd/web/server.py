"""
HTTP/1.0 and 1.1 for two pages, in the face of clients that are slow, odd or hostile.

It is Twisted's, without its resources: there are no files, no forms and no error pages.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from twisted.web import http
from zope.interface import implementer

#: The line of a request and each header may be so long (bytes): clients of this service
#: send a hundred bytes in all.
MAX_LINE = 4096

#: All lines of a request together, and how many headers there may be.
MAX_HEADER_BYTES = 8192
MAX_HEADERS = 50

#: Requests that one connection may make, which a scraper does in half an hour.
MAX_REQUESTS = 100

#: Connections at once; one more, and the oldest is reset. A scraper needs one.
MAX_CONNECTIONS = 32

#: How long a client may take to make a request, once it has begun, or has come (seconds).
REQUEST_TIMEOUT = 10.0

#: How long a connection may wait for the next request; scrapes are up to a minute apart.
IDLE_TIMEOUT = 75.0

_METHODS = (b"GET", b"HEAD")


@frozen
class Page:
    """
    What is answered.

    @ivar code: the status.
    @ivar body: the whole of it.
    @ivar kind: its media type.
    """

    code: int
    body: bytes
    kind: bytes = b"text/plain; charset=utf-8"


#: Makes the page of a path.
Pages = dict[bytes, Callable[[], Page]]


class Question(http.Request):
    """
    One request. Nothing is asked for with a body.
    """

    channel: Channel

    def gotLength(self, length: int | None) -> None:
        """
        Refuse a body; Twisted would write a long one to a file.

        @param length: C{None} if the client does not say.
        """
        self.content = BytesIO()
        if length != 0:
            self.channel.refuse(http.REQUEST_ENTITY_TOO_LARGE)

    def handleContentChunk(self, data: bytes) -> None:
        """
        Throw a body away.
        """

    def process(self) -> None:
        """
        Answer.
        """
        page = self._find()
        self.setResponseCode(page.code)
        for name, value in (
            (b"Server", b"socketd"),
            (b"Date", http.datetimeToString()),
            (b"Content-Type", page.kind),
            (b"Content-Length", b"%d" % len(page.body)),
            (b"Cache-Control", b"no-store"),
            (b"X-Content-Type-Options", b"nosniff"),
        ):
            self.setHeader(name, value)
        self.write(page.body)
        self.finish()

    def _find(self) -> Page:
        # RFC 9112, 3.2: a request of HTTP/1.1 without Host must be refused.
        if self.clientproto == b"HTTP/1.1" and not self.requestHeaders.hasHeader(b"host"):
            return _plain(http.BAD_REQUEST)
        make = self.channel.pages.get(_path(self.path))
        if make is None:
            return _plain(http.NOT_FOUND)
        if self.method not in _METHODS:
            self.setHeader(b"Allow", b", ".join(_METHODS))
            return _plain(http.NOT_ALLOWED)
        return make()


@implementer(IHalfCloseableProtocol)
class Channel(http.HTTPChannel):
    """
    One connection.

    @ivar pages: what there is.
    """

    transport: Any

    def __init__(self, pages: Pages, reactor: Any, left: Callable[[Channel], object]) -> None:
        """
        @param left: called when the connection has ended.
        """
        super().__init__()
        self.requestFactory = Question
        self.MAX_LENGTH = MAX_LINE
        self.totalHeadersSize, self.maxHeaders = MAX_HEADER_BYTES, MAX_HEADERS
        # Twisted's own timeout begins anew with each byte.
        self.timeOut = None
        self.pages = pages
        self._reactor = reactor
        self._left = left
        self._deadline: IDelayedCall | None = None
        self._asking = False
        self._count = 0

    def connectionMade(self) -> None:
        """
        Wait for the first request.
        """
        super().connectionMade()
        self._wait(REQUEST_TIMEOUT)

    def dataReceived(self, data: bytes) -> None:
        """
        Take a piece of a request.
        """
        if not self._asking:
            self._asking = True
            self._wait(REQUEST_TIMEOUT)
        super().dataReceived(data)

    def lineLengthExceeded(self, line: bytes) -> None:
        """
        Refuse a line that no client of ours would send.
        """
        self.refuse(http.BAD_REQUEST)

    def checkPersistence(self, request: http.Request, version: bytes) -> bool:
        """
        Say whether another request may follow this one.
        """
        self._count += 1
        if self._count >= MAX_REQUESTS:
            request.setHeader(b"Connection", b"close")
            return False
        return bool(super().checkPersistence(request, version))

    def requestDone(self, request: http.Request) -> None:
        """
        Wait for the next request.
        """
        self._asking = False
        self._wait(IDLE_TIMEOUT)
        super().requestDone(request)

    def refuse(self, code: int) -> None:
        """
        Answer with nothing but a status, and close.
        """
        status = b"HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        self.transport.write(status % (code, http.RESPONSES[code]))
        self.loseConnection()

    def readConnectionLost(self) -> None:
        """
        Close, when what is owed is sent: the client asks for nothing more.
        """
        self.loseConnection()

    def writeConnectionLost(self) -> None:
        """
        Nothing: L{connectionLost} follows.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        End.
        """
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        super().connectionLost(reason)
        self._left(self)

    def _wait(self, seconds: float) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.reset(seconds)
        else:
            self._deadline = self._reactor.callLater(seconds, self._end)

    def _end(self) -> None:
        self.transport.abortConnection()


class ChannelFactory(Factory):
    """
    Makes the protocol of each connection, and resets the oldest one for a new one.
    """

    noisy = False

    def __init__(self, pages: Pages, reactor: Any) -> None:
        self._pages = pages
        self._reactor = reactor
        # In the order in which they came.
        self._channels: dict[Channel, None] = {}

    def buildProtocol(self, addr: Any) -> Channel:
        """
        Make one more.
        """
        if len(self._channels) >= MAX_CONNECTIONS:
            oldest = next(iter(self._channels))
            self._leave(oldest)
            oldest.transport.abortConnection()
        channel = Channel(self._pages, self._reactor, self._leave)
        self._channels[channel] = None
        return channel

    def _leave(self, channel: Channel) -> None:
        self._channels.pop(channel, None)


def _path(target: bytes) -> bytes:
    """
    Take the path out of what is asked for, which may be a whole URL (RFC 9112, 3.2.2).
    """
    if target.startswith(b"/"):
        return target
    _, _, rest = target.partition(b"://")
    return b"/" + rest.partition(b"/")[2]


def _plain(code: int) -> Page:
    return Page(code, b"%s\n" % http.RESPONSES[code])
