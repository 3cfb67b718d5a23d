"""The asyncio peer that answers a line with another one: what a test of a client writes."""

from __future__ import annotations

import asyncio
from typing import cast

from bench.peers.asyncio_echo import Echo
from bench.peers.conversation import ANSWER, QUESTION
from bench.peers.listening import BACKLOG, BESIDE, HOST, announce, read_port

_ANSWERS = {QUESTION.encode(): ANSWER.encode()}


class Reply(asyncio.Protocol):
    """Looks each line up in a dictionary."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        """Answer the lines that are whole."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.transport.write(_ANSWERS.get(line + b"\n", b"ERROR\r\n"))


async def serve(port: int) -> None:
    """Serve the answers, and the echo beside them, until the process is ended."""
    loop = asyncio.get_running_loop()
    answers = await loop.create_server(Reply, BESIDE, port, backlog=BACKLOG)
    plain = await loop.create_server(Echo, HOST, port, backlog=BACKLOG)
    announce(port)
    await asyncio.gather(plain.serve_forever(), answers.serve_forever())


if __name__ == "__main__":
    asyncio.run(serve(read_port("asyncio: a line is answered with another one")))
