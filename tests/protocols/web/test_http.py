"""Tests for L{socketd.protocols.web.http}: connections and their requests."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.internet.testing import StringTransport
from zope.interface.verify import verifyObject

from socketd.common.events import REQUEST
from socketd.protocols.spec import IDrainable
from socketd.protocols.web.asked import Asked
from socketd.protocols.web.channel import BATCH, MAX_AHEAD, Channel
from socketd.protocols.web.head import MAX_HEADERS
from socketd.protocols.web.options import FixedResponse, HttpOptions
from tests.protocols.fakes import context, make_stream
from tests.protocols.feeding import outcomes
from tests.protocols.web.client import GET, WebCase, request, responses
from tests.protocols.web.frames import HANDSHAKE

PAGE: dict[str, Any] = {"response": FixedResponse(b"hello\n", "text/plain; charset=utf-8")}


class RequestTests(WebCase):
    """Tests for requests that are answered."""

    def test_interfaces(self) -> None:
        """It is a protocol that knows half-closed connections."""
        channel = self.connect().channel
        verifyObject(IProtocol, channel)
        verifyObject(IHalfCloseableProtocol, channel)

    def test_told(self) -> None:
        """Any method and path is answered with what was asked, and the address of the client."""
        sent = request("/a/b?x=1&x=&y=%20", "PATCH", b'{"k": [1.5]}', X_cASE="v")
        told = self.ask(sent).json
        self.assertEqual(told, {
            "method": "PATCH",
            "path": "/a/b",
            "query": {"x": ["1", ""], "y": [" "]},
            "version": "HTTP/1.1",
            "headers": [["Host", "x"], ["X-cASE", "v"], ["Content-Length", "12"]],
            "body": '{"k": [1.5]}',
            "body_base64": None,
            "form": None,
            "files": None,
            "json": {"k": [1.5]},
            "forwarded": None,
            "service": "web",
            "transport": "tcp",
            "peer": {"address": "192.168.1.1", "port": 54321},
            "local": {"address": "10.0.0.1", "port": 12345},
            "proxy": None,
            "tls": None,
            "host": told["host"],
            "time": "2001-09-09T01:46:40.000Z",
            "connection": 1,
            "request": 1,
        })
        self.assertTrue(told["host"])

    def test_no_host_name(self) -> None:
        """The machine's name is told only where it may be."""
        self.assertIsNone(self.ask(request(), hostname=False).json["host"])

    def test_headers_of_answer(self) -> None:
        """An answer has what HTTP wants of it, and is taken for nothing but JSON."""
        response = self.get("/")
        length = str(len(response.body))
        self.assertEqual(response.headers, {
            "Server": "socketd",
            "Date": "Sun, 09 Sep 2001 01:46:40 GMT",
            "Content-Type": "application/json",
            "X-Content-Type-Options": "nosniff",
            "Content-Length": length,
        })

    def test_as_text(self) -> None:
        """Who prefers text gets the facts as lines, and the request as it came."""
        sent = request("/x", "PUT", b"body", Accept="text/plain", X_y="1 ")
        response = self.ask(sent, hostname=False)
        self.assertEqual(response.headers["Content-Type"], "text/plain; charset=utf-8")
        self.assertEqual(response.body.decode(), (
            "service: web\ntransport: tcp\npeer: 192.168.1.1 54321\nlocal: 10.0.0.1 12345\n"
            "time: 2001-09-09T01:46:40.000Z\nconnection: 1\nrequest: 1\n\n"
            "PUT /x HTTP/1.1\nHost: x\nAccept: text/plain\nX-y: 1 \nContent-Length: 4\n\nbody"
        ))

    def test_fixed_response(self) -> None:
        """With C{response} each path but that of the health check has that answer."""
        for target in ("/", "/status/404", "/x?y"):
            response = self.ask(request(target), **PAGE)
            self.assertEqual((response.status, response.body), (200, b"hello\n"))
            self.assertEqual(response.headers["Content-Type"], "text/plain; charset=utf-8")
        health = self.ask(request("/healthz"), health="/healthz", **PAGE)
        self.assertEqual((health.status, health.body), (200, b"ok\n"))

    def test_head(self) -> None:
        """HEAD has the headers of GET, and no body, whatever is asked for."""
        for target in ("/", "/bytes/5", "/bytes/99999", "/stream/2", "/status/404", "/drip"):
            connection = self.connect()
            connection.send(request(target, "HEAD"))
            (head,) = connection.taken("HEAD")
            self.assertEqual((head.body, self.clock.getDelayedCalls()), (b"", []), target)
        self.assertEqual(head.headers["Content-Length"], "10")

    def test_pieces(self) -> None:
        """Wherever the pieces of a pipeline end, each request is answered, in order."""
        sent = request("/") + request("/y", "POST", b"abc") + b"\r\n" + request("/z")
        (outcome,) = outcomes(lambda: make_stream("http", hostname=False, **PAGE), sent)
        self.assertEqual([one.body for one in responses(outcome.sent)], [b"hello\n"] * 3)
        self.assertFalse(outcome.closed)

    def test_line_feeds(self) -> None:
        """Lines may end without a carriage return, as those that a person types."""
        told = self.ask(b"POST /a HTTP/1.1\nHost: x\nContent-Length: 2\n\nhi").json
        self.assertEqual((told["path"], told["body"]), ("/a", "hi"))
        connection = self.connect()
        connection.send(b"GET /1 HTTP/1.1\nHost: x\n\nGET /2 HTTP/1.1\nHost: x\r\n\r\n")
        self.assertEqual([one.json["path"] for one in connection.taken()], ["/1", "/2"])

    def test_chunked(self) -> None:
        """A body may be chunked; what follows it is the next request."""
        head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection = self.connect()
        connection.send(head + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: 1\r\n\r\n" + request())
        told = [one.json for one in connection.taken()]
        self.assertEqual([one["body"] for one in told], ["abcde", ""])
        self.assertEqual([one["request"] for one in told], [1, 2])

    def test_continue(self) -> None:
        """A client that waits with its body is asked for it, unless it is too long."""
        connection = self.connect(max_body=5)
        head, body = request("/", "PUT", b"12345", Expect="100-continue"), b"12345"
        connection.send(head.removesuffix(body))
        self.assertEqual(connection.wire.taken(), b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.send(body)
        self.assertEqual(connection.taken()[0].json["body"], "12345")
        connection.send(request("/", "PUT", b"123456", Expect="100-continue")[:-6])
        self.assertEqual([one.status for one in connection.taken()], [413])

    def test_utf8_target(self) -> None:
        """A target may have bytes beyond ASCII, as some clients send them."""
        told = self.ask("GET /\xe9?q=\xe9 HTTP/1.1\r\nHost: x\r\n\r\n".encode()).json
        self.assertEqual((told["path"], told["query"]), ("/%C3%A9", {"q": ["\xe9"]}))

    def test_folded_header(self) -> None:
        """A header on two lines is one (RFC 9112, 5.2)."""
        told = self.ask(GET + b"X: a\r\n  b\r\n\r\n").json
        self.assertIn(["X", "a b"], told["headers"])

    def test_large_body(self) -> None:
        """A body of just C{max_body} bytes is taken, and one that is no text is told as base64."""
        told = self.ask(request("/", "POST", b"\xff\0\xfe"), max_body=3).json
        self.assertEqual((told["body"], told["body_base64"]), (None, "/wD+"))


class ConnectionTests(WebCase):
    """Tests for connections with several requests."""

    def test_persistent(self) -> None:
        """HTTP/1.1 goes on unless told not to, HTTP/1.0 only if it asks for it."""
        for version, field, ends in (
            (b"1.1", b"", False),
            (b"1.1", b"Connection: Keep-Alive, Close\r\n", True),
            (b"1.0", b"", True),
            (b"1.0", b"Connection: keep-alive\r\n", False),
            (b"1.2", b"", False),
        ):
            connection = self.connect()
            connection.send(b"GET / HTTP/%b\r\nHost: x\r\n%b\r\n" % (version, field))
            (response,) = connection.taken()
            expected = "close" if ends else "keep-alive" if version == b"1.0" else None
            self.assertEqual(response.headers.get("Connection"), expected, field)
            self.assertEqual(connection.wire.disconnecting, ends, field)

    def test_most_requests(self) -> None:
        """The last request that a connection may have is told so."""
        connection = self.connect(max_requests=2)
        connection.send(request() * 3)
        ends = [one.headers.get("Connection") for one in connection.taken()]
        self.assertEqual((ends, connection.wire.disconnecting), ([None, "close"], True))

    def test_end(self) -> None:
        """After the peer's end all it asked for is still answered, and then it is closed."""
        connection = self.connect()
        connection.channel.dataReceived(request() * (BATCH + 2) + request("/delay/1"))
        connection.channel.readConnectionLost()
        self.assertFalse(connection.wire.disconnecting)
        self.clock.advance(0)
        self.assertFalse(connection.wire.disconnecting)
        self.clock.advance(1)
        self.assertEqual(len(connection.taken()), BATCH + 3)
        self.assertTrue(connection.wire.disconnecting)

    def test_end_between(self) -> None:
        """A connection on which nothing is asked is closed at its end."""
        for sent in (b"", request(), b"\r\n"):
            connection = self.connect()
            connection.send(sent)
            connection.channel.readConnectionLost()
            self.assertTrue(connection.wire.disconnecting)

    def test_turns(self) -> None:
        """A long pipeline is answered in several turns, so that others are served."""
        connection = self.connect()
        connection.channel.dataReceived(request() * (3 * BATCH))
        self.assertEqual(len(connection.taken()), BATCH)
        self.clock.advance(0)
        self.assertEqual(len(connection.taken()), 2 * BATCH)

    def test_waiting_pipeline(self) -> None:
        """What follows a request that takes time waits, and is read only up to a limit."""
        connection = self.connect()
        connection.send(request("/delay/2"), GET[:9], GET[9:] + b"Content-Length: ")
        self.assertEqual((connection.taken(), connection.wire.paused), ([], False))
        connection.send(b"%d\r\n\r\n" % (MAX_AHEAD + 1) + b"x" * MAX_AHEAD)
        self.assertTrue(connection.wire.paused)
        self.clock.advance(2)
        self.assertFalse(connection.wire.paused)
        self.assertEqual([one.json["path"] for one in connection.taken()], ["/delay/2"])
        connection.send(b"x")
        self.assertEqual([one.json["request"] for one in connection.taken()], [2])

    def test_slow_reader(self) -> None:
        """While the peer does not read, no further request is answered."""
        connection = self.connect(**PAGE)
        connection.send(request())
        connection.channel.pauseProducing()
        connection.send(request() * 2)
        self.assertEqual(len(connection.taken()), 1)
        connection.channel.resumeProducing()
        self.assertEqual(len(connection.taken()), 2)

    def test_lost_while_answering(self) -> None:
        """A connection that is lost leaves no timer, whatever was to be sent."""
        for target in ("/delay/5", "/drip", "/bytes/999999"):
            connection = self.connect()
            connection.channel.dataReceived(request(target) + request() + GET)
            connection.lose()
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_log_of_twisted(self) -> None:
        """Twisted writes no line of its own for a request."""
        self.assertIsNone(self.connect().channel.factory)


class DrainTests(WebCase):
    """Tests for a daemon that stops."""

    def test_idle(self) -> None:
        """A connection on which no request waits for its answer is closed."""
        for sent in (b"", request(), GET):
            connection = self.connect()
            connection.send(sent)
            verifyObject(IDrainable, connection.channel)
            connection.channel.drain()
            self.assertTrue(connection.wire.disconnecting, sent)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_answering(self) -> None:
        """An answer that is being made is finished, says that it is the last, and is."""
        for target, length in (("/delay/2", 0), ("/drip?delay=1&duration=1&numbytes=4", 4)):
            connection = self.connect()
            connection.send(request(target) + request("/next"))
            connection.channel.drain()
            self.assertFalse(connection.wire.disconnecting)
            self.clock.pump([0.25] * 8)
            (response,) = connection.taken()
            self.assertEqual(response.headers["Connection"], "close")
            self.assertEqual(response.headers["Content-Length"], str(length or len(response.body)))
            self.assertTrue(connection.wire.disconnecting)

    def test_long(self) -> None:
        """So is one that is on its way, while the peer reads it."""
        connection = self.connect()
        connection.channel.dataReceived(request("/bytes/300000"))
        connection.channel.pauseProducing()
        connection.channel.drain()
        self.clock.advance(5)
        self.assertFalse(connection.wire.disconnecting)
        connection.channel.resumeProducing()
        self.clock.pump([0] * 9)
        (response,) = connection.taken()
        self.assertEqual((len(response.body), connection.wire.disconnecting), (300_000, True))

    def test_body(self) -> None:
        """A request whose body is on its way is answered."""
        connection = self.connect()
        connection.send(request("/", "POST", b"abc")[:-1])
        connection.channel.drain()
        self.assertFalse(connection.wire.disconnecting)
        connection.send(b"c")
        (response,) = connection.taken()
        self.assertEqual((response.json["body"], response.headers["Connection"]), ("abc", "close"))
        self.assertTrue(connection.wire.disconnecting)


class ElsewhereTests(WebCase):
    """Tests for a daemon that accepts no more, and sends its clients elsewhere."""

    def test_last(self) -> None:
        """The next answer is the last one, and says so; what follows is not answered."""
        connection = self.connect()
        connection.send(request("/a"))
        self.assertNotIn("Connection", connection.taken()[0].headers)
        connection.record.draining = True
        self.assertFalse(connection.wire.disconnecting)
        connection.send(request("/b") + request("/c"))
        (response,) = connection.taken()
        self.assertEqual((response.json["path"], response.headers["Connection"]), ("/b", "close"))
        self.assertTrue(connection.wire.disconnecting)

    def test_begun(self) -> None:
        """So is one that had begun to wait before."""
        connection = self.connect()
        connection.send(request("/delay/2"))
        connection.record.draining = True
        self.clock.advance(2)
        (response,) = connection.taken()
        self.assertEqual(response.headers["Connection"], "close")
        self.assertTrue(connection.wire.disconnecting)

    def test_undone(self) -> None:
        """After C{resume} connections are kept again."""
        connection = self.connect()
        connection.record.draining = True
        connection.record.draining = False
        connection.send(request("/a"), request("/b"))
        self.assertEqual(len(connection.taken()), 2)

    def test_websocket(self) -> None:
        """A connection that becomes one of WebSocket goes on as that."""
        connection = self.connect()
        connection.record.draining = True
        connection.send(request("/", "GET", None, **HANDSHAKE))
        head, _, _ = connection.wire.taken().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 101 "))
        self.assertNotIn(b"Connection: close", head)
        self.assertFalse(connection.wire.disconnecting)


class BadRequestTests(WebCase):
    """Tests for requests that are wrong: the status says how, and it is counted."""

    def check(self, sent: bytes, status: int, reason: str, **options: int) -> bytes:
        """Send a request, and expect a status with a line of text, and the end."""
        connection = self.connect(**options)
        connection.send(sent)
        (response,) = connection.taken()
        self.assertEqual((response.status, response.headers["Connection"]), (status, "close"))
        self.assertEqual(connection.record.counters.bad_requests, {reason: 1})
        self.assertEqual(connection.record.counters.responses, {f"{status // 100}xx": 1})
        self.assertTrue(connection.wire.disconnecting)
        connection.channel.dataReceived(request())
        self.assertEqual(connection.wire.taken(), b"")
        return response.body

    def test_syntax(self) -> None:
        """What is not HTTP is answered 400, at the first line that is not."""
        for sent in (
            b"\x16\x03\x01\n\n",
            b"GET /\r\n\r\n",
            b"GET / x HTTP/1.1\r\n\r\n",
            b"GET  / HTTP/1.1\r\n\r\n",
            b" / HTTP/1.1\r\n\r\n",
            b"G\xc3T / HTTP/1.1\r\n\r\n",
            b"GET /\x01 HTTP/1.1\r\n\r\n",
            b"GET / http/1.1\r\n\r\n",
            GET + b"no colon\r\n\r\n",
            GET + b"Space : x\r\n\r\n",
            GET + b"Nul: \0\r\n\r\n",
            GET + b"CR: a\rb\r\nY: z\r\n\r\n",
            b"GET / HTTP/1.1\r\n folded: x\r\nHost: x\r\n\r\n",
            GET + b"Content-Length: +5\r\n\r\n",
            GET + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            GET + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            GET + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        ):
            self.check(sent, 400, "syntax")

    def test_host(self) -> None:
        """HTTP/1.1 wants one Host (RFC 9112, 3.2)."""
        self.check(b"GET / HTTP/1.1\r\n\r\n", 400, "host")
        self.check(GET + b"host: y\r\n\r\n", 400, "host")
        self.assertEqual(self.ask(b"GET / HTTP/1.0\r\n\r\n").status, 200)

    def test_version(self) -> None:
        """Another version is answered 505, HTTP/2 without TLS too."""
        self.check(b"GET / HTTP/3.0\r\n\r\n", 505, "version")
        self.check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version")

    def test_long_head(self) -> None:
        """Too long headers are answered 431, a too long target 414; just fitting ones 200."""
        limit = 1024
        for sent in (request(X="y" * limit), request("/" + "x" * limit), b"x" * (limit + 1)):
            is_target = b"\n" not in sent[:limit]
            status, reason = (414, "target_size") if is_target else (431, "header_size")
            text = self.check(sent, status, reason, max_header=limit)
            self.assertIn(b"up to 1024 bytes", text)
            connection = self.connect(max_header=limit)
            connection.send(*(bytes([one]) for one in sent))
            self.assertEqual([one.status for one in connection.taken()], [status])
        fits = request(X="y" * (limit - len(request(X=""))))
        self.assertEqual(self.ask(fits, max_header=limit).status, 200)

    def test_many_headers(self) -> None:
        """So are too many headers."""
        self.check(GET + b"X: y\r\n" * MAX_HEADERS + b"\r\n", 431, "header_size")
        self.assertEqual(self.ask(GET + b"X: y\r\n" * (MAX_HEADERS - 1) + b"\r\n").status, 200)

    def test_long_body(self) -> None:
        """A body that is too long is answered 413, as soon as that is known."""
        for length in (b"6", b"9" * 15, b"9" * 5000):
            self.check(GET + b"Content-Length: %b\r\n\r\n" % length, 413, "body_size", max_body=5)
        chunked = GET + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n"
        self.check(chunked + b"3\r\nghi\r\n0\r\n\r\n", 413, "body_size", max_body=5)
        told = self.ask(chunked + b"0\r\n\r\n", max_body=6).json
        self.assertEqual(told["body"], "abcdef")

    def test_unknown(self) -> None:
        """What this server cannot do is answered 501 or 417."""
        self.check(GET + b"Transfer-Encoding: gzip\r\n\r\n", 501, "encoding")
        self.check(GET + b"Expect: a miracle\r\n\r\n", 417, "expectation")
        self.check(b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", 501, "method")

    def test_incomplete(self) -> None:
        """A request that ends too early is told so."""
        for sent in (b"GET / HTTP/1.0\r\n", request("/", "POST", b"abc")[:-1]):
            connection = self.connect()
            connection.send(sent)
            connection.channel.readConnectionLost()
            self.assertEqual([one.status for one in connection.taken()], [400])
            self.assertEqual(connection.record.counters.bad_requests, {"incomplete": 1})

    def test_slow(self) -> None:
        """A request that takes too long is answered 408, however busy it is."""
        for sent in (b"GET / HTTP/1.1\r\nX: ", request("/", "POST", bytes(99))[:-99]):
            connection = self.connect(request_timeout=10.0)
            connection.send(request(), sent)
            self.assertEqual(len(connection.taken()), 1)
            for _ in range(9):
                self.clock.advance(1)
                connection.send(b"x")
            self.assertEqual(connection.taken(), [])
            self.clock.advance(1)
            self.assertEqual([one.status for one in connection.taken()], [408])
            self.assertEqual(connection.record.counters.bad_requests, {"timeout": 1})
            self.assertTrue(connection.wire.disconnecting)

    def test_slow_but_complete(self) -> None:
        """Each request has the time, and between them none is needed."""
        connection = self.connect(request_timeout=10.0)
        for _ in range(3):
            connection.send(GET)
            self.clock.advance(9)
            connection.send(b"\r\n")
            self.clock.advance(100)
        self.assertEqual(len(connection.taken()), 3)


class RecordTests(WebCase):
    """Tests for what is counted and logged."""

    def test_counted(self) -> None:
        """Answers are counted by the class of their status."""
        connection = self.connect(health="/h")
        for target in ("/", "/h", "/status/404", "/redirect/1", "/status/503", "/bytes/x"):
            connection.send(request(target))
        expected = {"2xx": 2, "3xx": 1, "4xx": 2, "5xx": 1}
        self.assertEqual(connection.record.counters.responses, expected)
        self.assertEqual(connection.record.counters.bad_requests, {"argument": 1})

    def test_event(self) -> None:
        """Each request is an event with its line and status, but a health check is none."""
        connection = self.connect(health="/h")
        connection.send(request("/a\u202e"), request("/h"), b"what?\n\n")
        facts = {"peer": connection.wire.peer, "connection": 1}
        self.assertEqual(connection.record.events, [
            (REQUEST, True, {"request": "GET /a\\u202e HTTP/1.1", "status": 200, **facts}),
            (REQUEST, True, {"request": "what?", "status": 400, **facts}),
        ])

    def test_not_announced(self) -> None:
        """Where connections are neither logged nor watched, requests are no events."""
        connection = self.connect()
        connection.record.announced = False
        connection.send(request())
        self.assertEqual((connection.record.events, len(connection.taken())), ([], 1))


class ProducerTests(WebCase):
    """Tests for long answers."""

    def test_long_answer(self) -> None:
        """A long answer is sent while the peer reads it, and no more is kept."""
        connection = self.connect()
        connection.channel.dataReceived(request("/bytes/1000000?seed=1"))
        connection.channel.pauseProducing()
        sent = len(connection.wire.value())
        self.clock.advance(100)
        self.assertEqual(len(connection.wire.value()), sent)
        self.assertLess(sent, 200_000)
        connection.channel.resumeProducing()
        self.clock.pump([0] * 30)
        (response,) = connection.taken()
        self.assertEqual(len(response.body), 1_000_000)
        self.assertEqual(response, self.whole("/bytes/1000000?seed=1"))

    def test_full_buffer(self) -> None:
        """What fills the transport's buffer stops it; to go on once more changes nothing."""
        connection = self.connect()
        wire, channel = connection.wire, connection.channel
        written: list[bytes] = []

        def write(data: bytes) -> None:
            written.append(data)
            if len(written) == 2:
                channel.pauseProducing()

        self.patch(wire, "write", write)
        channel.dataReceived(request("/bytes/100000"))
        self.clock.advance(1)
        self.assertEqual(len(written), 2)
        channel.resumeProducing()
        channel.resumeProducing()
        self.clock.pump([0] * 5)
        body = b"".join(written).partition(b"\r\n\r\n")[2]
        self.assertEqual(len(body), 100_000)

    def test_no_answers(self) -> None:
        """A connection of no protocol has no answers."""
        channel = Channel(HttpOptions(), context())
        self.assertRaises(NotImplementedError, channel.answer, Asked("GET", "/"))

    def whole(self, target: str) -> object:
        """Ask for a path, and wait for the end."""
        connection = self.connect()
        connection.send(request(target))
        self.clock.pump([0] * 30)
        return connection.taken()[0]

    def test_pull_of_transport(self) -> None:
        """The connection's own transport decides how much is sent."""
        channel, transport = make_stream("http"), StringTransport()
        channel.makeConnection(transport)
        self.assertIs(transport.producer, channel)
        self.assertTrue(transport.streaming)

    def test_stream_to_old_client(self) -> None:
        """HTTP/1.0 has no chunks: the end of the connection ends the answer."""
        connection = self.connect()
        connection.send(b"GET /stream/2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        (response,) = connection.taken()
        self.assertEqual(response.headers["Connection"], "close")
        self.assertEqual(len(response.body.splitlines()), 2)
        self.assertTrue(connection.wire.disconnecting)
