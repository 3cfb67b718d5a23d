"""The handshake of WebSocket (RFC 6455, 4.2)."""

from __future__ import annotations

import zlib
from base64 import b64decode
from typing import Any

from twisted.internet.interfaces import IReactorTime
from wsproto.connection import SERVER, Connection
from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.frame_protocol import CloseReason
from wsproto.handshake import server_extensions_handshake
from wsproto.utilities import generate_accept_token

from socketd.protocols.web.answers import SWITCHING, Answer, BadRequest
from socketd.protocols.web.asked import Asked
from socketd.protocols.web.message_socket import EchoSocket, MessageSocket
from socketd.protocols.web.options import WebSocketOptions


class BoundedDeflate(PerMessageDeflate):
    """
    wsproto's C{permessage-deflate}, in which a few bytes do not become many.

    No side takes its window over to the next message: what is kept for that would be 300 KiB for
    each connection.
    """

    def __init__(self, max_message: int) -> None:
        """@param max_message: the longest message (bytes)."""
        super().__init__(client_no_context_takeover=True, server_no_context_takeover=True)
        self._max_message = max_message
        self._compressed = 0

    def accept(self, offer: str) -> bool | None | str:
        """Accept an offer; one that is not written as it should be is declined."""
        try:
            return super().accept(offer)
        except ValueError:
            return None

    def frame_inbound_payload_data(self, proto: Any, data: bytes) -> bytes | CloseReason:
        """Decompress a part of a message, which may not be longer than a whole one."""
        if not self._inbound_compressed or not self._inbound_is_compressible:
            return super().frame_inbound_payload_data(proto, data)
        assert self._decompressor is not None
        self._compressed += len(data)
        try:
            result = self._decompressor.decompress(data, self._max_message + 1)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        # What cannot be compressed grows by less than an eighth.
        limit = self._max_message + self._max_message // 8 + 64
        if self._decompressor.unconsumed_tail or self._compressed > limit:
            return CloseReason.MESSAGE_TOO_BIG
        return result

    def frame_inbound_complete(self, proto: Any, fin: bool) -> bytes | CloseReason | None:
        """Finish a frame."""
        if fin and self._inbound_is_compressible:
            self._compressed = 0
        return super().frame_inbound_complete(proto, fin)


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
    make = EchoSocket if options.rules is None else _scripted_socket()
    successor = make(options, Connection(SERVER, extensions), bool(extensions), clock)
    return Answer(101, headers=(*SWITCHING, accepting, *headers), successor=successor)


def _scripted_socket() -> type[MessageSocket]:
    # Lazy: a service without rules does not spend the time of the import.
    from socketd.protocols.web.scripted_socket import ScriptedSocket

    return ScriptedSocket


def _check(asked: Asked, options: WebSocketOptions) -> None:
    if asked.header("sec-websocket-version") != VERSION:
        headers = ("Sec-WebSocket-Version", VERSION), *SWITCHING
        raise BadRequest(426, "upgrade", "the only version of WebSocket is 13", *headers)
    try:
        is_key = len(b64decode(asked.header("sec-websocket-key"), validate=True)) == KEY_BYTES
    except ValueError:
        is_key = False
    if not is_key or asked.method != "GET":
        raise BadRequest(400, "upgrade", "WebSocket wants GET with a key of 16 bytes, in base64")
    origin = asked.header("origin")
    if origin and options.origins and origin not in options.origins:
        raise BadRequest(403, "origin", "pages of this origin are not served")
