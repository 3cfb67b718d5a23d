"""
The thread-per-connection peer, as socket tutorials write it: accept, start a thread, recv in a
loop.
"""

from __future__ import annotations

import contextlib
import socket
import threading

from bench.peers.listening import BACKLOG, HOST, announce, read_port

#: What the tutorials hand to recv.
READ_SIZE = 2048


def answer(connection: socket.socket) -> None:
    """Send back what comes until the client has said all or is gone."""
    with connection, contextlib.suppress(ConnectionError):
        while data := connection.recv(READ_SIZE):
            connection.sendall(data)


def main() -> None:
    """Serve until the process is ended."""
    port = read_port("one thread per connection: TCP echo")
    with socket.create_server((HOST, port), backlog=BACKLOG) as server:
        announce(int(server.getsockname()[1]))
        while True:
            connection, _ = server.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
