"""C{http} tells each request what it was, and C{websocket} echoes, on Twisted's HTTP server."""

from __future__ import annotations

from socketd.protocols.spec import ProtocolSpec
from socketd.protocols.web.channel import Channel, WebSocketChannel
from socketd.protocols.web.options import HttpOptions, WebSocketOptions, refusals

declaration = ProtocolSpec(
    options=HttpOptions,
    stream=lambda options, context: Channel(options, context),
    refusals=refusals,
)

websocket = ProtocolSpec(
    options=WebSocketOptions,
    stream=lambda options, context: WebSocketChannel(options, context),
    refusals=refusals,
)
