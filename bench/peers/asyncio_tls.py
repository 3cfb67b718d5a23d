"""The asyncio peer with TLS, by Python's C{ssl}."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from bench.peers.asyncio_echo import Echo
from bench.peers.listening import BACKLOG, BESIDE, HOST, announce
from bench.peers.tls_listening import read_options


async def serve(port: int, certificates: Path) -> None:
    """Serve the echo in plain and over TLS until the process is ended."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    loop = asyncio.get_running_loop()
    secure = await loop.create_server(Echo, BESIDE, port, ssl=context, backlog=BACKLOG)
    plain = await loop.create_server(Echo, HOST, port, backlog=BACKLOG)
    announce(port)
    await asyncio.gather(plain.serve_forever(), secure.serve_forever())


if __name__ == "__main__":
    asyncio.run(serve(*read_options("asyncio: TLS echo")))
