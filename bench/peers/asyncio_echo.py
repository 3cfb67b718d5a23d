"""The asyncio peer: Protocol classes, TCP echo and UDP time."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from bench.peers.listening import BACKLOG, HOST, announce, read_port, time_reply


class Echo(asyncio.Protocol):
    """Sends back what comes; asyncio itself sets TCP_NODELAY and flushes at EOF."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer."""
        self.transport.write(data)


class Time(asyncio.DatagramProtocol):
    """Answers the time to every datagram."""

    transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Answer."""
        self.transport.sendto(time_reply(), addr)


async def serve(port: int) -> None:
    """Serve both on C{port} until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, HOST, port, backlog=BACKLOG)
    bound = int(server.sockets[0].getsockname()[1])
    await loop.create_datagram_endpoint(Time, (HOST, bound))
    announce(bound)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(read_port("asyncio: TCP echo and UDP time")))
