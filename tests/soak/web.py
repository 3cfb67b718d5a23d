"""Clients of C{http} and C{websocket}, and of the status page."""

from __future__ import annotations

import gzip
import io
import json
import socket
import struct
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from random import Random
from typing import Any

from attrs import define, field

from tests.protocols.web import frames as wire
from tests.protocols.web.client import GET, request
from tests.soak.client import Client, Peer
from tests.soak.configuration import MAX_BODY, MAX_FRAMES, MAX_HEADER
from tests.soak.connections import PATIENCE, Connection
from tests.soak.server import Server

#: The most requests, or messages, of one connection.
ROUNDS = 12

#: The longest answer that is asked for (bytes): several pieces.
LONGEST = 60_000

#: How long a slow viewer of the page reads nothing, at most (seconds): longer than until it is
#: reset, where the buffers were full.
STAY = 60.0

#: Its receive buffer (bytes).
NARROW = 4096

#: Requests that end their connection: the status, the reason, and the head.
BAD_HEADS = (
    (400, "syntax", b"\x16\x03\x01 what\r\n\r\n"),
    (400, "syntax", GET + b"no header\r\n\r\n"),
    (505, "version", b"GET / HTTP/2.0\r\nHost: x\r\n\r\n"),
    (400, "host", b"GET / HTTP/1.1\r\n\r\n"),
    (501, "method", b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n"),
    (414, "target_size", b"GET /%b HTTP/1.1\r\n" % (b"x" * MAX_HEADER)),
    (431, "header_size", GET + b"A: %b\r\n\r\n" % (b"b" * MAX_HEADER)),
    (431, "header_size", GET + b"A: b\r\n" * 101 + b"\r\n"),
    (413, "body_size", GET + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1)),
    (501, "encoding", GET + b"Transfer-Encoding: gzip\r\n\r\n"),
    (417, "expectation", GET + b"Expect: what\r\n\r\n"),
    (400, "incomplete", GET + b"A: b"),
)

#: Frames that end their connection, and the code that says why.
BAD_FRAMES = (
    (1002, wire.frame(wire.TEXT, b"no mask", key=None)),
    (1002, wire.frame(3, b"no opcode")),
    (1007, wire.frame(wire.TEXT, b"\xff no UTF-8")),
    (1009, wire.frame(wire.BINARY, bytes(MAX_FRAMES + 1))),
)

#: Requests with one answer: the target, headers, the status and the body.
FIXED: tuple[tuple[str, dict[str, str], int, bytes], ...] = (
    ("/health", {}, 200, b"ok\n"),
    ("/status/418", {}, 418, b"418 I'm a Teapot\n"),
    ("/redirect/3", {}, 302, b"/redirect/2\n"),
    ("/etag/x", {"If_None_Match": '"x"'}, 304, b""),
    ("/basic-auth/u/p", {}, 401, b"401 Unauthorized\n"),
    ("/drip?numbytes=5&duration=0.1", {}, 200, b"*****"),
)

#: Paths that are written wrong: the target, the status and the reason.
WRONG = (("/status/999", 400, "argument"), ("/headers/x", 404, "path"))

RESPONSES, BAD = "http_responses_total", "http_bad_requests_total"

_ALPHABET = b"abcdefghijklmnopqrstuvwxyz"


