"""Clients of streams that behave well, at their own pace: every byte is checked."""

from __future__ import annotations

from socketd.protocols.measure.chargen import PATTERN
from tests.soak import configuration
from tests.soak.client import Client
from tests.soak.configuration import ACKNOWLEDGEMENT, FIRST_REPLY, MAX_LINE, REPLY
from tests.soak.time_checks import SINCE_1900, check_daytime, check_time
from tests.support.proxy import v1, v2_tcp

#: Messages of one connection.
ROUNDS = 5

#: The longest message that reaches the daemon in one piece, and is none too long.
MESSAGE = 4000

#: What one client sends while it reads: more than all buffers on the way hold.
BULK = 1024 * 1024

#: What a slow reader takes at a time, and its pause before each piece (seconds).
SLOW_PIECE, SLOW_WAIT = 8 * 1024, 0.002

#: Pieces of a message that comes byte by byte, and how far they are apart (seconds).
SLOW_BYTES, SLOW_PACE = 20, 0.02

#: How many sources a balancer forwards.
BALANCED = 64

#: What is read of a stream without end.
CHARACTERS = 100_000

#: How many times as long a line may be that is too long.
TOO_LONG = 5


def messages(client: Client) -> list[bytes]:
    count = client.random.randint(1, ROUNDS)
    return [client.random.randbytes(client.random.randint(1, MESSAGE)) for _ in range(count)]


def forged_source(client: Client) -> tuple[str, int]:
    """
    Draw an address of 198.18/15 (RFC 2544): of so many that none comes too often, and of
    so few that the daemon's table of sources is full of them before the first measurement.
    """
    draw = client.random.randint
    return f"198.18.0.{draw(1, BALANCED)}", draw(1024, 65535)


def echo(client: Client) -> None:
    """Message by message; the end is told by a half-close."""
    kind = client.pick_kind("echo", ("tcp", "tcp6", "unix"))
    with client.connect("echo", kind) as peer:
        for message in messages(client):
            client.round_trip("echo", peer.connection, message, message)
        client.check_equal(peer.connection.finish(), b"")


def bulk(client: Client) -> None:
    """Many bytes, in both directions at once."""
    data = client.random.randbytes(client.random.randint(1, BULK))
    with client.connect("echo", client.pick_kind("echo", ("tcp", "tcp6", "unix"))) as peer:
        client.check_equal(peer.connection.exchange(data), data)


