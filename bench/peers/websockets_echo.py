"""The peer of Python's websockets: an echo, as its documentation has it."""

from __future__ import annotations

import asyncio

from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets

from bench.peers.asyncio_echo import Echo
from bench.peers.listening import BACKLOG, BESIDE, HOST, announce, read_port


async def echo(connection: ServerConnection) -> None:
    """Send back each message."""
    async for message in connection:
        await connection.send(message)


async def serve(port: int) -> None:
    """Serve the messages, and the echo beside them, until the process is ended."""
    loop = asyncio.get_running_loop()
    plain = await loop.create_server(Echo, HOST, port, backlog=BACKLOG)
    async with serve_websockets(echo, BESIDE, port, backlog=BACKLOG):
        announce(port)
        await plain.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(read_port("websockets: an echo")))
