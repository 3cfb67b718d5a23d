"""Tests for L{socketd.web.server}."""

from __future__ import annotations

import re
from random import Random

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IProtocolFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.web.server import (
    IDLE_TIMEOUT,
    MAX_CONNECTIONS,
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_LINE,
    MAX_REQUESTS,
    REQUEST_TIMEOUT,
    Channel,
    ChannelFactory,
    Page,
    PageRequest,
    Route,
)

GET = b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"


class Transport(StringTransport):
    """A transport that takes note of a reset."""

    is_reset = False

    def abortConnection(self) -> None:
        self.is_reset = True
        self.loseConnection()

    @property
    def is_closed(self) -> bool:
        """Whether the connection was closed or reset."""
        return bool(self.disconnecting)


class Case(SynchronousTestCase):
    """A factory with one page."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.made = 0
        self.factory = ChannelFactory({b"/page": Route(self.page)}, self.clock)

    def page(self, request: PageRequest) -> Page:
        """Make the page."""
        self.made += 1
        return Page(200, b"hello\n")

    def connect(self) -> tuple[Channel, Transport]:
        """Make a connection."""
        channel, transport = self.factory.buildProtocol(None), Transport()
        channel.makeConnection(transport)
        return channel, transport

    def ask(self, *pieces: bytes) -> Transport:
        """Send pieces of a request on a connection of its own."""
        channel, transport = self.connect()
        for piece in pieces:
            if not transport.disconnecting:
                channel.dataReceived(piece)
        return transport

    def statuses(self, transport: Transport) -> list[int]:
        """List the status of each response."""
        return [int(s) for s in re.findall(rb"HTTP/1\.[01] (\d+) ", transport.value())]


class AnswerTests(Case):
    """Tests for what is answered."""

    def test_interfaces(self) -> None:
        """Its parts are what a port expects."""
        verifyObject(IProtocolFactory, self.factory)
        channel, _ = self.connect()
        verifyObject(IProtocol, channel)
        verifyObject(IHalfCloseableProtocol, channel)

    def test_get(self) -> None:
        """A page comes with its length and type, and the connection stays."""
        transport = self.ask(GET)
        head, _, body = transport.value().partition(b"\r\n\r\n")
        self.assertEqual(body, b"hello\n")
        lines = head.split(b"\r\n")
        self.assertEqual(lines[0], b"HTTP/1.1 200 OK")
        for line in (
            b"Content-Length: 6",
            b"Content-Type: text/plain; charset=utf-8",
            b"Server: socketd",
            b"Cache-Control: no-store",
        ):
            self.assertIn(line, lines)
        self.assertFalse(transport.is_closed)

    def test_head(self) -> None:
        """HEAD gets the same without the body."""
        got, head = self.ask(GET).value(), self.ask(GET.replace(b"GET", b"HEAD")).value()
        self.assertEqual(head, got.removesuffix(b"hello\n"))

    def test_byte_by_byte(self) -> None:
        """However a request is cut, the answer is the same."""
        pieces = [GET[index : index + 1] for index in range(len(GET))]
        self.assertEqual(self.ask(*pieces).value(), self.ask(GET).value())

    def test_http_1_0(self) -> None:
        """HTTP/1.0 is answered in kind, without Host, and closed."""
        transport = self.ask(b"GET /page HTTP/1.0\r\n\r\n")
        self.assertTrue(transport.value().startswith(b"HTTP/1.0 200 OK\r\n"))
        self.assertTrue(transport.value().endswith(b"hello\n"))
        self.assertTrue(transport.is_closed)

    def test_close(self) -> None:
        """A connection is closed when the client asks for that."""
        transport = self.ask(b"GET /page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self.assertEqual((self.statuses(transport), transport.is_closed), ([200], True))

    def test_targets(self) -> None:
        """A query is ignored, a whole URL is taken; any other path is not there."""
        for target, status in (
            (b"/page?x=1", 200),
            (b"http://x/page", 200),
            (b"/", 404),
            (b"/page/", 404),
            (b"/../page", 404),
            (b"//page", 404),
            (b"/%70age", 404),
            (b"page", 404),
            (b"http://x", 404),
            (b"*", 404),
        ):
            transport = self.ask(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target)
            self.assertEqual(self.statuses(transport), [status], target)

    def test_methods(self) -> None:
        """Other methods are not allowed, and the answer says which are."""
        for method in (b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"X"):
            transport = self.ask(GET.replace(b"GET", method))
            self.assertEqual(self.statuses(transport), [405], method)
            self.assertIn(b"\r\nAllow: GET, HEAD\r\n", transport.value())
        self.assertEqual(self.made, 0)

    def test_no_host(self) -> None:
        """HTTP/1.1 without Host is refused."""
        self.assertEqual(self.statuses(self.ask(b"GET /page HTTP/1.1\r\n\r\n")), [400])

    def test_pipelining(self) -> None:
        """Requests behind each other are answered in their order."""
        other = GET.replace(b"/page", b"/other")
        transport = self.ask(GET + other + GET[:20], GET[20:] + other)
        self.assertEqual(self.statuses(transport), [200, 404, 200, 404])

    def test_body(self) -> None:
        """A body is refused, not read."""
        for header in (b"Content-Length: 200000", b"Transfer-Encoding: chunked"):
            request = b"POST /page HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % header
            transport = self.ask(request, b"5\r\nhello\r\n" * 100)
            self.assertEqual(self.statuses(transport), [413], header)
            self.assertTrue(transport.is_closed)

    def test_half_close(self) -> None:
        """A client that has shut down its writing side gets its answer, and the end."""
        channel, transport = self.connect()
        channel.dataReceived(GET)
        channel.readConnectionLost()
        self.assertEqual((self.statuses(transport), transport.is_closed), ([200], True))
        channel.writeConnectionLost()


class HostileTests(Case):
    """Tests for clients that ask for too much."""

    def test_long_line(self) -> None:
        """A line that is too long is refused, with or without its end."""
        for request in (b"GET /" + b"x" * MAX_LINE, b"GET /" + b"x" * MAX_LINE + b" HTTP/1.1\r\n"):
            transport = self.ask(request)
            self.assertEqual((self.statuses(transport), transport.is_closed), ([400], True))
            # A transport with a producer would wait for it.
            self.assertIdentical(transport.producer, None)

    def test_headers(self) -> None:
        """
        So do too many headers, and headers that are too long together; just enough is
        served.
        """
        line = b"A: b\r\n"
        start = GET.removesuffix(b"\r\n")
        fits = self.ask(start + line * (MAX_HEADERS - 1) + b"\r\n")
        self.assertEqual(self.statuses(fits), [200])
        for more in (line * MAX_HEADERS, (b"A: " + b"b" * 1000 + b"\r\n") * 9):
            transport = self.ask(start + more + b"\r\n")
            self.assertEqual(set(self.statuses(transport)), {400})
            self.assertTrue(transport.is_closed)

    def test_endless_header(self) -> None:
        """A header that is continued without end does not grow the memory without end."""
        channel, transport = self.connect()
        sent = 0
        channel.dataReceived(GET.removesuffix(b"\r\n"))
        while not transport.is_closed and sent < 10 * MAX_HEADER_BYTES:
            channel.dataReceived(b" continued\r\n")
            sent += 12
        self.assertTrue(sent <= MAX_HEADER_BYTES * 2, sent)

    def test_garbage(self) -> None:
        """Whatever comes, nothing is raised, no page is made, and the log stays empty."""
        random = Random(20261121)
        words = [b"GET", b" ", b"/page", b"\r\n", b"\n", b":", b"\0", b"\xff", b"HTTP/9.9", b"%"]
        for _ in range(500):
            pieces = [random.choice(words) for _ in range(random.randrange(40))]
            self.ask(*pieces)
            self.ask(random.randbytes(random.randrange(300)))
        self.assertEqual(self.made, 0)

    def test_foreign(self) -> None:
        """What is another protocol is told that it asks badly, and closed."""
        for data in (
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"SSH-2.0-OpenSSH\r\n",
            b"GET /page\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\r\n",
        ):
            transport = self.ask(data)
            self.assertEqual((self.statuses(transport), transport.is_closed), ([400], True), data)

    def test_many_requests(self) -> None:
        """A connection ends with the last request that it may make."""
        transport = self.ask(GET * (MAX_REQUESTS + 50))
        self.assertEqual(self.statuses(transport), [200] * MAX_REQUESTS)
        self.assertTrue(transport.is_closed)
        self.assertEqual(transport.value().count(b"\r\nConnection: close\r\n"), 1)


class TimeTests(Case):
    """Tests for clients that take their time."""

    def test_silent(self) -> None:
        """Who says nothing is reset."""
        _, transport = self.connect()
        self.clock.advance(REQUEST_TIMEOUT - 0.1)
        self.assertFalse(transport.is_reset)
        self.clock.advance(0.1)
        self.assertTrue(transport.is_reset)

    def test_slow(self) -> None:
        """A request has to be there in time: a byte now and then does not help."""
        channel, transport = self.connect()
        self.clock.advance(1)
        for index in range(10):
            self.assertFalse(transport.is_reset)
            channel.dataReceived(GET[index : index + 1])
            self.clock.advance(REQUEST_TIMEOUT / 10)
        self.assertTrue(transport.is_reset)

    def test_between(self) -> None:
        """Between two requests there is more time, and for each one as much as for the first."""
        channel, transport = self.connect()
        for _ in range(3):
            channel.dataReceived(GET[:5])
            self.clock.advance(REQUEST_TIMEOUT - 0.1)
            channel.dataReceived(GET[5:])
            self.clock.advance(IDLE_TIMEOUT - 0.1)
        self.assertEqual((self.statuses(transport), transport.is_reset), ([200] * 3, False))
        self.clock.advance(0.1)
        self.assertTrue(transport.is_reset)

    def test_end(self) -> None:
        """A connection that has ended leaves no timer, at whatever point."""
        for data in (b"", GET[:5], GET, GET + GET[:5], b"x\r\n"):
            channel, _ = self.connect()
            channel.dataReceived(data)
            channel.connectionLost(Failure(ConnectionDone()))
            self.assertEqual(self.clock.getDelayedCalls(), [], data)

    def test_oldest_goes(self) -> None:
        """
        One connection too many resets the oldest, so that a scraper gets in among
        those that hold on to theirs; who has gone does not count.
        """
        made = [self.connect() for _ in range(MAX_CONNECTIONS)]
        made[5][0].connectionLost(Failure(ConnectionDone()))
        self.connect()
        self.assertFalse(any(transport.is_reset for _, transport in made))
        self.connect()
        self.connect()
        self.assertEqual([transport.is_reset for _, transport in made[:3]], [True, True, False])
