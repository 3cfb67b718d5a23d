"""Clients that do not behave, or cannot: what the door and the deadlines are for."""

from __future__ import annotations

from contextlib import ExitStack

from tests.soak import wires
from tests.soak.client import Client, Peer
from tests.soak.configuration import BANNED, CAP, PER_SOURCE, STRANGER
from tests.soak.wires import Mismatch

#: How many come at once where fewer are served.
FLOOD = 2 * CAP

#: What is neither TLS nor a PROXY header, from its first byte on.
GARBAGE = b"\xff\0GET / HTTP/1.1\r\n\r\n"

#: Longer messages end in the middle.
LONGEST = 200_000


def resets(client: Client) -> None:
    """A reset in the middle of a message."""
    kind = client.serves("rough", ("tcp", "unix"))
    with client.dial("rough", kind) as peer:
        peer.torn = True
        data = client.random.randbytes(client.random.randint(1, LONGEST))
        peer.wire.sock.setblocking(False)
        try:
            peer.wire.send(data)
        except BlockingIOError:
            pass
        peer.wire.reset()


def resets_tls(client: Client) -> None:
    """A reset in the middle of a record."""
    with client.dial("torn", "tls") as peer:
        peer.torn = True
        tls = client.secure(peer)
        tls.send(client.random.randbytes(client.random.randint(1, LONGEST // 10)))
        peer.wire.reset()


def hangs_up_inside_tls(client: Client) -> None:
    """A handshake that is dropped: at once, in the middle of a word, behind it."""
    hello = wires.first_hello()
    with client.dial("torn", "tls") as peer:
        peer.torn = True
        peer.wire.send(hello[: client.random.choice((0, 5, len(hello) // 2, len(hello)))])
        if client.random.random() < 0.5:
            peer.wire.reset()
    client.ledger.account("torn").refused["tls_handshake"] += 1


def garbage_as_tls(client: Client) -> None:
    """What is no TLS ends the connection."""
    _speak_garbage(client, "tls", "tls_handshake")


def garbage_as_header(client: Client) -> None:
    """What is no PROXY header resets the connection."""
    _speak_garbage(client, "tcp", "proxy_header")


def _speak_garbage(client: Client, kind: str, reason: str) -> None:
    with client.dial("torn", kind, "127.0.0.1") as peer:
        peer.torn = True
        peer.wire.send(GARBAGE + client.random.randbytes(client.random.randint(0, 1000)))
        client.check(_is_over(peer), f"garbage at {kind} is answered, or not noticed")
    client.ledger.account("torn").refused[reason] += 1


def no_balancer(client: Client) -> None:
    """A header of somebody who may not speak for others."""
    with client.dial("proxied", "tcp", STRANGER) as peer:
        peer.refused = "proxy_source"
        client.check(_is_turned_away(peer), "whoever speaks for others is believed")


def stranger(client: Client) -> None:
    """A peer of a network that is not served."""
    with client.dial("few", "tcp", STRANGER) as peer:
        peer.refused = "network"
        client.check(_is_turned_away(peer), f"{STRANGER} is served")


def flood(client: Client) -> None:
    """More than are served at once: the others wait in the kernel, and nobody is lost."""
    with ExitStack() as stack:
        peers = [stack.enter_context(client.dial("capped")) for _ in range(FLOOD)]
        for peer in peers:
            peer.wire.send(b"hello")
        for peer in peers:
            client.equal(peer.wire.read(5), b"hello")
            client.equal(peer.wire.end(), b"")
            # Its end makes room for those that still wait.
            peer.wire.sock.close()


def flood_of_one(client: Client) -> None:
    """More than one source may have: some are reset, and the others are served."""
    source = f"127.0.2.{client.number + 1}"
    with ExitStack() as stack:
        peers = [stack.enter_context(client.dial("few", "tcp", source)) for _ in range(FLOOD)]
        for peer in peers:
            if _is_turned_away(peer):
                peer.refused = "source_limit"
        served = [peer for peer in peers if not peer.refused]
        client.check(len(served) >= PER_SOURCE, f"only {len(served)} of one source are served")
        client.check(len(served) < FLOOD, "all of one source are served")
        for peer in served:
            # Else they may still be counted when this source comes again.
            client.equal(peer.wire.end(), b"")


def banned(client: Client) -> None:
    """A source that is banned now and then: served, or reset."""
    with client.dial("rough", "tcp", BANNED) as peer:
        peer.torn = True
        try:
            client.round("rough", peer.wire, b"hello", b"hello")
        except Mismatch:
            raise Mismatch("a ban ends with an orderly close") from None
        except OSError as problem:
            if isinstance(problem, TimeoutError):
                raise
            client.ledger.account("rough").perhaps["banned"] += 1


def silent(client: Client) -> None:
    """Whoever says nothing is closed."""
    with client.dial("first") as peer:
        client.equal(peer.wire.rest(), b"")
    client.ledger.account("first").overdue["first_byte_timeout"] += 1


def idle(client: Client) -> None:
    """Whoever says nothing more is closed."""
    with client.dial("idle") as peer:
        client.round("idle", peer.wire, b"hello", b"hello")
        client.equal(peer.wire.rest(), b"")
    client.ledger.account("idle").overdue["idle_timeout"] += 1


def talkative(client: Client) -> None:
    """Whoever does not come to an end is closed."""
    with client.dial("life") as peer:
        peer.torn = True
        try:
            while True:
                peer.wire.send(b"hello")
                if len(peer.wire.read(5)) < 5:
                    break
                client.wait(0.02)
        except ConnectionError:
            pass
    client.ledger.account("life").overdue["lifetime"] += 1


def stalls(client: Client) -> None:
    """Whoever takes nothing of what it is owed is reset."""
    with client.dial("stalled") as peer:
        peer.torn = True
        client.check(peer.wire.wait_for_reset(), "whoever takes nothing is not reset")
    client.ledger.account("stalled").overdue["stall_timeout"] += 1


def hesitates(client: Client) -> None:
    """Whoever does not come to an end of its handshake or header is reset."""
    kind, begin = client.random.choice((("tls", wires.first_hello()[:50]), ("tcp", b"PROXY TCP4")))
    with client.dial("hurried", kind, "127.0.0.1") as peer:
        peer.torn = True
        peer.wire.send(begin)
        client.check(_is_over(peer), "whoever does not shake hands is not reset")
    client.ledger.account("hurried").overdue["handshake_timeout"] += 1


def _is_turned_away(peer: Peer) -> bool:
    """
    Say hello, and say whether that connection is reset without a word.

    @raise Mismatch: if the answer is another one.
    """
    try:
        peer.wire.send(b"hello")
        found = peer.wire.read(5)
    except TimeoutError:
        raise
    except OSError:
        return True
    if found != b"hello":
        raise Mismatch(f"{found!r} instead of hello or a reset")
    return False


def _is_over(peer: Peer) -> bool:
    """Say whether a connection comes to an end; what TLS says of it may come before."""
    try:
        peer.wire.rest()
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True
