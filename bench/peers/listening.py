"""What the Python peers share: their one option, their one line of output, and the time."""

from __future__ import annotations

import argparse
import time

#: Every peer listens here.
HOST = "127.0.0.1"

#: What is measured is here, at the port where L{HOST} has the plain echo, if that is not it: the
#: plain echo is asked whether the peer answers.
BESIDE = "127.0.0.2"

#: The listen queue: what Linux grants at most by default (net.core.somaxconn), so that no peer
#: is measured by the SYN retries of a short one.
BACKLOG = 4096

#: The time is four bytes: it wraps as the protocol does.
UINT32_MASK = 0xFFFFFFFF


def read_port(description: str) -> int:
    """
    The port on the command line.

    @param description: what C{--help} says about the peer.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    return int(parser.parse_args().port)


def announce(port: int) -> None:
    """Print that the peer answers at C{port}."""
    print(f"ready {port}", flush=True)


def time_reply() -> bytes:
    """The seconds since 1970 as four bytes, most significant first."""
    return (int(time.time()) & UINT32_MASK).to_bytes(4, "big")
