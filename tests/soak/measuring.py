"""Clients that measure by datagrams, and of Network Time Security: each field is checked."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from attrs import define
from OpenSSL import SSL

from tests.protocols.clock.nts_client import USUAL, read_records
from tests.protocols.clock.nts_client import Client as Secured
from tests.protocols.measure import ipsla_wire
from tests.protocols.measure import stamp_wire as wire
from tests.soak.client import Client
from tests.soak.configuration import KEY, PROBE_PORTS, first_probe_port
from tests.soak.connections import PIECE, Connection, Mismatch
from tests.soak.datagrams import ask
from tests.soak.time_checks import SINCE_1900, SLACK, check_ntp, ntp_question

#: Datagrams of one client in turn.
ROUNDS = 10

#: How long C{ipsla} is asked to open its two ports (milliseconds): until long after the next time,
#: and for a moment.
LONG, MOMENT = 60_000, 200

#: The other address that asks C{ipsla} for nothing.
STRANGER = "127.0.4.99"

NUMBERED, PROBES, IPSLA = "numbered_datagrams_total", "probes_total", "ipsla_total"
SESSIONS, REQUESTS = "nts_sessions_total", "nts_requests_total"

_LABEL = b"EXPORTER-network-time-security"


@define
class Numbers:
    """
    The numbers of a sender that leaves some out, sends some twice, and some late.

    @ivar port: where it sends from.
    @ivar answered: how many answers there were; C{None}: not known, since one did not come.
    """

    port: int = 0
    last: int = 0
    missing: int = 0
    answered: int | None = 0

    def draw(self, client: Client) -> tuple[int, str]:
        """Draw a number; say what it counts as, if not as the next one."""
        chance = client.random.random()
        if chance < 0.1 and self.last:
            return self.last, "duplicate"
        if chance < 0.2 and self.missing:
            number, self.missing = self.missing, 0
            return number, "late"
        self.last += 1
        if chance < 0.3 and self.last > 1:
            self.missing, self.last = self.last, self.last + 1
            return self.last, "lost"
        return self.last, ""


def source_of(client: Client) -> str:
    """An address that no other client has: what the daemon knows of it stays small."""
    return f"127.0.4.{client.number + 1}"


def numbered(client: Client) -> None:
    """Numbered datagrams come back, and the numbers are counted."""
    numbers = client.kept.setdefault("numbered", Numbers())
    with client.datagrams("numbered", source=source_of(client), port=numbers.port) as sock:
        numbers.port = sock.getsockname()[1]
        for _ in range(ROUNDS):
            number, result = numbers.draw(client)
            client.tally("numbered", NUMBERED, "received", *filter(None, [result]))
            ask(client, "numbered", sock, number.to_bytes(4, "big") + b"some text")
        client.tally("numbered", NUMBERED, "short")
        ask(client, "numbered", sock, b"x")


def stamp(client: Client) -> None:
    """A session without end: answers have numbers of their own, and times."""
    _reflect(client, "stamp", "open")


def secret(client: Client) -> None:
    """The same with keys; a packet with another one has no answer."""
    _reflect(client, "secret", "authenticated")
    with client.datagrams("secret", source=source_of(client)) as sock:
        client.send("secret", sock, wire.signed(b"wrong", sequence=1))
    client.counts.service("secret").silent += 1
    client.tally("secret", PROBES, "authenticated received", "authenticated bad_hmac")


def _reflect(client: Client, service: str, kind: str) -> None:
    numbers = client.kept.setdefault(service, Numbers())
    with client.datagrams(service, source=source_of(client), port=numbers.port) as sock:
        numbers.port = sock.getsockname()[1]
        for _ in range(ROUNDS):
            number, result = numbers.draw(client)
            found = [f"{kind} {one}" for one in ("received", "reflected", result) if one]
            client.tally(service, PROBES, *found)
            _probe(client, service, sock, numbers, number)


def _probe(
    client: Client, service: str, sock: socket.socket, numbers: Numbers, number: int
) -> None:
    """Send a packet, and check its answer octet by octet, but for the times."""
    values = {"sequence": number, "timestamp": client.random.getrandbits(64), "ssid": 7}
    tlvs = client.random.choice((b"", wire.tlv(1, client.random.randbytes(20))))
    is_open = service == "stamp"
    packet = wire.request(tlvs, **values) if is_open else wire.signed(KEY, tlvs, **values)
    client.send(service, sock, packet)
    answer = client.receive(service, sock)
    if answer is None:
        numbers.answered = None
        return
    fields = wire.REFLECTOR if is_open else wire.AUTHENTICATED_REFLECTOR
    said = wire.read(fields, answer)
    expected = said["sequence"] if numbers.answered is None else numbers.answered
    numbers.answered = said["sequence"] + 1
    times = [said[name] / 2**32 for name in ("received", "timestamp")]
    good = times[0] < times[1] and abs(times[1] - SINCE_1900 - time.time()) < SLACK
    good = good and said["sequence"] == expected and said["ssid"] == 7 and said["ttl"] == 64
    good = good and said["sender_sequence"] == number and len(answer) == len(packet)
    good = good and said["sender_timestamp"] == values["timestamp"]
    good = good and (is_open or answer[96:112] == wire.mac(KEY, answer[:96]))
    client.check(good, f"{said} is no answer to {values}; number {expected} was due")


def ipsla(client: Client) -> None:
    """
    A router's operations, by the first or second version: two ports are opened, one for probes,
    one for a moment; others are not.
    """
    source, is_second = source_of(client), bool(client.number)
    host, control = client.address("ipsla", "udp")
    first = first_probe_port() + 2 * client.number
    with client.datagrams("ipsla", source=source) as sock:
        _open(client, sock, first, LONG, is_second)
        if "open" not in client.kept:
            client.kept["open"] = True
            client.tally("ipsla", IPSLA, "opened")
        sock.connect((host, first))
        for number in range(1, ROUNDS):
            (_probe_second if is_second else _probe_first)(client, sock, number)
        sock.connect((host, control))
        _open(client, sock, first + 1, MOMENT, is_second)
        client.tally("ipsla", IPSLA, "opened")
        if not is_second:
            _unanswered(client, sock, _first_version(first + PROBE_PORTS, MOMENT), "port")
            sock.connect((host, first))
            _unanswered(client, sock, b"\0\x63" + bytes(20), "unknown_probe")
        client.wait(2 * MOMENT / 1000)
    with client.datagrams("ipsla", source=STRANGER) as sock:
        sock.connect((host, first))
        _unanswered(client, sock, b"\0\1\0\0hello", "stranger")


def _open(
    client: Client, sock: socket.socket, port: int, milliseconds: int, is_second: bool
) -> None:
    """Have a port opened."""
    client.tally("ipsla", IPSLA, "accepted")
    if is_second:
        place = sock.getsockname()[1]
        asked = ipsla_wire.request(port, milliseconds=milliseconds, source_port=place)
        ask(client, "ipsla", sock, asked)
    else:
        asked = _first_version(port, milliseconds)
        ask(client, "ipsla", sock, asked, asked[:2] + b"\0\x18" + asked[4:24])


def _first_version(port: int, milliseconds: int) -> bytes:
    return ipsla_wire.first_version("127.0.0.1", port, milliseconds)


def _unanswered(client: Client, sock: socket.socket, datagram: bytes, result: str) -> None:
    """Send what has no answer."""
    client.send("ipsla", sock, datagram)
    client.counts.service("ipsla").silent += 1
    client.tally("ipsla", IPSLA, result)


def _probe_first(client: Client, sock: socket.socket, number: int) -> None:
    """Probe in milliseconds, after an echo."""
    client.tally("ipsla", IPSLA, *["probed"] * 2)
    ask(client, "ipsla", sock, b"\0\1\0\0" + client.random.randbytes(20))
    sent = client.random.getrandbits(32)
    client.send("ipsla", sock, struct.pack("!HHIIHH16s", 2, 0, sent, 0, number, 0, b"x" * 16))
    answer = client.receive("ipsla", sock)
    if answer is not None:
        kind, _, again, received, theirs, ours, rest = struct.unpack("!HHIIHH16s", answer)
        late = (time.time() - received / 1000) % 86_400
        good = (kind, again, theirs, ours, rest) == (2, sent, number, number, b"x" * 16)
        good = good and min(late, 86_400 - late) < SLACK
        client.check(good, f"{answer!r} is no answer to probe {number}")


def _probe_second(client: Client, sock: socket.socket, number: int) -> None:
    """Probe in microseconds; the answers are counted from 1."""
    client.tally("ipsla", IPSLA, "probed")
    probe = ipsla_wire.probe(number)
    client.send("ipsla", sock, probe)
    answer = client.receive("ipsla", sock)
    if answer is None:
        return
    first, last = (one / 2**32 - SINCE_1900 for one in struct.unpack("!QQ", answer[12:28]))
    good = answer[:12] + answer[28:56] + answer[60:] == probe[:12] + probe[28:56] + probe[60:]
    good = good and first <= last and abs(last - time.time()) < SLACK
    count = int.from_bytes(answer[56:60], "big")
    client.check(good and 1 <= count <= number, f"{answer!r} is no answer to probe {number}")


class SecureExchange:
    """A client's end of TLS that exports keys; the connection counts the bytes."""

    def __init__(self, connection: Connection) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_alpn_protos([b"ntske/1"])
        self._connection = connection
        self._tls = SSL.Connection(context, None)
        self._tls.set_connect_state()

    def ask(self, request: bytes) -> bytes:
        """Send a request; return the response, behind which TLS ends."""
        self._run(self._tls.do_handshake)
        self._run(lambda: self._tls.sendall(request))
        found = b""
        try:
            while True:
                found += self._run(lambda: self._tls.recv(PIECE))
        except SSL.ZeroReturnError:
            return found

    def keys(self) -> list[bytes]:
        """Export the keys of both directions (RFC 8915, 5.1)."""
        contexts = (bytes.fromhex(f"0000000f{role}") for role in ("00", "01"))
        return [self._tls.export_keying_material(_LABEL, 32, one) for one in contexts]

    def _run(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                found = step()
            except SSL.WantReadError:
                self._flush()
                data = self._connection.receive()
                if not data:
                    raise Mismatch("the connection ended inside TLS") from None
                self._tls.bio_write(data)
            else:
                self._flush()
                return found

    def _flush(self) -> None:
        with suppress(SSL.WantReadError):
            while True:
                self._connection.send(self._tls.bio_read(PIECE))


def nts(client: Client) -> None:
    """Keys and cookies by TLS, then proven time, and a refusal of a cookie that is none."""
    with client.connect("nts-ke", "tls") as peer:
        exchange = SecureExchange(peer.connection)
        records = read_records(exchange.ask(USUAL))
        cookies = [body for kind, _, body in records if kind == 5]
        client.check(len(cookies) == 8 and records[-1] == (0, True, b""), f"{records}")
        keys = exchange.keys()
        client.check_equal(peer.connection.finish(), b"")
    client.tally("nts-ke", SESSIONS, "established")
    with client.datagrams("nts") as sock:
        for cookie in cookies[:3]:
            _ask_secured(client, sock, Secured(cookie, *keys))
        _ask_secured(client, sock, Secured(bytes(len(cookies[0])), *keys))
        question = ntp_question(client)
        client.send("nts", sock, question)
        if (found := client.receive("nts", sock)) is not None:
            check_ntp(client, question, found)


def _ask_secured(client: Client, sock: socket.socket, secured: Secured) -> None:
    """Ask the time with a cookie, and check its proof and the new cookies; or the refusal."""
    question, more = ntp_question(client), client.random.randint(0, 7)
    nonce = client.random.randbytes(16)
    request = secured.request(placeholders=more, header=question, nonce=nonce)
    is_good = any(secured.cookie)
    client.tally("nts", REQUESTS, "answered" if is_good else "nak")
    client.send("nts", sock, request)
    answer = client.receive("nts", sock)
    if answer is None:
        return
    if is_good:
        check_ntp(client, question, answer[:48])
        count = len(secured.cookies(answer))
        client.check(len(answer) == len(request) and count == 1 + more, f"{count} of {1 + more}")
    else:
        client.check_equal(answer[12:16], b"NTSN")
