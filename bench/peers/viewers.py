"""
Eight browsers with the status page of a socketd: each reads the stream of events, and asks for
tables as the page does.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import threading
import time

from socketd.web.live import MAX_VIEWERS

#: What the page asks for every two seconds, in its first two views.
TABLES = ("services", "connections")
INTERVAL = 2.0

#: Until the daemon is there (seconds).
RETRY = 0.05


class UnixConnection(http.client.HTTPConnection):
    """HTTP at a UNIX socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def follow(path: str) -> None:
    """Read a stream of events until its end."""
    stream = UnixConnection(path)
    stream.request("GET", "/events")
    response = stream.getresponse()
    while response.readline():
        pass


def ask(path: str) -> None:
    """Ask for the tables, again and again."""
    headers = {"Content-Type": "application/json"}
    while True:
        for name in TABLES:
            asking = UnixConnection(path)
            asking.request("POST", "/command", json.dumps({"command": name}), headers)
            asking.getresponse().read()
            asking.close()
        time.sleep(INTERVAL)


def main() -> None:
    """View the page of the daemon at C{--socket}."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", required=True)
    path = parser.parse_args().socket
    while True:
        with socket.socket(socket.AF_UNIX) as sock:
            if not sock.connect_ex(path):
                break
        time.sleep(RETRY)
    threads = [threading.Thread(target=ask, args=(path,), daemon=True) for _ in range(MAX_VIEWERS)]
    threads += [threading.Thread(target=follow, args=(path,)) for _ in range(MAX_VIEWERS)]
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    main()
