"""The uvloop peer: the Protocol classes of the asyncio peer on uvloop's loop."""

from __future__ import annotations

import asyncio

import uvloop

from bench.peers.asyncio_echo import serve
from bench.peers.listening import read_port

if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(read_port("uvloop: TCP echo and UDP time")))