class _Received(io.RawIOBase):
    """What comes over a connection, which counts it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._connection.receive(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Responses(io.BufferedReader):
    """What a server sends, for responses that follow each other: none of them closes it."""

    def close(self) -> None:
        pass


@define
class Browser:
    """
    One connection to C{web}.

    @ivar count: how many requests it has made.
    """

    client: Client
    peer: Peer
    kind: str
    count: int = 0
    _responses: _Responses = field(init=False)

    @_responses.default
    def _read(self) -> _Responses:
        return _Responses(_Received(self.peer.connection))

    def makefile(self, mode: str) -> _Responses:
        """As a response asks a socket."""
        return self._responses

    def ask(
        self, target: str, method: str = "GET", body: bytes | None = None, **more: str
    ) -> tuple[HTTPResponse, bytes]:
        """Send a request, and return its response with its body."""
        self.count += 1
        self.peer.connection.send(request(target, method, body, **more))
        self.client.counts.service("web").round_trips += 1
        return self.next(method)

    def next(self, method: str = "GET") -> tuple[HTTPResponse, bytes]:
        """Read the next response."""
        response = HTTPResponse(self, method=method)  # type: ignore[arg-type]
        response.begin()
        self.client.tally("web", RESPONSES, f"{response.status // 100}xx")
        return response, response.read()

    def expect(self, status: int, body: bytes, target: str, **more: str) -> HTTPResponse:
        """Ask for a path, and check the response."""
        response, found = self.ask(target, "GET", None, **more)
        self.client.check(response.status == status, f"{target}: {response.status} of {status}")
        self.client.check_equal(found, body)
        return response


def anything(browser: Browser) -> None:
    """The request comes back, as JSON."""
    random = browser.client.random
    body = random.choice((b'{"a": [1, null]}', random.randbytes(random.randint(1, 3000)), b""))
    response, found = browser.ask("/any?item=7&item=8", "POST", body, X_Any="Thing")
    told = json.loads(found)
    came = told["body"].encode() if told["body"] is not None else b64decode(told["body_base64"])
    asked = (told["method"], told["path"], told["query"], told["request"], told["service"])
    good = asked == ("POST", "/any", {"item": ["7", "8"]}, browser.count, "web")
    good = good and response.status == 200 and ["X-Any", "Thing"] in told["headers"]
    good = good and told["transport"] == browser.kind and came == body
    if browser.kind == "tcp":
        good = good and told["peer"]["port"] == browser.peer.connection.sock.getsockname()[1]
    browser.client.check(good, f"{told}")


def chunked(browser: Browser) -> None:
    """A body in chunks comes back as a whole."""
    sizes = [browser.client.random.randint(1, 500) for _ in range(5)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (size, b"c" * size) for size in sizes)
    head = request("/", "PUT", None, Transfer_Encoding="chunked")
    browser.count += 1
    browser.peer.connection.send(head + chunks + b"0\r\n\r\n")
    told = json.loads(browser.next("PUT")[1])
    browser.client.check(told["body"] == "c" * sum(sizes), f"{told}")


def fixed(browser: Browser) -> None:
    """A path that has one answer."""
    target, more, status, body = browser.client.random.choice(FIXED)
    browser.expect(status, body, target, **more)


def random_bytes(browser: Browser) -> None:
    """Bytes that a seed tells, in one piece or several."""
    size, seed = browser.client.random.randint(0, LONGEST), browser.client.random.randint(1, 99)
    browser.expect(200, Random(str(seed)).randbytes(size), f"/bytes/{size}?seed={seed}")


def letters(browser: Browser) -> None:
    """A range of letters."""
    end = browser.client.random.randint(1, LONGEST)
    start = browser.client.random.randrange(end)
    body = (_ALPHABET * (end // 26 + 1))[start:end]
    response = browser.expect(206, body, f"/range/{LONGEST}", Range=f"bytes={start}-{end - 1}")
    told = response.getheader("Content-Range")
    browser.client.check(told == f"bytes {start}-{end - 1}/{LONGEST}", f"{told}")


def lines(browser: Browser) -> None:
    """Lines of JSON, in chunks."""
    count = browser.client.random.randint(0, 30)
    _, found = browser.ask(f"/stream/{count}")
    numbers = [json.loads(line)["id"] for line in found.splitlines()]
    browser.client.check(numbers == list(range(count)), f"{numbers} are not {count}")


def compressed(browser: Browser) -> None:
    """A compressed answer."""
    response, found = browser.ask("/gzip")
    told = json.loads(gzip.decompress(found))
    good = response.getheader("Content-Encoding") == "gzip" and told["path"] == "/gzip"
    browser.client.check(good, f"{told}")


def head_only(browser: Browser) -> None:
    """The head of an answer, without its body."""
    response, found = browser.ask("/bytes/100", "HEAD")
    told = response.getheader("Content-Length")
    browser.client.check((found, told) == (b"", "100"), f"{told} {found!r}")


def pipeline(browser: Browser) -> None:
    """Many requests at once are answered in order."""
    sizes = [browser.client.random.randint(0, 500) for _ in range(20)]
    asked = b"".join(request(f"/range/{size}") for size in sizes)
    browser.count += len(sizes)
    browser.peer.connection.send(asked)
    for size in sizes:
        browser.client.check_equal(browser.next()[1], (_ALPHABET * 20)[:size])


def wrong_path(browser: Browser) -> None:
    """A path that is written wrong, after which the connection stays."""
    target, status, reason = browser.client.random.choice(WRONG)
    response, _ = browser.ask(target)
    browser.client.check(response.status == status, f"{target}: {response.status}")
    browser.client.tally("web", BAD, reason)


EXCHANGES = (
    anything, chunked, fixed, random_bytes, letters, lines, compressed, head_only, pipeline,
    wrong_path,
)  # fmt: skip


def web(client: Client) -> None:
    """Requests of one connection, which is kept until the client ends it."""
    kind = client.pick_kind("web", ("tcp", "unix"))
    with client.connect("web", kind) as peer:
        browser = Browser(client, peer, kind)
        for exchange in client.random.choices(EXCHANGES, k=client.random.randint(1, ROUNDS)):
            exchange(browser)
        client.check_equal(peer.connection.finish(), b"")


def bad_head(client: Client) -> None:
    """What is no request is told so, and its connection ends."""
    status, reason, head = client.random.choice(BAD_HEADS)
    with client.connect("web", client.pick_kind("web", ("tcp", "unix"))) as peer:
        peer.connection.send(head)
        _expect_refusal(client, "web", peer.connection.finish(), status, reason)


def late_head(client: Client) -> None:
    """A request that does not end is told so."""
    with client.connect("hasty") as peer:
        peer.connection.send(GET)
        _expect_refusal(client, "hasty", peer.connection.read_to_end(), 408, "timeout")


def _expect_refusal(
    client: Client, service: str, found: bytes, status: int, reason: str
) -> None:
    client.tally(service, BAD, reason)
    client.tally(service, RESPONSES, f"{status // 100}xx")
    good = found.startswith(b"HTTP/1.1 %d " % status) and found.endswith(b"\n")
    client.check(good, f"{found!r} instead of {status} {reason}")


@define
class WebSocket:
    """One connection to C{websocket}, whose handshake is done."""

    client: Client
    connection: Connection
    _frames: wire.Frames = field(factory=wire.Frames)
    _come: list[wire.Frame] = field(factory=list)

    def shake_hands(self) -> None:
        """Ask for WebSocket."""
        asked = request("/chat", "GET", None, **wire.HANDSHAKE, Sec_WebSocket_Protocol="no, chat")
        self.connection.send(asked)
        found = b""
        while not found.endswith(b"\r\n\r\n"):
            found += self.connection.receive() or b"\r\n\r\n"
        self.client.tally("websocket", RESPONSES, "1xx")
        good = found.startswith(b"HTTP/1.1 101 ") and wire.ACCEPT.encode() in found
        self.client.check(good and b"Sec-WebSocket-Protocol: chat\r\n" in found, f"{found!r}")

    def expect(self, data: bytes, *expected: wire.Frame) -> None:
        """Send frames, and check those that come back."""
        self.connection.send(data)
        self.client.counts.service("websocket").round_trips += 1
        while len(self._come) < len(expected) and (found := self.connection.receive()):
            self._come += self._frames.feed(found)
        come, self._come = tuple(self._come), []
        self.client.check(come == expected, f"{str(come)[:200]} instead of {str(expected)[:200]}")


def websocket(client: Client) -> None:
    """Messages, whole and in fragments with pings between them, and a close."""
    with client.connect("websocket", client.pick_kind("websocket", ("tcp", "unix"))) as peer:
        one = WebSocket(client, peer.connection)
        one.shake_hands()
        for _ in range(client.random.randint(1, ROUNDS)):
            text = b"%x" % client.random.getrandbits(client.random.randint(1, MAX_FRAMES * 4))
            opcode = client.random.choice((wire.TEXT, wire.BINARY))
            parts = wire.fragments(opcode, text, client.random.randint(100, MAX_FRAMES))
            place = client.random.randint(0, len(parts) - 1)
            parts.insert(place, wire.frame(wire.PING, b"there?"))
            pong = wire.Frame(wire.PONG, b"there?")
            one.expect(b"".join(parts), pong, wire.Frame(opcode, text))
        reason = struct.pack("!H", 3000) + b"soaked"
        one.expect(wire.close(3000, b"soaked"), wire.Frame(wire.CLOSE, reason))
        client.check_equal(peer.connection.finish(), b"")


def bad_frame(client: Client) -> None:
    """A frame that breaks the rules ends its connection with the code that says so."""
    code, frame = client.random.choice(BAD_FRAMES)
    with client.connect("websocket", client.pick_kind("websocket", ("tcp", "unix"))) as peer:
        WebSocket(client, peer.connection).shake_hands()
        peer.connection.send(frame)
        found = list(wire.Frames().feed(peer.connection.finish()))
        good = len(found) == 1 and found[0].opcode == wire.CLOSE
        good = good and found[0].payload[:2] == code.to_bytes(2, "big")
        client.check(good, f"{found} instead of {code}")


def no_handshake(client: Client) -> None:
    """What asks for no WebSocket is told to."""
    with client.connect("websocket", client.pick_kind("websocket", ("tcp", "unix"))) as peer:
        peer.connection.send(request("/"))
        _expect_refusal(client, "websocket", peer.connection.finish(), 426, "upgrade")


# The status page.


def page(client: Client, server: Server) -> None:
    """Its files, its history, a command that only asks; and what is refused."""
    _get(client, server, "/", 200, "<!doctype html>")
    _get(client, server, "/page.js", 200, "")
    told = json.loads(_get(client, server, "/history?service=echo", 200, "{"))
    client.check(all(len(ring) <= 900 for ring in told.values()), "the history is too long")
    answer = json.loads(_get(client, server, "/command", 200, "{", '{"command": "status"}'))
    client.check(answer["ok"] and "uptime" in answer, f"{answer}")
    _get(client, server, "/command", 403, "", '{"command": "drain"}')
    _get(client, server, "/", 403, "", Host="example.org")
    _get(client, server, "/history", 403, "", Origin="http://example.org")


def _get(
    client: Client,
    server: Server,
    path: str,
    status: int,
    start: str,
    posted: str | None = None,
    **headers: str,
) -> str:
    """Ask for a page, or post a command; check its status and how it begins."""
    connection = HTTPConnection(*server.web(), timeout=PATIENCE)
    try:
        sent = {"Content-Type": "application/json", "Connection": "close", **headers}
        connection.request("GET" if posted is None else "POST", path, posted, sent)
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    good = response.status == status and text.lower().startswith(start)
    client.check(good, f"{path}: {response.status} {text[:60]!r}")
    return text


@contextmanager
def _viewer(server: Server, buffer: int) -> Iterator[Iterator[tuple[str, Any]]]:
    """View the page; list what it is told, by name."""
    with socket.socket() as sock:
        sock.settimeout(PATIENCE)
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.connect(server.web())
        sock.sendall(b"GET /events HTTP/1.0\r\nHost: localhost\r\n\r\n")
        with sock.makefile("rb") as stream:
            yield _events(stream)


def _events(stream: io.BufferedIOBase) -> Iterator[tuple[str, Any]]:
    """Read the events of a stream (WHATWG HTML, 9.2)."""
    while stream.readline().strip():
        pass
    while name := stream.readline():
        data = stream.readline()
        if not name.startswith(b"event: ") or stream.readline() != b"\n":
            return
        yield name[7:].decode().strip(), json.loads(data.removeprefix(b"data: "))


def viewer(client: Client, server: Server) -> None:
    """One who looks for some seconds: first all that there is, then a tick each second."""
    with _viewer(server, 0) as events:
        begin = [next(events) for _ in range(3)]
        names = [name for name, _ in begin]
        client.check(names == ["hello", "events", "waiting"], f"{names}")
        client.check("websocket" in begin[0][1]["services"], f"{begin[0]}")
        _see_ticks(client, events, client.random.randint(1, 5))


def slow_viewer(client: Client, server: Server) -> None:
    """One who reads nothing for long, and then goes on where nothing was torn; or is reset."""
    with _viewer(server, NARROW) as events:
        client.wait(client.random.uniform(0, STAY))
        try:
            _see_ticks(client, events, 1)
        except ConnectionResetError:
            client.check(True, "")


def _see_ticks(client: Client, events: Iterator[tuple[str, Any]], count: int) -> None:
    """Check ticks, whatever else comes between them."""
    for name, told in events:
        if name == "tick":
            good = "uptime" in told["status"] and "" in told["rates"] and told["viewers"] >= 1
            client.check(good, f"{told}")
            count -= 1
        if not count or client.stopped.is_set():
            return
    client.check(False, "the stream ends")
