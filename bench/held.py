"""What a message costs in memory that a fault profile holds back."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from pathlib import Path

from bench import proc

#: The socket of the service that holds everything, in the folder of its server.
HELD_SOCKET = "held.sock"

#: How many connections say something, and how often; enough to stand out from what else the
#: server allocates.
CONNECTIONS = 2000
MESSAGES = 5

#: Of the size that the load sends.
MESSAGE = b"x" * 64

#: Seconds for a server to take what was sent.
SETTLE = 0.3


def bytes_per_message(pid: int, folder: Path) -> float:
    """
    Have a server hold messages, and see how it grows: the bytes of one, and all around it.

    @param folder: where the server has its socket.
    """
    with ExitStack() as stack:
        peers = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(CONNECTIONS)]
        for peer in peers:
            peer.connect(str(folder / HELD_SOCKET))
        time.sleep(SETTLE)
        before = proc.resident_bytes(pid)
        for _ in range(MESSAGES):
            # One at a time: what waits together is received together.
            for peer in peers:
                peer.send(MESSAGE)
            time.sleep(SETTLE)
        return (proc.resident_bytes(pid) - before) / (CONNECTIONS * MESSAGES)
