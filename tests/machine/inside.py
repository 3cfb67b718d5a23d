"""
What runs in the machine, by its own Python: clients of the daemon, without socketd.

usage: inside.py ask RUNTIME | answers PORT SECONDS | load PORT SECONDS | hold PORT
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

#: Seconds that one exchange may take: a restart of the daemon is within it.
PATIENCE = 10.0

#: Seconds between two exchanges of one worker: enough load to meet any gap, and less
#: than would use up the ports that linger in TIME_WAIT.
PACE = 0.002

WORKERS = 4

HOST = "127.0.0.1"

#: Seconds from 1900 to 1970.
ERA = 2208988800

#: It never stops: the beginning is enough.
CHARGEN = 23019

NTP_REQUEST = bytes([0x23]) + bytes(47)


def near(epoch: int) -> Callable[[bytes], bool]:
    """Make a check for four bytes of the time of day."""
    return lambda data: abs(struct.unpack("!I", data)[0] - epoch - time.time()) < 5


#: Kind, place (of a UNIX socket in the daemon's runtime directory), what is sent, what is right.
QUESTIONS: list[tuple[str, int | str, bytes, Callable[[bytes], bool]]] = [
    ("tcp", 12345, b"hi", lambda data: data == b"hi\nI get it!\n"),
    ("udp", 12345, b"", near(0)),
    ("tcp", 8080, b"hi", lambda data: data == b"HI"),
    ("tcp6", 8080, b"hi", lambda data: data == b"HI"),
    ("unix", "upper.sock", b"hi", lambda data: data == b"HI"),
    ("tcp", 6789, b"hi", lambda data: data == b"Are you want to talk to me"),
    ("tcp", 9999, b"hi", lambda data: data == b"I am a server"),
    ("tcp", 23007, b"hi", lambda data: data == b"hi"),
    ("udp", 23007, b"hi", lambda data: data == b"hi"),
    ("tcp", 23009, b"hi", lambda data: data == b""),
    ("tcp", 23013, b"", lambda data: b"20" in data),
    ("udp", 23013, b"", lambda data: b"20" in data),
    ("tcp", CHARGEN, b"", lambda data: b" !\"#$%" in data),
    ("tcp", 23037, b"", near(ERA)),
    ("udp", 23037, b"", near(ERA)),
    ("tcp", 23043, b"", lambda data: b'"service": "whoami"' in data),
    ("udp", 23043, b"", lambda data: b'"service": "whoami"' in data),
    ("udp", 23123, NTP_REQUEST, lambda data: len(data) == 48 and data[0] & 7 == 4),
]


def exchange(kind: str, place: int | str, data: bytes) -> bytes:
    """Send one message, and take all of the answer."""
    if kind == "unix":
        sock = socket.socket(socket.AF_UNIX)
        address: object = place
    else:
        family = socket.AF_INET6 if kind == "tcp6" else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
        address = ("::1" if kind == "tcp6" else HOST, place)
    with sock:
        sock.settimeout(PATIENCE)
        sock.connect(address)  # type: ignore[arg-type]
        sock.sendall(data)
        if kind == "udp" or place == CHARGEN:
            return sock.recv(65536)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while part := sock.recv(65536):
            answer += part
        return answer


def ask(runtime: str) -> None:
    """Ask every default service, and print what is wrong."""
    for kind, place, data, is_right in QUESTIONS:
        try:
            answer = exchange(kind, f"{runtime}/{place}" if kind == "unix" else place, data)
        except OSError as error:
            print(f"{kind} {place}: {error}")
        else:
            if not is_right(answer):
                print(f"{kind} {place}: {answer!r}")


def answers(port: str, seconds: str) -> None:
    """Print after how many seconds an echo service answers, or nothing."""
    began = time.monotonic()
    while time.monotonic() < began + float(seconds):
        try:
            if exchange("tcp", int(port), b"x") == b"x":
                print(time.monotonic() - began)
                return
        except OSError:
            time.sleep(0.01)


def load(port: str, seconds: str) -> None:
    """
    Talk to an echo service all the time, each time over a new connection; print how often
    what happened.
    """
    end = time.monotonic() + float(seconds)
    tally: Counter[str] = Counter()

    def work() -> None:
        while time.monotonic() < end:
            try:
                right = exchange("tcp", int(port), b"x") == b"x"
                tally["answered" if right else "lost"] += 1
            except ConnectionRefusedError:
                tally["refused"] += 1
            except OSError as error:
                tally[type(error).__name__] += 1
            time.sleep(PACE)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(json.dumps(tally))


def hold(port: str) -> None:
    """
    Keep a connection open until the other side closes it; print how long that took after
    it had answered.
    """
    with socket.create_connection((HOST, int(port))) as sock:
        sock.sendall(b"x")
        sock.recv(1)
        print("held", flush=True)
        began = time.monotonic()
        try:
            while sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
        # Not closed: the daemon has to end all the same.
        print(time.monotonic() - began, flush=True)
        time.sleep(PATIENCE)


COMMANDS: dict[str, Callable[..., None]] = {
    "ask": ask,
    "answers": answers,
    "load": load,
    "hold": hold,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
