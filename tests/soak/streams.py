"""Clients of streams that behave well, at their own pace: every byte is checked."""

from __future__ import annotations

from socketd.protocols.chargen import PATTERN
from tests.soak import configuration
from tests.soak.client import Client
from tests.soak.configuration import ACKNOWLEDGEMENT, FIRST_REPLY, MAX_LINE, REPLY
from tests.soak.plausible import SINCE_1900, check_daytime, check_time
from tests.soak.wires import proxy_header

#: Messages of one connection.
ROUNDS = 5

#: The longest message that reaches the daemon in one piece, and is none too long.
MESSAGE = 4000

#: What one client sends while it reads: more than all buffers on the way hold.
BULK = 1024 * 1024

#: What somebody reads who is slow, and how long he waits before each piece (seconds).
SLOW_PIECE, SLOW_WAIT = 8 * 1024, 0.002

#: Pieces of a message that comes byte by byte, and how far they are apart (seconds).
SLOW_BYTES, SLOW_PACE = 20, 0.02

#: How many a balancer speaks for.
BALANCED = 64

#: What is read of a stream without end.
CHARACTERS = 100_000

#: How many times as long a line may be that is too long.
TOO_LONG = 5


def messages(client: Client) -> list[bytes]:
    """Make some."""
    count = client.random.randint(1, ROUNDS)
    return [client.random.randbytes(client.random.randint(1, MESSAGE)) for _ in range(count)]


def somebody(client: Client) -> tuple[str, int]:
    """
    Draw an address of 198.18/15 (RFC 2544): of so many that none comes too often, and of
    so few that the daemon's table of sources is full of them before the first measurement.
    """
    draw = client.random.randint
    return f"198.18.0.{draw(1, BALANCED)}", draw(1024, 65535)


def echo(client: Client) -> None:
    """Message by message; the end is told by a half-close."""
    kind = client.serves("echo", ("tcp", "tcp6", "unix"))
    with client.dial("echo", kind) as peer:
        for message in messages(client):
            client.round("echo", peer.wire, message, message)
        client.equal(peer.wire.end(), b"")


def bulk(client: Client) -> None:
    """As much as goes, in both directions at once."""
    data = client.random.randbytes(client.random.randint(1, BULK))
    with client.dial("echo", client.serves("echo", ("tcp", "tcp6", "unix"))) as peer:
        client.equal(peer.wire.swap(data), data)


