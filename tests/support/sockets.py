"""Pairs of sockets, and what tests do with a peer's: read, wait for its reset, fill, reset it."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import struct
from collections.abc import Callable, Iterator

from tests.support.needs import missing


def make_pair(over_tcp: bool = False, small: bool = False) -> tuple[socket.socket, socket.socket]:
    """
    Connect two sockets that do not block: of TCP at loopback, or of a UNIX pair.

    @param small: whether the kernel's buffers are as small as they can be.
    @return: ours, and the peer's.
    """
    ours, peer = _tcp_pair() if over_tcp else socket.socketpair()
    for one in (ours, peer):
        one.setblocking(False)
        if small:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    return ours, peer


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        return server.accept()[0], peer


def read_to_end(sock: socket.socket, size: int = 4096) -> bytes:
    """Receive until the other side has closed."""
    received = bytearray()
    while data := sock.recv(size):
        received += data
    return bytes(received)


def read_exactly(sock: socket.socket, length: int) -> bytes:
    """Receive that many bytes, or fewer if the other side closes before."""
    received = b""
    while len(received) < length and (data := sock.recv(length - len(received))):
        received += data
    return received


def was_reset(sock: socket.socket) -> bool:
    """Wait for the end, and say whether it is a reset; bytes that come before do not count."""
    try:
        while sock.recv(4096):
            pass
    except ConnectionResetError:
        return True
    return False


def connect_is_reset(connect: Callable[[], socket.socket]) -> bool:
    """
    Connect, and say whether that is reset; a daemon that does so at once may be faster than
    connect(2), which then raises.
    """
    try:
        with connect() as sock:
            return was_reset(sock)
    except ConnectionResetError:
        return True


def address_of(sock: socket.socket) -> str:
    """Write a client's own address as the daemon does."""
    return "{}:{}".format(*sock.getsockname())


def is_silent(sock: socket.socket, seconds: float) -> bool:
    """Say whether nothing comes for so long."""
    # select(2) takes no descriptor from 1024 on.
    waiting = select.poll()
    waiting.register(sock, select.POLLIN)
    return not waiting.poll(seconds * 1000)


def exchange(sock: socket.socket, question: bytes) -> bytes:
    """Send some bytes, and read an answer that is as long."""
    sock.sendall(question)
    return read_exactly(sock, len(question))


def fill(sock: socket.socket) -> None:
    """Send until the buffers are full."""
    sock.setblocking(False)
    try:
        while True:
            sock.send(b"x" * 65536)
    except BlockingIOError:
        pass


def close_with_reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@contextlib.contextmanager
def descriptor_limit(number: int) -> Iterator[None]:
    """Allow this process, and what it starts, so many descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        raise missing(f"{number} descriptors", f"here {hard} are the most (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
