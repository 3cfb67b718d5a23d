"""Clients that misbehave: what the access policy and the deadlines are for."""

from __future__ import annotations

from contextlib import ExitStack

from tests.soak.client import Client, Peer
from tests.soak.configuration import BANNED, CAP, DENIED, NAME, PER_SOURCE
from tests.soak.connections import Mismatch
from tests.support.tls import client_hello

#: How many come at once where fewer are served.
FLOOD = 2 * CAP

#: What is neither TLS nor a PROXY header, from its first byte on.
GARBAGE = b"\xff\0GET / HTTP/1.1\r\n\r\n"

#: Longer messages end in the middle.
LONGEST = 200_000


def reset(client: Client) -> None:
    """A reset in the middle of a message."""
    kind = client.pick_kind("misuse", ("tcp", "unix"))
    with client.connect("misuse", kind) as peer:
        peer.aborted = True
        data = client.random.randbytes(client.random.randint(1, LONGEST))
        peer.connection.sock.setblocking(False)
        try:
            peer.connection.send(data)
        except BlockingIOError:
            pass
        peer.connection.reset()


def reset_in_tls(client: Client) -> None:
    """A reset in the middle of a record."""
    with client.connect("aborted", "tls") as peer:
        peer.aborted = True
        tls = client.start_tls(peer)
        tls.send(client.random.randbytes(client.random.randint(1, LONGEST // 10)))
        peer.connection.reset()


def dropped_handshake(client: Client) -> None:
    """A handshake that is dropped: before, within or after the client hello."""
    hello = client_hello(name=NAME)
    with client.connect("aborted", "tls") as peer:
        peer.aborted = True
        peer.connection.send(hello[: client.random.choice((0, 5, len(hello) // 2, len(hello)))])
        if client.random.random() < 0.5:
            peer.connection.reset()
    client.counts.service("aborted").refused["tls_handshake"] += 1


def garbage_as_tls(client: Client) -> None:
    """What is no TLS ends the connection."""
    _send_garbage(client, "tls", "tls_handshake")


def garbage_as_header(client: Client) -> None:
    """What is no PROXY header resets the connection."""
    _send_garbage(client, "tcp", "proxy_header")


def _send_garbage(client: Client, kind: str, reason: str) -> None:
    with client.connect("aborted", kind, "127.0.0.1") as peer:
        peer.aborted = True
        peer.connection.send(GARBAGE + client.random.randbytes(client.random.randint(0, 1000)))
        client.check(_is_over(peer), f"garbage at {kind} is answered, or not noticed")
    client.counts.service("aborted").refused[reason] += 1


def untrusted_proxy(client: Client) -> None:
    """A header from a source that is not in C{proxy_from}."""
    with client.connect("proxied", "tcp", DENIED) as peer:
        peer.refused = "proxy_source"
        client.check(_is_refused(peer), "a header from elsewhere is believed")


def denied_network(client: Client) -> None:
    """A peer of a network that is not served."""
    with client.connect("few", "tcp", DENIED) as peer:
        peer.refused = "network"
        client.check(_is_refused(peer), f"{DENIED} is served")


def flood(client: Client) -> None:
    """More than are served at once: the others wait in the kernel, and none is lost."""
    with ExitStack() as stack:
        peers = [stack.enter_context(client.connect("capped")) for _ in range(FLOOD)]
        for peer in peers:
            peer.connection.send(b"hello")
        for peer in peers:
            client.check_equal(peer.connection.read(5), b"hello")
            client.check_equal(peer.connection.finish(), b"")
            # Its end makes room for those that still wait.
            peer.connection.sock.close()


def flood_of_one_source(client: Client) -> None:
    """More than one source may have: some are reset, and the others are served."""
    source = f"127.0.2.{client.number + 1}"
    with ExitStack() as stack:
        peers = [stack.enter_context(client.connect("few", "tcp", source)) for _ in range(FLOOD)]
        for peer in peers:
            if _is_refused(peer):
                peer.refused = "source_limit"
        served = [peer for peer in peers if not peer.refused]
        client.check(len(served) >= PER_SOURCE, f"only {len(served)} of one source are served")
        client.check(len(served) < FLOOD, "all of one source are served")
        for peer in served:
            # Else they may still be counted when this source comes again.
            client.check_equal(peer.connection.finish(), b"")


def banned(client: Client) -> None:
    """A source that is banned now and then: served, or reset."""
    with client.connect("misuse", "tcp", BANNED) as peer:
        peer.aborted = True
        try:
            client.round_trip("misuse", peer.connection, b"hello", b"hello")
        except Mismatch:
            raise Mismatch("a ban ends with an orderly close") from None
        except OSError as problem:
            if isinstance(problem, TimeoutError):
                raise
            client.counts.service("misuse").possibly_refused["banned"] += 1


def no_first_byte(client: Client) -> None:
    """Without a first byte the connection is closed."""
    with client.connect("first") as peer:
        client.check_equal(peer.connection.read_to_end(), b"")
    client.counts.service("first").overdue["first_byte_timeout"] += 1


def idle(client: Client) -> None:
    """An idle connection is closed."""
    with client.connect("idle") as peer:
        client.round_trip("idle", peer.connection, b"hello", b"hello")
        client.check_equal(peer.connection.read_to_end(), b"")
    client.counts.service("idle").overdue["idle_timeout"] += 1


def endless(client: Client) -> None:
    """A connection that never ends is closed when its lifetime is over."""
    with client.connect("life") as peer:
        peer.aborted = True
        try:
            while True:
                peer.connection.send(b"hello")
                if len(peer.connection.read(5)) < 5:
                    break
                client.wait(0.02)
        except ConnectionError:
            pass
    client.counts.service("life").overdue["lifetime"] += 1


def stall(client: Client) -> None:
    """A peer that does not read is reset."""
    with client.connect("stalled") as peer:
        peer.aborted = True
        client.check(peer.connection.wait_for_reset(), "a peer that does not read is not reset")
    client.counts.service("stalled").overdue["stall_timeout"] += 1


def slow_handshake(client: Client) -> None:
    """A handshake or header that is never complete is reset."""
    begins = (("tls", client_hello(name=NAME)[:50]), ("tcp", b"PROXY TCP4"))
    kind, begin = client.random.choice(begins)
    with client.connect("hurried", kind, "127.0.0.1") as peer:
        peer.aborted = True
        peer.connection.send(begin)
        client.check(_is_over(peer), "an incomplete handshake is not reset")
    client.counts.service("hurried").overdue["handshake_timeout"] += 1


def _is_refused(peer: Peer) -> bool:
    """Send a message, and say whether the connection is reset without an answer to it."""
    try:
        peer.connection.send(b"hello")
        found = peer.connection.read(5)
    except TimeoutError:
        raise
    except OSError:
        return True
    if found != b"hello":
        raise Mismatch(f"{found!r} instead of hello or a reset")
    return False


def _is_over(peer: Peer) -> bool:
    """Say whether a connection ends; an alert of TLS may come before."""
    try:
        peer.connection.read_to_end()
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True