def slow_reader(client: Client) -> None:
    """More than the buffers hold, read in small pieces and slowly."""
    data = client.random.randbytes(BULK // 4)
    with client.dial("echo", client.serves("echo", ("tcp", "unix"))) as peer:
        peer.wire.send(data[: BULK // 8])
        found = b""
        while len(found) < BULK // 8:
            found += peer.wire.receive(SLOW_PIECE)
            client.wait(SLOW_WAIT)
        client.equal(found + peer.wire.swap(data[BULK // 8 :], SLOW_PIECE), data)


def slow_writer(client: Client) -> None:
    """A line byte by byte."""
    line = client.random.randbytes(SLOW_BYTES).replace(b"\n", b"n")
    with client.dial("upper", client.serves("upper", ("tcp", "unix"))) as peer:
        for index in range(len(line)):
            peer.wire.send(line[index : index + 1])
            client.wait(SLOW_PACE)
        client.equal(peer.wire.end(), line.upper())


def lines(client: Client) -> None:
    """Lines one by one, several at once, and one without an end."""
    text = b"".join(b"line %d\n" % number for number in range(client.random.randint(1, 500)))
    with client.dial("upper", client.serves("upper", ("tcp", "unix"))) as peer:
        client.round("upper", peer.wire, b"one\n", b"ONE\n")
        client.equal(peer.wire.swap(text + b"the last"), text.upper() + b"THE LAST")


def long_line(client: Client) -> None:
    """A line that goes on and on ends the connection, after the answer to the one before."""
    size = client.random.randint(MAX_LINE, TOO_LONG * MAX_LINE)
    with client.dial("upper", client.serves("upper", ("tcp", "unix"))) as peer:
        client.round("upper", peer.wire, b"one\n", b"ONE\n")
        peer.wire.send(b"x" * size)
        # By now the end is on its way, and what follows is thrown away.
        client.wait(SLOW_PACE)
        peer.wire.send(b"x" * size)
        client.equal(peer.wire.end(), b"")


def ack(client: Client) -> None:
    """Each message and its acknowledgement."""
    with client.dial("ack", client.serves("ack", ("tcp", "unix"))) as peer:
        for message in messages(client):
            client.round("ack", peer.wire, message, message + ACKNOWLEDGEMENT)
        client.equal(peer.wire.end(), b"")


def reply(client: Client) -> None:
    """The fixed answer to each message; and to the first one only."""
    with client.dial("server") as peer:
        for message in messages(client):
            client.round("server", peer.wire, message, REPLY)
        client.equal(peer.wire.end(), b"")
    with client.dial("talk", client.serves("talk", ("tcp", "unix"))) as peer:
        client.round("talk", peer.wire, b"hello", FIRST_REPLY)
        client.equal(peer.wire.rest(), b"")


def times(client: Client) -> None:
    """The time, three ways."""
    for service, since in (("time", 0), ("rfc868", SINCE_1900)):
        with client.dial(service) as peer:
            check_time(client, peer.wire.rest(), since)
    with client.dial("daytime") as peer:
        check_daytime(client, peer.wire.rest())


def quote(client: Client) -> None:
    """One of the quotes."""
    with client.dial("qotd") as peer:
        found = peer.wire.rest()
        client.check(found in configuration.quotes(), f"{found!r} is no quote")


def discard(client: Client) -> None:
    """No word, whatever is said."""
    with client.dial("discard", client.serves("discard", ("tcp", "unix"))) as peer:
        client.equal(peer.wire.swap(client.random.randbytes(BULK // 8)), b"")


def characters(client: Client) -> None:
    """The pattern without end, as far as it is of interest."""
    with client.dial("chargen") as peer:
        peer.torn = True
        length = client.random.randint(1, CHARACTERS)
        expected = PATTERN * (length // len(PATTERN) + 1)
        client.equal(peer.wire.read(length), expected[:length])


def secure(client: Client) -> None:
    """TLS, up to its own end."""
    with client.dial("secure", client.serves("secure", ("tls", "tls6"))) as peer:
        tls = client.secure(peer)
        for message in messages(client):
            client.round("secure", tls, message, message)
        client.equal(tls.end(), b"")


def proxied(client: Client) -> None:
    """A balancer that speaks for others, and is believed."""
    header = proxy_header(client.random.random() < 0.5, somebody(client))
    kind = client.serves("proxied", ("tcp", "unix"))
    with client.dial("proxied", kind, "127.0.0.1") as peer:
        cut = client.random.randint(0, len(header))
        peer.wire.send(header[:cut])
        client.round("proxied", peer.wire, header[cut:] + b"hello", b"hello")
        client.equal(peer.wire.end(), b"")


def proxied_tls(client: Client) -> None:
    """TLS behind a header."""
    with client.dial("both", "tls", "127.0.0.1") as peer:
        peer.wire.send(proxy_header(True, somebody(client)))
        tls = client.secure(peer)
        client.round("both", tls, b"hello", b"hello")
        client.equal(tls.end(), b"")


def passing(client: Client) -> None:
    """
    A service that comes and goes: what it says is right, and it may end. The kernel
    resets whoever was not accepted yet.
    """
    served = False
    with client.dial("passing", client.serves("passing", ("tcp", "unix"))) as peer:
        peer.torn = True
        try:
            for message in messages(client):
                peer.wire.send(message)
                found = peer.wire.read(len(message))
                if found != message and message.startswith(found):
                    return
                client.equal(found, message)
                served = True
        except ConnectionError:
            client.check(not served, "who is served is reset when the service goes")
