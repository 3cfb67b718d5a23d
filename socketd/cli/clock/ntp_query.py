"""Asks an NTP server several times (RFC 5905, section 7.3), and shows what its answers say."""

from __future__ import annotations

import json
import secrets
import struct
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from math import sqrt
from typing import Any

from attrs import frozen

from socketd.cli.clock.time_query import Timestamp, local_time
from socketd.cli.common.address import Address
from socketd.cli.transport.connect import connect
from socketd.cli.transport.error_text import no_answer
from socketd.cli.transport.interface import Probe
from socketd.common import table
from socketd.common.errors import CommandError
from socketd.common.text import escaped
from socketd.protocols.clock.ntp_time import LENGTH, instant, instant_of

#: Version 4, client.
_FIRST = 0x23
_SERVER = 4
#: Stratum from which on a server is not synchronised.
_UNSYNCHRONISED = 16

_PACKET = struct.Struct("!BBbbII4sQ8sQQ")
_SECOND = 10**9

#: What kiss codes mean (RFC 5905, section 7.4; RFC 8915, section 5.7).
_KISSES = {
    "DENY": "it does not serve us",
    "RSTR": "it does not serve us",
    "RATE": "it is asked too often",
    "NTSN": "it does not know the keys of our cookie",
}

LEAPS = ("none", "a second is added today", "a second is left out today", "not synchronised")

#: The most requests: servers refuse clients that ask more at once (chrony's burst is 8).
MAX_SAMPLES = 8
DEFAULT_SAMPLES = 4

#: Seconds between an answer and the next request.
PAUSE = 0.25

_COOKIE_BYTES = 8


@frozen
class Sample:
    """
    One answer of a server; times in seconds.

    @ivar offset: by how much the server is ahead of our clock.
    @ivar delay: the round trip, without the time that the server took.
    @ivar root_delay: to its reference, there and back.
    @ivar root_dispersion: how far its clock may be off besides.
    """

    offset: float
    delay: float
    stratum: int
    leap: int
    reference: str
    root_delay: float
    root_dispersion: float

    @property
    def root_distance(self) -> float:
        """How far our clock may be off if it is set by this sample (RFC 5905, A.5.5.2)."""
        return (self.root_delay + self.delay) / 2 + self.root_dispersion


@frozen
class NtsProof:
    """What vouches for the samples (RFC 8915): a server with keys of another one."""

    key_server: str
    server: str
    is_verified: bool

    def __str__(self) -> str:
        if self.is_verified:
            return f"yes, with keys of {self.key_server}"
        return f"no: the certificate of {self.key_server} was not verified"


def encode_request(cookie: bytes) -> bytes:
    """Write a request; eight random bytes in place of our time tell nothing of our clock."""
    return bytes([_FIRST]) + bytes(LENGTH - 1 - len(cookie)) + cookie


def read_sample(reply: bytes, cookie: bytes, sent: float, took: float) -> Sample | None:
    """
    Interpret the reply to a request that was sent at a time of our wall clock, and took so many
    seconds; C{None} if it answers another request.

    @raise CommandError: if the server refuses, or does not know the time.
    """
    if len(reply) < LENGTH:
        raise CommandError(f"reply error {len(reply)}: the peer is no NTP server")
    head, stratum, _, _, delay, dispersion, refid, _, origin, arrived, left = _PACKET.unpack(
        reply[:LENGTH]
    )
    if head & 7 != _SERVER or origin != cookie:
        return None
    if stratum == 0 and head >> 6 == 3 and any(refid):
        name = _name(refid)
        meaning = f" ({_KISSES[name]})" if name in _KISSES else ""
        raise CommandError(f"the server refuses: kiss code {name}{meaning}")
    if head >> 6 == 3 or not 0 < stratum < _UNSYNCHRONISED or not (arrived and left):
        raise CommandError("the server's clock is not synchronised")
    began, ended = instant(sent), instant(sent + took)
    came = instant_of(arrived, began)
    went = instant_of(left, came)
    reference = _name(refid) if stratum == 1 else str(IPv4Address(refid))
    return Sample(
        (came - began + went - ended) / 2 / _SECOND,
        max(0.0, took - (went - came) / _SECOND),
        stratum,
        head >> 6,
        reference,
        delay / 65536,
        dispersion / 65536,
    )


def _name(refid: bytes) -> str:
    return escaped(refid.rstrip(b"\0"))


def best_of(samples: Sequence[Sample]) -> Sample:
    """Choose the sample with the shortest round trip, which limits the error of its offset."""
    return min(samples, key=lambda sample: sample.delay)


