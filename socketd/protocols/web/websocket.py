"""WebSocket (RFC 6455) on wsproto: the handshake, and the protocol that echoes messages."""

from __future__ import annotations

import binascii
from base64 import b64decode
from itertools import islice
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from wsproto.connection import SERVER, Connection, ConnectionState
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    TextMessage,
)
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason
from wsproto.handshake import server_extensions_handshake
from wsproto.utilities import generate_accept_token

from socketd.protocols.web.answers import Answer, BadRequest
from socketd.protocols.web.asked import Asked
from socketd.protocols.web.deflate import BoundedDeflate
from socketd.protocols.web.options import WebSocketOptions

#: Frames of one connection that are served in one turn of the reactor (about 2 ms), so that others
#: are served in turn.
BATCH = 64

#: The version of the protocol, and the bytes of a key (RFC 6455, 4.1).
VERSION = "13"
KEY_BYTES = 16


def switch(asked: Asked, options: WebSocketOptions, clock: IReactorTime) -> Answer:
    """
    Answer a request for WebSocket.

    @raise BadRequest: if it is none, or its origin is not served.
    """
    _check(asked, options)
    extensions: list[Extension] = []
    headers = []
    offers = [offer.strip() for offer in asked.header("sec-websocket-extensions").split(",")]
    if options.deflate:
        deflate = BoundedDeflate(options.max_message)
        accepted = server_extensions_handshake(offers, [deflate])
        if accepted:
            extensions.append(deflate)
            headers.append(("Sec-WebSocket-Extensions", accepted.decode("ascii")))
    wanted = [name.strip() for name in asked.header("sec-websocket-protocol").split(",")]
    if common := [name for name in wanted if name in options.subprotocols]:
        headers.append(("Sec-WebSocket-Protocol", common[0]))
    token = generate_accept_token(asked.header("sec-websocket-key").encode()).decode("ascii")
    accepting = ("Sec-WebSocket-Accept", token)
    switching = [("Upgrade", "websocket"), ("Connection", "Upgrade"), accepting]
    successor = EchoSocket(Connection(SERVER, extensions), options.max_message, clock)
    return Answer(101, headers=(*switching, *headers), successor=successor)


def _check(asked: Asked, options: WebSocketOptions) -> None:
    if asked.header("sec-websocket-version") != VERSION:
        header = "Sec-WebSocket-Version", VERSION
        raise BadRequest(426, "upgrade", "the only version of WebSocket is 13", header)
    try:
        is_key = len(b64decode(asked.header("sec-websocket-key"), validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        is_key = False
    if not is_key or asked.method != "GET":
        raise BadRequest(400, "upgrade", "WebSocket wants GET with a key of 16 bytes, in base64")
    origin = asked.header("origin")
    if origin and options.origins and origin not in options.origins:
        raise BadRequest(403, "origin", "pages of this origin are not served")


class EchoSocket(Protocol):
    """Sends each message back, whole."""

    transport: Any

    def __init__(self, connection: Connection, max_message: int, clock: IReactorTime) -> None:
        """@param connection: what reads and writes frames."""
        self._connection = connection
        self._max_message = max_message
        self._clock = clock
        self._parts: list[Any] = []
        self._size = 0
        self._output: list[bytes] = []
        self._next: IDelayedCall | None = None
        self._closed = False

    def dataReceived(self, data: bytes) -> None:
        """Serve the frames that the data completes."""
        if not self._closed:
            self._connection.receive_data(data)
            if self._next is None:
                self._work()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._closed = True
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _work(self) -> None:
        """Serve frames, until more is needed or others are to be served."""
        was_waiting, self._next = self._next is not None, None
        count = 0
        for event in islice(self._connection.events(), BATCH):
            self._handle(event)
            count += 1
            if self._closed:
                break
        output, self._output = b"".join(self._output), []
        self.transport.write(output)
        if self._closed:
            self.transport.loseConnection()
        elif count == BATCH:
            self._next = self._clock.callLater(0, self._work)
            self.transport.pauseProducing()
        elif was_waiting:
            self.transport.resumeProducing()

    def _handle(self, event: Event) -> None:
        if isinstance(event, Message):
            self._collect(event)
        elif isinstance(event, Ping):
            self._send(event.response())
        elif isinstance(event, CloseConnection):
            if self._connection.state is not ConnectionState.CLOSED:
                self._send(event.response())
            self._closed = True

    def _collect(self, event: Message[Any]) -> None:
        """Collect a message, and send it back when it is complete."""
        data = event.data
        self._size += len(data.encode() if isinstance(data, str) else data)
        if self._size > self._max_message:
            text = f"messages have up to {self._max_message} bytes"
            self._send(CloseConnection(CloseReason.MESSAGE_TOO_BIG, text))
            self._closed = True
            return
        self._parts.append(data)
        if event.message_finished:
            kind = TextMessage if isinstance(event, TextMessage) else BytesMessage
            whole = data[:0].join(self._parts)
            self._parts, self._size = [], 0
            self._send(kind(whole))

    def _send(self, event: Event) -> None:
        self._output.append(self._connection.send(event))
