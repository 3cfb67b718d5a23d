"""The clients of WebSocket: Python's websockets, npm's ws, Chromium, and the Autobahn cases."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.interop.web_case import WebClientCase
from tests.protocols.web.autobahn import Case, cases, chopped, code_of, inflate
from tests.protocols.web.client import request
from tests.protocols.web.frames import CLOSE, HANDSHAKE, Frame, Frames, close
from tests.support.browser import Browser
from tests.support.needs import locate, need
from tests.support.polling import DEADLINE
from tests.support.processes import Daemon
from tests.support.tls import trusting_context

INI = """
[defaults]
accept_rate = 100000/s
log_connections = no

[web]
protocol = http
listen = tcp:0:interface=127.0.0.1, tls:0:interface=127.0.0.1
tls_certificate = {directory}/server.pem
max_message = 16MiB
subprotocols = chat.v2, chat.v1

[socket]
protocol = websocket
listen = tcp:0:interface=127.0.0.1
origins = https://example.org
max_message = 1000
"""

#: The cases whose pieces have to come at times of their own: it is seen what each of them causes.
PIECEWISE = ("6.4.",)

#: What a program with the library of npm does; what it finds is printed as JSON.
SCRIPT = """
const WebSocket = require("/usr/share/nodejs/ws");
const found = [];
const socket = new WebSocket(process.argv[1] + "/any/path", ["chat.v1"]);
socket.on("open", () => {
  found.push(socket.protocol, socket.extensions);
  socket.send("text \\u20ac");
  socket.send(Buffer.alloc(100000, 7));
  socket.send("frag", {fin: false});
  socket.send("ment", {fin: true});
  socket.ping("ping");
});
socket.on("message", (data, isBinary) => {
  found.push([isBinary, data.length, isBinary ? "" : data.toString()]);
});
socket.on("pong", (data) => {
  found.push("pong " + data);
  socket.close(3000, "bye");
});
socket.on("close", (code, reason) => {
  console.log(JSON.stringify([...found, code, reason.toString()]));
});
"""

#: What a page in a browser does.
PAGE_SCRIPT = """
new Promise((done, failed) => {
  const socket = new WebSocket(location.origin.replace("http", "ws") + "/x", ["chat.v1"]);
  const found = [];
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    found.push(socket.protocol, socket.extensions);
    socket.send("text \u20ac");
    socket.send(new Uint8Array(100000));
  };
  socket.onmessage = ({data}) => {
    found.push(typeof data === "string" ? data : data.byteLength);
    if (found.length === 4) {
      socket.close(3001, "bye");
    }
  };
  socket.onclose = ({code, wasClean}) => done([...found, code, wasClean]);
  socket.onerror = failed;
})
"""


class WebSocketClientTests(WebClientCase):
    """Tests for what clients that others wrote get."""

    ini = INI

    def url(self, daemon: Daemon, service: str = "web", kind: str = "tcp") -> str:
        """Write a URL."""
        host, port = daemon.address(service, kind)
        return f"{'wss' if kind == 'tls' else 'ws'}://{host}:{port}"

    def converse(self, client: ClientConnection) -> None:
        """Send messages of all kinds, and get them back."""
        for message in ("", "text \u20ac", b"", b"\0\xff" * 50_000, "x" * 100_000):
            client.send(message)
            self.assertEqual(client.recv(DEADLINE), message)
        client.send(part for part in ("in ", "three ", "parts"))
        self.assertEqual(client.recv(DEADLINE), "in three parts")
        self.assertTrue(client.ping("ping").wait(DEADLINE))

    def test_websockets(self) -> None:
        """Python's websockets: with and without compression, and over TLS."""
        with self.serve_web() as daemon:
            url, tls = self.url(daemon), self.url(daemon, "web", "tls")
            names = [Subprotocol("chat.v1"), Subprotocol("chat.v9")]
            with connect(url, subprotocols=names, proxy=None) as client:
                self.assertEqual(client.subprotocol, "chat.v1")
                self.assertTrue(client.protocol.extensions)
                self.converse(client)
                client.close(4000, "bye")
                self.assertEqual(client.close_code, 4000)
            with connect(url, compression=None, proxy=None) as client:
                self.converse(client)
            with connect(tls, ssl=trusting_context(self.ca), proxy=None) as client:
                self.converse(client)

    def test_refused(self) -> None:
        """Another origin is refused, a message that is too long ends with 1009."""
        with self.serve_web() as daemon:
            url = self.url(daemon, "socket")
            with self.assertRaises(InvalidStatus) as caught:
                connect(url, additional_headers={"Origin": "https://example.com"}, proxy=None)
            self.assertEqual(caught.exception.response.status_code, 403)
            with connect(url, proxy=None) as client:
                client.send(bytes(1001))
                with self.assertRaises(ConnectionClosed):
                    client.recv(DEADLINE)
                self.assertEqual(client.close_code, 1009)

    def test_ws(self) -> None:
        """The library of npm, which browsers' programs are tested with."""
        node = locate("node")
        need("/usr/share/nodejs/ws")
        with self.serve_web() as daemon:
            command = [node, "-e", SCRIPT, self.url(daemon)]
            done = subprocess.run(command, capture_output=True, check=True, timeout=DEADLINE)
        name, extensions, *found, code, reason = json.loads(done.stdout)
        self.assertEqual((name, code, reason), ("chat.v1", 3000, "bye"))
        self.assertTrue(extensions.startswith("permessage-deflate"))
        messages = [[False, 8, "text \u20ac"], [True, 100_000, ""], [False, 8, "fragment"]]
        self.assertEqual(found, [*messages, "pong ping"])

    def test_browser(self) -> None:
        """A page in Chromium: it shows the request, and echoes over WebSocket."""
        browser = Browser()
        self.addCleanup(browser.close)
        with self.serve_web() as daemon:
            tab = browser.open(self.url(daemon).replace("ws:", "http:"))
            tab.wait_for("document.body?.innerText.includes('\"method\": \"GET\"')")
            name, extensions, *found = tab.run(PAGE_SCRIPT)
        self.assertEqual(name, "chat.v1")
        self.assertTrue(extensions.startswith("permessage-deflate"))
        self.assertEqual(found, ["text \u20ac", 100_000, 3001, True])

    def test_autobahn(self) -> None:
        """Each case of Autobahn's sections 1 to 7, 9 and 12 ends as it should."""
        with self.serve_web() as daemon:
            address, count = daemon.address("web"), 0
            for case in cases():
                self.check(case, address)
                count += 1
        self.assertEqual(count, 390)

    def check(self, case: Case, address: tuple[str, int]) -> None:
        """Run a case."""
        deflate = {"Sec_WebSocket_Extensions": "permessage-deflate"} if case.deflated else {}
        with socket.create_connection(address, DEADLINE) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(request("/", "GET", None, **HANDSHAKE, **deflate))
            client = _Client(sock)
            client.skip_head()
            for index, piece in enumerate(chopped(case)):
                client.send(piece)
                if case.number.startswith(PIECEWISE) and case.fails_at == index:
                    client.receive(lambda: client.is_closed)
            if not case.codes:
                client.receive(lambda: len(client.found) >= len(case.expected))
                client.send(close())
            client.receive(lambda: client.is_closed)
        *messages, last = client.found
        self.assertIn(code_of(last.payload), case.codes or (1000,), case.number)
        shown = [(m.opcode, inflate(m.payload) if m.rsv else m.payload) for m in messages]
        self.assertEqual(shown, list(case.expected), case.number)


