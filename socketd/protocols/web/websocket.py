"""C{websocket}: echoes messages at any path, and has no other answers (RFC 6455)."""

from __future__ import annotations

from socketd.protocols.spec import ProtocolSpec
from socketd.protocols.web.channel import WebSocketChannel
from socketd.protocols.web.options import WebSocketOptions, refusals

declaration = ProtocolSpec(
    options=WebSocketOptions,
    stream=lambda options, context: WebSocketChannel(options, context),
    refusals=refusals,
)