def slow_reader(client: Client) -> None:
    """More than the buffers hold, read in small pieces and slowly."""
    data = client.random.randbytes(BULK // 4)
    with client.connect("echo", client.pick_kind("echo", ("tcp", "unix"))) as peer:
        peer.connection.send(data[: BULK // 8])
        found = b""
        while len(found) < BULK // 8:
            found += peer.connection.receive(SLOW_PIECE)
            client.wait(SLOW_WAIT)
        client.check_equal(found + peer.connection.exchange(data[BULK // 8 :], SLOW_PIECE), data)


def slow_writer(client: Client) -> None:
    """A line byte by byte."""
    line = client.random.randbytes(SLOW_BYTES).replace(b"\n", b"n")
    with client.connect("upper", client.pick_kind("upper", ("tcp", "unix"))) as peer:
        for index in range(len(line)):
            peer.connection.send(line[index : index + 1])
            client.wait(SLOW_PACE)
        client.check_equal(peer.connection.finish(), line.upper())


def lines(client: Client) -> None:
    """Lines one by one, several at once, and one without an end."""
    text = b"".join(b"line %d\n" % number for number in range(client.random.randint(1, 500)))
    with client.connect("upper", client.pick_kind("upper", ("tcp", "unix"))) as peer:
        client.round_trip("upper", peer.connection, b"one\n", b"ONE\n")
        found = peer.connection.exchange(text + b"the last")
        client.check_equal(found, text.upper() + b"THE LAST")


def long_line(client: Client) -> None:
    """A line without end closes the connection, after the answer to the one before."""
    size = client.random.randint(MAX_LINE, TOO_LONG * MAX_LINE)
    with client.connect("upper", client.pick_kind("upper", ("tcp", "unix"))) as peer:
        client.round_trip("upper", peer.connection, b"one\n", b"ONE\n")
        peer.connection.send(b"x" * size)
        # By now the end is on its way, and what follows is thrown away.
        client.wait(SLOW_PACE)
        peer.connection.send(b"x" * size)
        client.check_equal(peer.connection.finish(), b"")


def ack(client: Client) -> None:
    """Each message and its acknowledgement."""
    with client.connect("ack", client.pick_kind("ack", ("tcp", "unix"))) as peer:
        for message in messages(client):
            client.round_trip("ack", peer.connection, message, message + ACKNOWLEDGEMENT)
        client.check_equal(peer.connection.finish(), b"")


def reply(client: Client) -> None:
    """The fixed answer to each message; and to the first one only."""
    with client.connect("server") as peer:
        for message in messages(client):
            client.round_trip("server", peer.connection, message, REPLY)
        client.check_equal(peer.connection.finish(), b"")
    with client.connect("talk", client.pick_kind("talk", ("tcp", "unix"))) as peer:
        client.round_trip("talk", peer.connection, b"hello", FIRST_REPLY)
        client.check_equal(peer.connection.read_to_end(), b"")


def times(client: Client) -> None:
    """The time, three ways."""
    for service, since in (("time", 0), ("rfc868", SINCE_1900)):
        with client.connect(service) as peer:
            check_time(client, peer.connection.read_to_end(), since)
    with client.connect("daytime") as peer:
        check_daytime(client, peer.connection.read_to_end())


def quote(client: Client) -> None:
    with client.connect("qotd") as peer:
        found = peer.connection.read_to_end()
        client.check(found in configuration.quotes(), f"{found!r} is no quote")


def discard(client: Client) -> None:
    """No word, whatever is said."""
    with client.connect("discard", client.pick_kind("discard", ("tcp", "unix"))) as peer:
        client.check_equal(peer.connection.exchange(client.random.randbytes(BULK // 8)), b"")


def characters(client: Client) -> None:
    """The beginning of the pattern without end."""
    with client.connect("chargen") as peer:
        peer.aborted = True
        length = client.random.randint(1, CHARACTERS)
        expected = PATTERN * (length // len(PATTERN) + 1)
        client.check_equal(peer.connection.read(length), expected[:length])


def secure(client: Client) -> None:
    """TLS, up to its own end."""
    with client.connect("secure", client.pick_kind("secure", ("tls", "tls6"))) as peer:
        tls = client.start_tls(peer)
        for message in messages(client):
            client.round_trip("secure", tls, message, message)
        client.check_equal(tls.finish(), b"")


def proxied(client: Client) -> None:
    """Connections through a balancer that is believed."""
    header = client.random.choice((v1, v2_tcp))(*forged_source(client))
    kind = client.pick_kind("proxied", ("tcp", "unix"))
    with client.connect("proxied", kind, "127.0.0.1") as peer:
        cut = client.random.randint(0, len(header))
        peer.connection.send(header[:cut])
        client.round_trip("proxied", peer.connection, header[cut:] + b"hello", b"hello")
        client.check_equal(peer.connection.finish(), b"")


def proxied_tls(client: Client) -> None:
    """TLS behind a header."""
    with client.connect("both", "tls", "127.0.0.1") as peer:
        peer.connection.send(v2_tcp(*forged_source(client)))
        tls = client.start_tls(peer)
        client.round_trip("both", tls, b"hello", b"hello")
        client.check_equal(tls.finish(), b"")


def passing(client: Client) -> None:
    """
    A service that comes and goes: its answers are right, and it may end. The kernel
    resets what was not accepted yet.
    """
    served = False
    with client.connect("passing", client.pick_kind("passing", ("tcp", "unix"))) as peer:
        peer.aborted = True
        try:
            for message in messages(client):
                peer.connection.send(message)
                found = peer.connection.read(len(message))
                if found != message and message.startswith(found):
                    return
                client.check_equal(found, message)
                served = True
        except ConnectionError:
            client.check(not served, "a served connection is reset when the service goes")
