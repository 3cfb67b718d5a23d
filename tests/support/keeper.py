"""
A program that stays in the network namespace that it is started in, and hands out sockets
of it through the one that is its standard input.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator

#: A request for a socket, or the word that the namespace is there.
MAX_REQUEST = 100

READY = b"ready"


def hand_out(requests: socket.socket) -> None:
    """Make the sockets that are asked for, until the other side has closed."""
    requests.send(READY)
    for request in _received(requests):
        with socket.socket(*json.loads(request)) as made:
            socket.send_fds(requests, [b"."], [made.fileno()])


def _received(requests: socket.socket) -> Iterator[bytes]:
    while request := requests.recv(MAX_REQUEST):
        yield request


if __name__ == "__main__":
    hand_out(socket.socket(fileno=os.dup(0)))
