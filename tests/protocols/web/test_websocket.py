"""Tests for L{socketd.protocols.web.websocket}."""

from __future__ import annotations

import tracemalloc
import zlib
from typing import Any

from wsproto.connection import SERVER
from wsproto.connection import Connection as Protocol
from zope.interface.verify import verifyObject

from socketd.protocols.registry import installed
from socketd.protocols.rules.options import parse_rules
from socketd.protocols.spec import IDrainable, IFarewell
from socketd.protocols.web.message_socket import BATCH, MessageSocket
from socketd.protocols.web.options import WebSocketOptions
from socketd.settings.diagnostics import SettingsError
from socketd.settings.load import parse
from tests.protocols.web.autobahn import Case, cases, chopped, code_of, deflate, inflate
from tests.protocols.web.client import SOON, Connection, Response, WebCase, request, responses
from tests.protocols.web.frames import (
    ACCEPT,
    BINARY,
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    Frame,
    Frames,
    close,
    fragments,
    frame,
)

#: The section whose messages are too large here; L{tests.interop.with_websocket} has them.
LARGE = "9"


class WebSocket(Connection):
    """A connection that speaks WebSocket."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        fields = options.pop("fields", {})
        super().__init__(*arguments, **options)
        self.frames = Frames()
        self.send(request("/chat", "GET", None, **(HANDSHAKE | fields)))
        head, end, rest = self.wire.taken().partition(b"\r\n\r\n")
        (self.response,) = responses(head + end, "HEAD")
        self.rest = rest

    def received(self) -> list[Frame]:
        """Take the frames that were sent since the last time."""
        return list(self.frames.feed(self.wire.taken()))


class WebSocketCase(WebCase):
    """A service that speaks WebSocket."""

    def open(self, **options: Any) -> WebSocket:
        """Open a connection, which leaves no timer when it is lost."""
        connection = self.lost_at_last(WebSocket(self.clock, **options))
        self.assertEqual(connection.response.status, 101, connection.response)
        return connection


class HandshakeTests(WebSocketCase):
    """Tests for requests for WebSocket (RFC 6455, 4.2)."""

    def refused(self, method: str = "GET", name: str = "http", **fields: str) -> Response:
        """Ask for it wrongly, and expect that the connection goes on with HTTP."""
        connection = self.connect(name=name)
        connection.send(request("/", method, None, **(HANDSHAKE | fields)), request("/"))
        response, _ = connection.taken()
        return response

    def test_accepted(self) -> None:
        """The answer to the key of the RFC is that of the RFC, at any path."""
        connection = self.open()
        headers = connection.response.headers
        self.assertEqual(headers["Sec-WebSocket-Accept"], ACCEPT)
        self.assertEqual((headers["Upgrade"], headers["Connection"]), ("websocket", "Upgrade"))
        self.assertEqual(headers.keys() & {"Content-Length", "Sec-WebSocket-Protocol"}, set())
        self.assertEqual(connection.record.counters.responses, {"1xx": 1})
        self.assertEqual(connection.record.events[0][2]["status"], 101)

    def test_alone(self) -> None:
        """C{websocket} speaks it and nothing else, but for a health check."""
        connection = self.open(name="websocket")
        connection.send(frame(TEXT, b"hello"))
        self.assertEqual(connection.received(), [Frame(TEXT, b"hello")])
        response = self.ask(request("/"), name="websocket")
        self.assertEqual((response.status, response.headers["Upgrade"]), (426, "websocket"))
        healthy = self.ask(request("/h"), name="websocket", health="/h")
        self.assertEqual((healthy.status, healthy.body), (200, b"ok\n"))

    def test_early_frames(self) -> None:
        """A frame that comes with the request is served."""
        connection = self.connect()
        connection.send(request("/", "GET", None, **HANDSHAKE) + frame(TEXT, b"early"))
        self.assertEqual(connection.wire.taken().partition(b"\r\n\r\n")[2], b"\x81\x05early")

    def test_after_requests(self) -> None:
        """Other requests may come first, and one that waits is answered first."""
        connection = self.connect()
        asking = request("/", "GET", None, **HANDSHAKE)
        connection.channel.dataReceived(request("/delay/1") + asking)
        connection.channel.dataReceived(frame(PING))
        self.clock.advance(1)
        found = connection.wire.taken().split(b"HTTP/1.1 ")
        self.assertEqual([one[:3] for one in found], [b"", b"200", b"101"])
        self.assertTrue(found[2].endswith(b"\r\n\r\n\x8a\0"))

    def test_last_request(self) -> None:
        """It may be the last request that a connection may have."""
        self.assertNotIn("close", self.open(max_requests=1).response.headers["Connection"])

    def test_refused(self) -> None:
        """What is not written as it should be is refused, and says what would be right."""
        for fields, status in (
            ({"Sec_WebSocket_Version": "8"}, 426),
            ({"Sec_WebSocket_Version": "13, 13"}, 426),
            ({"Sec_WebSocket_Key": ""}, 400),
            ({"Sec_WebSocket_Key": "AAAA"}, 400),
            ({"Sec_WebSocket_Key": "!" * 24}, 400),
            ({"Sec_WebSocket_Key": "\xe9" * 24}, 400),
        ):
            response = self.refused(**fields)
            self.assertEqual(response.status, status, fields)
        other = self.refused(Sec_WebSocket_Version="8").headers
        self.assertEqual((other["Sec-WebSocket-Version"], other["Upgrade"]), ("13", "websocket"))
        self.assertEqual(self.refused("POST").status, 400)

    def test_not_asked(self) -> None:
        """What does not ask for it is answered as any request."""
        for fields in ({"Upgrade": "h2c"}, {"Connection": "keep-alive"}, {"Connection": "close"}):
            self.assertEqual(self.get("/", **(HANDSHAKE | fields)).status, 200)
        sent = request("/", "GET", None, **HANDSHAKE).replace(b"HTTP/1.1", b"HTTP/1.0")
        self.assertEqual(self.ask(sent).status, 200)
        asking = request("/", "GET", None, **HANDSHAKE)
        self.assertEqual(self.ask(asking, websocket=False).status, 200)

    def test_origins(self) -> None:
        """With C{origins} pages of others are refused, and who is no page is not."""
        mine = "https://example.org"
        for origin, status in ((mine, 101), ("https://example.com", 403), ("null", 403)):
            found = self.connect(origins=(mine,))
            found.send(request("/", "GET", None, Origin=origin, **HANDSHAKE))
            self.assertTrue(found.wire.taken().startswith(b"HTTP/1.1 %d " % status), origin)
        self.open(origins=(mine,))
        self.open(fields={"Origin": "https://example.com"})

    def test_subprotocols(self) -> None:
        """The first subprotocol of the client's that is known here is agreed on, or none."""
        for offered, agreed in (("a, c, b", "c"), ("a", None), ("B", None)):
            fields = {"Sec_WebSocket_Protocol": offered}
            response = self.open(subprotocols=("b", "c"), fields=fields).response
            self.assertEqual(response.headers.get("Sec-WebSocket-Protocol"), agreed)

    def test_deflate(self) -> None:
        """Compression is agreed on where it is offered as it should be, and allowed."""
        both = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"
        name = "permessage-deflate"
        for offered, agreed in (
            (name, both),
            ("permessage-deflate; client_max_window_bits", f"{both}; client_max_window_bits=15"),
            (f"{name}; server_max_window_bits=10", f"{both}; server_max_window_bits=10"),
            ("permessage-deflate; server_max_window_bits=8, permessage-deflate", both),
            ("permessage-deflate; server_max_window_bits=x", None),
            ("permessage-deflate; server_max_window_bits=8", None),
            ("x-webkit-deflate-frame", None),
        ):
            fields = {"Sec_WebSocket_Extensions": offered}
            response = self.open(fields=fields).response
            self.assertEqual(response.headers.get("Sec-WebSocket-Extensions"), agreed, offered)
            refused = self.open(fields=fields, deflate=False).response
            self.assertNotIn("Sec-WebSocket-Extensions", refused.headers)


