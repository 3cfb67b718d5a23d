"""Clients of services that answer by rule, that misbehave on purpose, and that measure streams."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from socketd.protocols.measure.chargen import PATTERN
from tests.soak.client import Client
from tests.soak.configuration import CHARACTERS
from tests.soak.datagrams import BURST, DOUBT, ask

#: What C{modem} is told, and what it answers whatever came before.
TOLD = (
    (b"AT", b"OK\r\n"),
    (b"HELO soak", b"250 hello\r\n"),
    (b"the status", b"up\r\n"),
    (b"AT+CSQ77", b"+CSQ: 24,77\r\n"),
    (b"AT+CSQ", b"+CSQ: 24,\r\n"),
    (b"\x01\x03ab", b"\x01\x83\x02"),
)

#: What the rules of the framings answer: each message has the size of C{fixed}.
PINGS = ((b"a ping", b"pong"), (b"lately", b"now"), (b"hello!", b"what"))

#: What C{quiet} says.
ASKED = b"are you there?\n"

#: How messages are framed, by service and kind.
FRAMINGS: tuple[tuple[str, str, Callable[[bytes], bytes]], ...] = (
    ("length", "tcp", lambda text: len(text).to_bytes(2, "big") + text),
    ("delimited", "unix", lambda text: text + b"\x03"),
    ("fixed", "tcp", lambda text: text),
)

#: Messages of one connection.
ROUNDS = 8

#: The longest message to C{faulty}, longer than what its profiles end a connection after.
LONGEST = 4000

#: The longest datagram to C{lossy}.
SHORT = 200

_REPORT = re.compile(rb"(\d+) bytes, \d+\.\d{3} s, \d+\.\d{3} Mbit/s\n")


def modem(client: Client) -> None:
    """A conversation by rule: some rules count, one closes."""
    others = twice = 0
    with client.connect("modem", client.pick_kind("modem", ("tcp", "unix"))) as peer:
        client.check_equal(peer.connection.read(11), b"220 ready\r\n")
        for _ in range(ROUNDS):
            message, answer = client.random.choice((*TOLD, (b"twice", b""), (b"what?", b"")))
            if message == b"twice" and twice < 2:
                twice, answer = twice + 1, b"here\r\n"
            elif not answer:
                others += 1
                answer = b"ERROR\r\n" if others % 3 else b"BUSY\r\n"
            end = client.random.choice((b"\n", b"\r\n"))
            client.round_trip("modem", peer.connection, message + end, answer)
        client.round_trip("modem", peer.connection, b"QUIT\n", b"bye\r\n")
        client.check_equal(peer.connection.read_to_end(), b"")


def framings(client: Client) -> None:
    """Messages of each framing, in pieces and several at once."""
    service, kind, frame = client.random.choice(FRAMINGS)
    told = client.random.choices(PINGS, k=ROUNDS)
    data = b"".join(frame(message) for message, _ in told)
    cut = client.random.randint(1, len(data) - 1)
    with client.connect(service, kind) as peer:
        peer.connection.send(data[:cut])
        answer = b"".join(answer for _, answer in told)
        client.round_trip(service, peer.connection, data[cut:], answer)
        client.check_equal(peer.connection.finish(), b"")


def pulse(client: Client) -> None:
    """Messages that end with a silence."""
    with client.connect("pulse") as peer:
        for message, answer in PINGS:
            client.round_trip("pulse", peer.connection, message, answer)
        client.check_equal(peer.connection.finish(), b"")


def quiet(client: Client) -> None:
    """A silent peer is spoken to, again and again."""
    with client.connect("quiet") as peer:
        found = peer.connection.read(2 * len(ASKED)) + peer.connection.finish()
        client.check_equal(found, ASKED * max(2, len(found) // len(ASKED)))


def spoken(client: Client) -> None:
    """Datagrams by rule, some answered later."""
    with client.datagrams("spoken") as sock:
        for message, answer in PINGS:
            ask(client, "spoken", sock, message, answer)


def faulty(client: Client) -> None:
    """Whatever profile is on, what comes back is the beginning of what was sent."""
    data, found = client.random.randbytes(client.random.randint(1, LONGEST)), b""
    with client.connect("faulty", client.pick_kind("faulty", ("tcp", "unix"))) as peer:
        peer.aborted = True
        peer.connection.sock.settimeout(DOUBT)
        try:
            peer.connection.send(data)
            while len(found) < len(data) and (piece := peer.connection.receive()):
                found += piece
        except (TimeoutError, ConnectionError):
            pass
        client.check(data.startswith(found), f"{found[:60]!r} is not how {data[:60]!r} begins")


def lossy(client: Client) -> None:
    """Datagrams come back in any order, cut or with one wrong bit, twice or not at all."""
    sent = [client.random.randbytes(client.random.randint(8, SHORT)) for _ in range(BURST)]
    with client.datagrams("lossy") as sock:
        for datagram in sent:
            client.send("lossy", sock, datagram)
        sock.settimeout(DOUBT)
        while (found := client.receive("lossy", sock)) is not None:
            client.check(_came_of(found, sent), f"{found!r} was not sent")


def _came_of(found: bytes, sent: Iterable[bytes]) -> bool:
    """Say whether it is the beginning of one of these, but for one bit."""
    number, size = int.from_bytes(found, "big"), len(found)
    close = (number ^ int.from_bytes(one[:size], "big") for one in sent if len(one) >= size)
    return any(bits.bit_count() <= 1 for bits in close)


def source(client: Client) -> None:
    """So many characters, and the end."""
    with client.connect("source") as peer:
        expected = PATTERN * (CHARACTERS // len(PATTERN) + 1)
        client.check_equal(peer.connection.read_to_end(), expected[:CHARACTERS])


def sink(client: Client) -> None:
    """How many bytes were discarded."""
    size = client.random.randint(0, CHARACTERS)
    with client.connect("sink", client.pick_kind("sink", ("tcp", "unix"))) as peer:
        peer.connection.send(bytes(size))
        report = peer.connection.finish()
        found = _REPORT.fullmatch(report)
        client.check(found is not None and int(found[1]) == size, f"{report!r} of {size}")