def jitter_of(samples: Sequence[Sample]) -> float:
    """The spread of the offsets around that of the best sample (RFC 5905, section 10)."""
    best = best_of(samples).offset
    squares = sum((sample.offset - best) ** 2 for sample in samples)
    return sqrt(squares / max(1, len(samples) - 1))


def render_table(
    samples: Sequence[Sample], sent: int, now: float, proof: NtsProof | None = None
) -> str:
    """Render the samples as the lines of a table; C{now} is our time."""
    best = best_of(samples)
    rows = [
        ("offset", f"{best.offset:+.6f} s, at most {best.delay / 2:.6f} s off by the path"),
        ("delay", f"{best.delay * 1000:.3f} ms"),
        ("jitter", f"{jitter_of(samples) * 1000:.3f} ms"),
        ("stratum", str(best.stratum)),
        ("leap", LEAPS[best.leap]),
        ("root distance", f"{best.root_distance * 1000:.3f} ms"),
        ("reference", best.reference),
        ("samples", f"{len(samples)} of {sent}"),
    ]
    if proof is not None:
        rows += [("server", proof.server), ("authenticated", str(proof))]
    return table.render(("local time", local_time(now + best.offset)), rows)


def render_json(
    samples: Sequence[Sample], sent: int, now: float, proof: NtsProof | None = None
) -> str:
    """Render the samples as a line of JSON; C{now} is our time."""
    best = best_of(samples)
    shown = {
        "local_time": local_time(now + best.offset),
        "unix": round(now + best.offset, 6),
        "offset_seconds": round(best.offset, 9),
        "delay_ms": round(best.delay * 1000, 6),
        "jitter_ms": round(jitter_of(samples) * 1000, 6),
        "stratum": best.stratum,
        "leap": best.leap,
        "root_delay_ms": round(best.root_delay * 1000, 6),
        "root_dispersion_ms": round(best.root_dispersion * 1000, 6),
        "root_distance_ms": round(best.root_distance * 1000, 6),
        "reference": best.reference,
        "authenticated": proof is not None and proof.is_verified,
        "nts": proof and {"key_server": proof.key_server, "server": proof.server},
        "requests": sent,
        "samples": [
            {"offset_seconds": round(one.offset, 9), "delay_ms": round(one.delay * 1000, 6)}
            for one in samples
        ],
    }
    return json.dumps(shown) + "\n"


class NtpQuery(Probe):
    """Sends the requests, one when the last is answered; counts them in C{sent}."""

    def __init__(
        self, clock: Any, count: int, timeout: float, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """@param timeout: seconds until a request is lost, which is the last; 0 for no limit."""
        super().__init__(clock)
        self.samples: list[Sample] = []
        self.sent = 0
        self._wall_clock = wall_clock
        self._count, self._timeout = count, timeout
        self._cookie, self._moment = b"", Timestamp(0.0, 0.0)

    def connectionMade(self) -> None:
        self._send()

    def dataReceived(self, data: bytes) -> None:
        took = self._clock.seconds() - self._moment.monotonic
        try:
            sample = self._read(data, took)
        except CommandError as refused:
            self._end(refused)
            return
        # Otherwise it is a late answer, or from another machine.
        if sample is not None:
            self._cookie = b""
            self.samples.append(sample)
            if self.sent < self._count:
                self._set_timer(PAUSE, self._send)
            else:
                self._end()

    def _request(self) -> bytes:
        return encode_request(self._cookie)

    def _read(self, reply: bytes, took: float) -> Sample | None:
        """Interpret a reply that took so many seconds, as L{read_sample} does."""
        return read_sample(reply, self._cookie, self._moment.wall, took)

    def _why_overdue(self) -> CommandError:
        return no_answer(self._timeout)

    def _send(self) -> None:
        self.sent += 1
        self._cookie = secrets.token_bytes(_COOKIE_BYTES)
        request = self._request()
        if self._timeout:
            self._give_up_after(self._timeout)
        self._moment = Timestamp(self._wall_clock(), self._clock.seconds())
        self.transport.write(request)

    def _give_up_after(self, seconds: float) -> None:
        self._set_timer(seconds, lambda: self._end(self._why_overdue()))

    def _end(self, failure: BaseException | None = None) -> None:
        """End with the samples so far; with a failure if there are none."""
        super()._end(None if self.samples else failure)


async def query_ntp(reactor: Any, address: Address, count: int, timeout: float) -> NtpQuery:
    """Ask a server; raise any error that L{socketd.cli.transport.error_text.explain} describes."""
    query = NtpQuery(reactor, count, timeout)
    await connect(reactor, address, query)
    await query.done
    return query