class DrainTests(WebSocketCase):
    """Tests for a daemon that stops."""

    def test_goes_away(self) -> None:
        """It closes with 1001, once, also while frames still wait for their turn."""
        for sent in (b"", frame(PING, b"") * (2 * BATCH)):
            connection = self.open()
            socket = connection.wire.protocol
            verifyObject(IDrainable, socket)
            socket.dataReceived(sent)
            socket.drain()
            socket.drain()
            *_, last = found = connection.received()
            self.assertEqual((last.opcode, code_of(last.payload)), (CLOSE, 1001))
            self.assertEqual(len(found), 1 + (BATCH if sent else 0))
            self.assertTrue(connection.wire.disconnecting)
            self.clock.advance(SOON)
            self.assertEqual(connection.received(), [])

    def test_farewell(self) -> None:
        """An operator's close, or that of a deadline, has 1000; no other follows."""
        connection = self.open()
        socket = connection.wire.protocol
        verifyObject(IFarewell, socket)
        socket.say_farewell()
        socket.drain()
        (found,) = connection.received()
        self.assertEqual((found.opcode, code_of(found.payload)), (CLOSE, 1000))
        self.assertTrue(connection.wire.disconnecting)

    def test_delayed(self) -> None:
        """With rules a delayed answer is sent first, and 1001 follows it."""
        rules = parse_rules('"a" -> "late", after 2s\n* -> "?"')
        connection = self.open(name="websocket", rules=rules)
        connection.send(frame(TEXT, b"a"))
        connection.wire.protocol.drain()
        self.assertFalse(connection.wire.disconnecting)
        self.clock.advance(2)
        producer = connection.wire.producer
        assert producer is not None
        producer.resumeProducing()
        late, last = connection.received()
        self.assertEqual((late.payload, code_of(last.payload)), (b"late", 1001))
        self.assertTrue(connection.wire.disconnecting)
        connection = self.open(name="websocket", rules=rules)
        connection.wire.protocol.drain()
        (last,) = connection.received()
        self.assertEqual(code_of(last.payload), 1001)

    def test_while_asking(self) -> None:
        """A request for WebSocket whose body is on its way becomes one that goes away."""
        connection = self.connect()
        connection.send(request("/", "GET", b"abc", **HANDSHAKE)[:-1])
        connection.channel.drain()
        connection.send(b"c")
        head, _, rest = connection.wire.taken().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 101 "))
        (found,) = Frames().feed(rest)
        self.assertEqual((found.opcode, code_of(found.payload)), (CLOSE, 1001))
        self.assertTrue(connection.wire.disconnecting)