class _Client:
    """
    A client that reads while it sends, as what it sends may come back at once.

    @ivar found: the frames that came.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.found: list[Frame] = []
        self._sock = sock
        self._frames = Frames()
        self._until = time.monotonic() + 10 * DEADLINE

    @property
    def is_closed(self) -> bool:
        """Whether a close frame has come."""
        return bool(self.found) and self.found[-1].opcode == CLOSE

    def skip_head(self) -> None:
        """Read the answer to the handshake."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._sock.recv(1)
        assert head.startswith(b"HTTP/1.1 101 "), head

    def send(self, data: bytes) -> None:
        """Send data, and read what comes meanwhile."""
        self._sock.setblocking(False)
        view = memoryview(data)
        while view and not self.is_closed:
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                self.receive(lambda: True)
                self._sock.setblocking(False)
            except ConnectionError:
                break
        self._sock.settimeout(DEADLINE)

    def receive(self, is_done: Callable[[], bool]) -> None:
        """Read until something holds, or the other side has closed."""
        self._sock.settimeout(0.01)
        while True:
            try:
                data = self._sock.recv(1 << 20)
            except TimeoutError:
                assert time.monotonic() < self._until, "nothing comes"
                if is_done():
                    return
                continue
            self.found += self._frames.feed(data)
            if is_done() or not data:
                return
