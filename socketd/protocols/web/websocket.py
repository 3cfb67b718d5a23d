"""C{websocket}: echoes messages at any path, and has no other answers (RFC 6455)."""

from __future__ import annotations

from socketd.protocols.spec import ProtocolSpec
from socketd.protocols.web.answers import SWITCHING, Answer, BadRequest
from socketd.protocols.web.asked import Asked
from socketd.protocols.web.channel import Channel
from socketd.protocols.web.options import WebSocketOptions, refusals


class WebSocketChannel(Channel):
    """One connection of C{websocket}: what else is asked for is refused."""

    def answer_other(self, asked: Asked) -> Answer:
        raise BadRequest(426, "upgrade", "only WebSocket is spoken here", *SWITCHING)


declaration = ProtocolSpec(options=WebSocketOptions, stream=WebSocketChannel, refusals=refusals)