class MessageTests(WebSocketCase):
    """Tests for messages, and the bounds that hold for them."""

    def test_too_long(self) -> None:
        """A message that is too long ends the connection with 1009, one that fits does not."""
        for sent in (
            [frame(BINARY, bytes(11))],
            fragments(BINARY, bytes(11), 3),
            [frame(TEXT, "\u20ac\u20ac\u20ac\u20ac".encode())],
            [frame(TEXT, bytes(9), fin=False), frame(CONTINUATION, bytes(9), fin=False)],
        ):
            connection = self.open(max_message=10)
            connection.send(frame(BINARY, bytes(10)), frame(PING, bytes(100)))
            self.assertEqual([one.opcode for one in connection.received()], [BINARY, PONG])
            connection.send(*sent)
            (found,) = connection.received()
            self.assertEqual((found.opcode, code_of(found.payload)), (CLOSE, 1009))
            self.assertIn(b"up to 10 bytes", found.payload)
            self.assertTrue(connection.wire.disconnecting)

    def test_empty_fragments(self) -> None:
        """However many empty frames a message has, nothing is kept of them."""
        connection = self.open()
        connection.send(frame(TEXT, b"a", fin=False))
        empty = frame(CONTINUATION, b"", fin=False) * BATCH
        connection.send(empty)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for _ in range(200):
            connection.send(empty)
        self.assertLess(tracemalloc.get_traced_memory()[0], 30_000)
        connection.send(frame(CONTINUATION, b"b"))
        self.assertEqual(connection.received(), [Frame(TEXT, b"ab")])

    def test_long_deflated(self) -> None:
        """A compressed message may not become too long either, and does not before it is told."""
        fields = {"Sec_WebSocket_Extensions": "permessage-deflate"}
        bomb, empty = deflate(bytes(50_000_000)), b"\0\0\0\xff\xff" * 20_000
        ended = zlib.compressobj(wbits=-15).flush() + bytes(100_000)
        for payload, is_whole in ((bomb, True), (bomb, False), (empty, False), (ended, False)):
            connection = self.open(max_message=1000, fields=fields)
            connection.send(frame(BINARY, payload, is_whole, rsv=4))
            (found,) = connection.received()
            self.assertEqual((found.opcode, code_of(found.payload)), (CLOSE, 1009))

    def test_deflated(self) -> None:
        """Messages that are compressed, some and in fragments too, come back compressed."""
        connection = self.open(fields={"Sec_WebSocket_Extensions": "permessage-deflate"})
        for payload in (b"", b"hello", b"hello", b"x" * 65536):
            whole = deflate(payload)
            connection.send(*fragments(TEXT, whole, max(1, len(whole) // 3), rsv=4))
            connection.send(frame(TEXT, payload), frame(PING, b"p"))
            one, two, pong = connection.received()
            self.assertEqual([inflate(one.payload), inflate(two.payload)], [payload, payload])
            self.assertEqual((one.rsv, two.rsv, pong), (4, 4, Frame(PONG, b"p")))

    def test_wrong_deflated(self) -> None:
        """What is no compressed data ends the connection."""
        connection = self.open(fields={"Sec_WebSocket_Extensions": "permessage-deflate"})
        connection.send(frame(TEXT, b"\xff" * 9, rsv=4))
        (found,) = connection.received()
        self.assertEqual((found.opcode, code_of(found.payload)), (CLOSE, 1007))

    def test_turns(self) -> None:
        """Many small frames are served in several turns; until then nothing more is read."""
        connection = self.open()
        connection.wire.protocol.dataReceived(frame(PING) * (2 * BATCH + 1))
        self.assertEqual(len(connection.received()), BATCH)
        self.assertTrue(connection.wire.paused)
        connection.wire.protocol.dataReceived(frame(TEXT, b"late"))
        self.clock.advance(0)
        found = connection.received()
        self.assertEqual(len(found), BATCH + 2)
        self.assertEqual(found[-1], Frame(TEXT, b"late"))
        self.assertFalse(connection.wire.paused)

    def test_lost_between_turns(self) -> None:
        """A connection that is lost meanwhile is not served further."""
        connection = self.open()
        connection.wire.protocol.dataReceived(frame(PING) * (BATCH + 1))
        connection.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        connection.wire.protocol.dataReceived(frame(PING))
        self.assertEqual(len(connection.received()), BATCH)

    def test_unmasked(self) -> None:
        """A client's frame has to be masked (RFC 6455, 5.1)."""
        connection = self.open()
        connection.send(frame(TEXT, b"x", key=None))
        (found,) = connection.received()
        self.assertEqual((found.opcode, code_of(found.payload)), (CLOSE, 1002))


class RulesTests(WebSocketCase):
    """Tests for messages that are answered by rule."""

    def answers(self, rules: str, *sent: bytes) -> tuple[WebSocket, list[tuple[int, bytes]]]:
        """Send frames to a service with rules."""
        connection = self.open(name="websocket", rules=parse_rules(rules))
        connection.send(*sent)
        return connection, [(one.opcode, one.payload) for one in connection.received()]

    def drained(self, connection: WebSocket) -> list[Frame]:
        """Let the peer read, and with it what produces more for it; take what came."""
        for _ in range(20):
            producer = connection.wire.producer
            if producer is not None and not connection.wire.streaming:
                producer.resumeProducing()
            self.clock.advance(SOON)
        return connection.received()

    def test_answers(self) -> None:
        """Each message is answered by rule: text as text if it can be, binary as binary."""
        rules = '"a" -> "A"\nprefix "b" -> hex ff\n"c" -> ""\n* -> "?"'
        _, found = self.answers(
            rules,
            *(frame(TEXT, b"a"), frame(BINARY, b"a"), frame(TEXT, b"bx"), frame(TEXT, b"c")),
            *(*fragments(TEXT, "\u20ac".encode(), 1), frame(TEXT), frame(PING, b"p")),
        )
        texts = [(TEXT, b"A"), (BINARY, b"A"), (BINARY, b"\xff"), (TEXT, b"?"), (PONG, b"p")]
        self.assertEqual(found, texts)

    def test_close(self) -> None:
        """A rule may close: with its answer and a close frame, and nothing after them."""
        rules = '"bye" -> "so long", close\n* -> "?"'
        connection, found = self.answers(rules, frame(TEXT, b"bye") + frame(TEXT, b"x"))
        self.assertEqual(found, [(TEXT, b"so long"), (CLOSE, b"\x03\xe8")])
        self.assertTrue(connection.wire.disconnecting)

    def test_later(self) -> None:
        """An answer may come later, and the next one behind it; a silence is answered, too."""
        rules = '"a" -> "late", after 2s\nidle 5s -> "still there?"\n* -> "?"'
        connection, found = self.answers(rules, frame(TEXT, b"a"), frame(TEXT, b"b"))
        self.assertEqual(found, [])
        self.clock.advance(2)
        self.assertEqual([one.payload for one in self.drained(connection)], [b"late", b"?"])
        self.clock.advance(5)
        self.assertEqual([one.payload for one in self.drained(connection)], [b"still there?"])
        connection.send(frame(TEXT, b"a"), close())
        self.assertEqual([one.opcode for one in connection.received()], [CLOSE])
        self.clock.advance(9)
        self.assertEqual(connection.received(), [])

    def test_late_close(self) -> None:
        """A rule may close later, or reset."""
        rules = '"a" -> "bye", after 2s, close\n"b" -> reset'
        connection, _ = self.answers(rules, frame(TEXT, b"a"))
        self.clock.advance(2)
        self.assertEqual([one.opcode for one in self.drained(connection)], [TEXT, CLOSE])
        self.assertTrue(connection.wire.disconnecting)
        connection, found = self.answers(rules, frame(TEXT, b"b"))
        self.assertEqual((found, connection.wire.disconnecting), ([], True))

    def test_closed_meanwhile(self) -> None:
        """What waits for its turn as the peer closes is not answered, nor closes again."""
        rules = '"a" -> "A"\n"bye" -> "B", close\n"late" -> silent, after 1s'
        for fields in ({}, {"Sec_WebSocket_Extensions": "permessage-deflate"}):
            connection = self.open(rules=parse_rules(rules), fields=fields)
            sent = frame(TEXT, b"late") + frame(TEXT, b"a") + frame(TEXT, b"bye") + close()
            connection.wire.protocol.dataReceived(sent)
            self.clock.advance(2)
            self.assertEqual([one.opcode for one in self.drained(connection)], [CLOSE])

    def test_nothing_after_close(self) -> None:
        """Once it has closed, no message is sent, and no second close."""
        connection = self.open()
        protocol = connection.wire.protocol
        for _ in range(2):
            protocol.close(1001)
            protocol.send_message(b"late", True)
        self.assertEqual(connection.received(), [Frame(CLOSE, b"\x03\xe9")])

    def test_base(self) -> None:
        """A connection that does nothing with messages has no answers."""
        base = MessageSocket(WebSocketOptions(), Protocol(SERVER), False, self.clock)
        self.assertRaises(NotImplementedError, base.message_received, "x")

    def test_many(self) -> None:
        """However many messages come at once, all are answered in their order."""
        rules = r'/(\d+)/ -> "<\1>"'
        connection, found = self.answers(rules)
        asked = [b"%d" % number for number in range(300)]
        connection.wire.protocol.dataReceived(b"".join(frame(TEXT, one) for one in asked))
        found = [(one.opcode, one.payload) for one in self.drained(connection)]
        self.assertEqual(found, [(TEXT, b"<%b>" % one) for one in asked])

    def test_refused(self) -> None:
        """Rules that take too long for the longest message are complained of."""
        ini = "[websocket]\nlisten = tcp:0\nmax_message = 16MiB\nrules =\n    /a{90}/ -> \"b\"\n"
        error = self.assertRaises(SettingsError, parse, ini, "x.ini", installed(), "/run")
        self.assertIn("too large for messages of 16777216 bytes", str(error))


def shown(one: Frame) -> tuple[int, bytes]:
    """Take a message out of its frame."""
    return one.opcode, inflate(one.payload) if one.rsv else one.payload


class AutobahnTests(WebSocketCase):
    """The cases of L{tests.protocols.web.autobahn} hold."""

    def check(self, case: Case) -> None:
        """Run a case in memory."""
        fields = {"Sec_WebSocket_Extensions": "permessage-deflate"} if case.deflated else {}
        connection, found = self.open(fields=fields, max_message=1 << 24), list[Frame]()
        for index, piece in enumerate(chopped(case)):
            connection.send(piece)
            found += connection.received()
            if case.fails_at is not None and not case.chop:
                self.assertIs(connection.wire.disconnecting, index >= case.fails_at, case.number)
        if not case.codes:
            self.assertFalse(connection.wire.disconnecting, case.number)
            connection.send(close())
            found += connection.received()
        self.assertTrue(connection.wire.disconnecting, case.number)
        last = found.pop()
        self.assertEqual(last.opcode, CLOSE, case.number)
        self.assertIn(code_of(last.payload), case.codes or (1000,), case.number)
        self.assertEqual(list(map(shown, found)), list(case.expected), case.number)

    def test_cases(self) -> None:
        """Each case but those of the large messages ends as it should."""
        count = 0
        for case in cases():
            if not case.number.startswith(f"{LARGE}."):
                self.check(case)
                count += 1
        self.assertEqual(count, 390 - 54)
