"""The plain twisted.web peer: a page at its Site, and an echo over its WebSocket."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.websocket import WebSocketResource, WebSocketTransport

from bench.peers.asked import BODY
from bench.peers.listening import BACKLOG, BESIDE, HOST, announce, read_port
from bench.peers.twisted_plain import Echo


class Page(Resource):
    """A page."""

    isLeaf = True  # noqa: N815

    def render_GET(self, request: Any) -> bytes:  # noqa: N802
        """Answer; or go on with WebSocket."""
        if request.requestHeaders.hasHeader(b"upgrade"):
            upgraded: Any = WebSocketResource(EchoFactory())
            return upgraded.render_GET(request)  # type: ignore[no-any-return]
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        return BODY.encode()


class EchoMessages:
    """Sends back each message."""

    transport: WebSocketTransport

    def negotiationStarted(self, transport: WebSocketTransport) -> None:  # noqa: N802
        """Keep the transport."""
        self.transport = transport

    def negotiationFinished(self) -> None:  # noqa: N802
        """Nothing to do."""

    def textMessageReceived(self, message: str) -> None:  # noqa: N802
        """Answer."""
        self.transport.sendTextMessage(message)

    def bytesMessageReceived(self, data: bytes | bytearray) -> None:  # noqa: N802
        """Answer."""
        self.transport.sendBytesMessage(bytes(data))

    def pongReceived(self, payload: bytes) -> None:  # noqa: N802
        """Nothing to do."""

    def connectionLost(self, reason: Any) -> None:
        """Nothing to do."""


class EchoFactory:
    """Makes them."""

    def buildProtocol(self, request: Any) -> EchoMessages:
        """Make one."""
        return EchoMessages()


def serve(reactor: Any, port: int) -> None:
    """Serve the page, and the echo beside it, until the process is ended."""
    reactor.listenTCP(port, Site(Page()), BACKLOG, BESIDE)
    reactor.listenTCP(port, Factory.forProtocol(Echo), BACKLOG, HOST)
    reactor.callWhenRunning(announce, port)
    reactor.run()


if __name__ == "__main__":
    from twisted.internet import reactor as chosen

    serve(chosen, read_port("plain twisted.web: a page, and an echo over WebSocket"))
