"""Clients of the control socket and of the web service."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from tests.soak.client import Client
from tests.soak.server import Server
from tests.soak.connections import PATIENCE

#: What is asked of the control socket, and what the answer must have.
QUESTIONS = (
    ("status", "uptime"),
    ("services", "rows"),
    ("connections", "rows"),
    ("waiting", "rows"),
    ("bans", "rows"),
    ("help", "rows"),
)

#: How long a watcher stays without reading (seconds).
STAY = 0.3


def operator(client: Client, server: Server) -> None:
    """A question, and its answer."""
    question, part = client.random.choice(QUESTIONS)
    answer = server.ask(question)
    client.check(bool(answer.get("ok")) and part in answer, f"{question}: {answer!r}")


def watcher(client: Client, server: Server) -> None:
    """Watch, do not read, and leave; what is logged and told of each message changes twice."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(f"{server.directory}/control.sock")
        sock.sendall(b"watch\n")
        client.check(sock.recv(8) == b"watching", "watch is refused")
        client.wait(STAY)


def prober(client: Client, server: Server) -> None:
    """Both pages, and a client that disconnects in the middle of a request."""
    with ExitStack() as stack:
        sock = stack.enter_context(socket.socket(socket.AF_INET))
        sock.settimeout(PATIENCE)
        sock.connect(server.web())
        sock.sendall(b"GET /metr")
        status, text = server.get("/healthz")
        client.check((status, text) == (200, "serving\n"), f"/healthz: {status} {text!r}")
        status, text = server.get("/metrics")
        client.check(status == 200 and "socketd_serving 1.0" in text, f"/metrics: {status}")
