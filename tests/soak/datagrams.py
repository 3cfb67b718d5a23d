"""Clients of datagrams: of every length, one by one and in bursts, with and without address."""

from __future__ import annotations

import socket

from socketd.net.datagram.mmsg import MAX_SIZE
from socketd.protocols.measure.chargen import MAX_ANSWER, PATTERN
from tests.soak import configuration
from tests.soak.client import Client
from tests.soak.configuration import BANNED, REPLY
from tests.soak.connections import Mismatch
from tests.soak.time_checks import SINCE_1900, check_daytime, check_ntp, check_time, ntp_question

#: The longest of UDP (bytes): 65535 without the headers of IP and UDP.
LONGEST = 65507

#: Lengths at which something changes: nothing, a packet, a batch, the longest.
EDGES = (0, 1, 2, 511, 512, 513, 1472, 1473, 4096, 65000, LONGEST - 1, LONGEST)

#: How many come at once: more than one batch, less than a client's own buffer.
BURST, SHORT = 40, 1000

#: Datagrams of one client in turn.
ROUNDS = 10

#: How long an answer may take that may not come at all (seconds).
DOUBT = 0.5

UDP = ("udp", "udp6")


def lengths(client: Client) -> list[int]:
    """Draw some: an edge, short ones, any."""
    draw = client.random
    short = [draw.randint(0, SHORT) for _ in range(ROUNDS)]
    return [draw.choice(EDGES), *short, draw.randint(0, LONGEST)]


def echo(client: Client) -> None:
    """Any length comes back, byte by byte."""
    with client.datagrams("datagrams", client.pick_kind("datagrams", (*UDP, "unixgram"))) as sock:
        for length in lengths(client):
            ask(client, "datagrams", sock, client.random.randbytes(length))


def burst(client: Client) -> None:
    """Many at once come back in order."""
    with client.datagrams("datagrams", client.pick_kind("datagrams", UDP)) as sock:
        for number in range(BURST):
            client.send("datagrams", sock, b"%d " % number * client.random.randint(1, 100))
        for number in range(BURST):
            found = client.receive("datagrams", sock)
            if found is None:
                return
            client.check(found.startswith(b"%d " % number), f"{found[:20]!r} is not {number}")


def unbound(client: Client) -> None:
    """An unbound socket gets no answer, and what is too long is dropped."""
    with client.datagrams("datagrams", "unixgram", named=False) as sock:
        client.send("datagrams", sock, client.random.randbytes(client.random.randint(0, SHORT)))
        client.counts.service("datagrams").unbound += 1
        client.send("datagrams", sock, bytes(MAX_SIZE + client.random.randint(1, SHORT)))
        client.counts.service("datagrams").dropped["too_long"] += 1


def services(client: Client) -> None:
    """What inetd had, and what came later."""
    text = client.random.randbytes(client.random.randint(0, SHORT))
    with client.datagrams("server") as sock:
        ask(client, "server", sock, text, REPLY)
    with client.datagrams("upper") as sock:
        ask(client, "upper", sock, text, text.upper())
    with client.datagrams("chargen") as sock:
        ask(client, "chargen", sock, b"?" + text, PATTERN[: min(len(text) + 1, MAX_ANSWER)])
    with client.datagrams("discard") as sock:
        client.send("discard", sock, text)
        client.counts.service("discard").silent += 1


def times(client: Client) -> None:
    """The time, four ways, and a quote."""
    for service, since in (("time", 0), ("rfc868", SINCE_1900)):
        with client.datagrams(service) as sock:
            client.send(service, sock, b"")
            if (found := client.receive(service, sock)) is not None:
                check_time(client, found, since)
    with client.datagrams("daytime") as sock:
        client.send("daytime", sock, b"")
        if (found := client.receive("daytime", sock)) is not None:
            check_daytime(client, found)
    with client.datagrams("ntp") as sock:
        question = ntp_question(client)
        client.send("ntp", sock, question)
        if (found := client.receive("ntp", sock)) is not None:
            check_ntp(client, question, found)


def quote(client: Client) -> None:
    with client.datagrams("qotd") as sock:
        client.send("qotd", sock, b"")
        if (found := client.receive("qotd", sock)) is not None:
            client.check(found in configuration.quotes(), f"{found!r} is no quote")


def guarded(client: Client) -> None:
    """More than the guard lets through: what is answered is right."""
    source = f"127.0.3.{client.number + 1}"
    with client.datagrams("guarded", source=source) as sock:
        for number in range(BURST):
            client.send("guarded", sock, b"%d" % number)
        _hear_some(client, "guarded", sock)


def banned(client: Client) -> None:
    """A source that is banned now and then."""
    with client.datagrams("misuse", source=BANNED) as sock:
        client.send("misuse", sock, b"0")
        _hear_some(client, "misuse", sock)


def passing(client: Client) -> None:
    """A service that comes and goes."""
    with client.datagrams("passing") as sock:
        try:
            client.send("passing", sock, b"0")
            _hear_some(client, "passing", sock)
        except ConnectionRefusedError:
            pass


def ask(
    client: Client, service: str, sock: socket.socket, data: bytes, answer: bytes | None = None
) -> None:
    """
    Send a datagram, and check the answer.

    None at all is no mistake here: the accounts tell whether the kernel has dropped it.

    @param answer: the same again where not given.
    """
    client.send(service, sock, data)
    found = client.receive(service, sock)
    if found is not None:
        client.check_equal(found, data if answer is None else answer)


def _hear_some(client: Client, service: str, sock: socket.socket) -> None:
    """Take the answers that come, in order, some left out."""
    sock.settimeout(DOUBT)
    last = -1
    while (found := client.receive(service, sock)) is not None:
        if not last < int(found) < BURST:
            raise Mismatch(f"{found!r} after {last}")
        last = int(found)
        client.check(True, "")
