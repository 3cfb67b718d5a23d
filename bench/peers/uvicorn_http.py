"""The uvicorn peer with httptools: a page."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn

from bench.peers.asked import BODY
from bench.peers.asyncio_echo import Echo
from bench.peers.listening import BACKLOG, BESIDE, HOST, announce, read_port

_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"64")],
}
_BODY = {"type": "http.response.body", "body": BODY.encode()}


async def page(scope: Any, receive: Any, send: Any) -> None:
    """Answer, as an application of ASGI."""
    await send(_START)
    await send(_BODY)


async def serve(port: int) -> None:
    """Serve the page, and the echo beside it, until the process is ended."""
    loop = asyncio.get_running_loop()
    plain = await loop.create_server(Echo, HOST, port, backlog=BACKLOG)
    config = uvicorn.Config(
        page, BESIDE, port, http="httptools", loop="asyncio", ws="none", lifespan="off",
        log_level="critical", access_log=False, backlog=BACKLOG,
    )  # fmt: skip
    announce(port)
    await asyncio.gather(plain.serve_forever(), uvicorn.Server(config).serve())


if __name__ == "__main__":
    asyncio.run(serve(read_port("uvicorn with httptools: a page")))
