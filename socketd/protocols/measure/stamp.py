"""
C{stamp}: a reflector of the Simple Two-Way Active Measurement Protocol (RFC 8762, RFC 8972), and
of TWAMP Light (RFC 5357, appendix I). docs/STAMP.md has the clauses of both, and what is kept.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import ip_network
from typing import Any, NamedTuple

from attrs import frozen
from twisted.internet.protocol import DatagramProtocol

from socketd.common.counters import LOOP
from socketd.common.system_clock import ClockState
from socketd.protocols.clock.ntp_time import instant
from socketd.protocols.measure.sequence import DUPLICATE, LATE, LOST
from socketd.protocols.measure.keys import KEYS, Keys
from socketd.protocols.measure.stamp_packet import (
    AUTHENTICATED_LENGTH,
    LIGHT_ANSWER_LENGTH,
    LIGHT_LENGTH,
    OPEN_LENGTH,
    UNKNOWN_TTL,
    Answer,
    Request,
    error_estimate,
    is_answer,
    is_authentic,
    parse_authenticated,
    parse_open,
    timestamps,
    write_authenticated,
    write_open,
)
from socketd.protocols.measure.stamp_sessions import Session, Sessions
from socketd.protocols.measure.stamp_tlv import Facts, answer_tlvs, is_padding, sign
from socketd.protocols.spec import MAX_AMPLIFY, ProtocolContext, ProtocolSpec
from socketd.settings.listeners import Listener
from socketd.settings.networks import is_public
from socketd.settings.options import option
from socketd.settings.value_types import SIZE, YES_NO, ValueType, choice, parse_list, within

#: The classes of sessions, and what becomes of their packets; each pair is counted.
LIGHT, OPEN, AUTHENTICATED = CLASSES = ("light", "open", "authenticated")
RESULTS = (
    "received", "reflected", LOST, DUPLICATE, LATE, "bad_hmac", "bad_tlv_hmac", "too_short",
    LOOP,
)  # fmt: skip

#: The reason by which the port counts an answer that is longer than its packet, too.
REPLY_SIZE = "reply_size"

#: The rate limit per source (packets per second), and its burst: a usual test sends 10 to 100 a
#: second, from several sessions of one host at times.
PROBE_RATE = 100.0
PROBE_BURST = 200

#: How long after the reading of its state the clock is used (seconds): it is read once a second.
STATE_AGE = 1.0

_DSCPS = 64
_ALL_DSCPS = frozenset(range(_DSCPS))


def parse_dscps(text: str) -> frozenset[int]:
    """Parse C{any}, C{none}, or numbers."""
    if text in ("any", "none"):
        return _ALL_DSCPS if text == "any" else frozenset()
    words = parse_list(text, r"[,\s]")
    if not words or not all(word.isascii() and word.isdigit() for word in words):
        raise ValueError("is no list of DSCPs; write any, none, or numbers as 0 10 46")
    found = frozenset(map(int, words))
    if max(found) >= _DSCPS:
        raise ValueError(f"has a DSCP that is too large; write 0 to {_DSCPS - 1}")
    return found


@frozen
class StampOptions:
    """The options of C{stamp}."""

    sessions: bool = option(
        YES_NO,
        True,
        "Whether answers are counted by source and SSID, so that a sender can tell loss on the way"
        " to this host from loss on the way back; no: they have the numbers of the questions.",
    )
    keys: Keys | None = option(
        KEYS, None, "The keys of the sessions, by SSID; it is read when the configuration is."
    )
    authenticated: bool | None = option(
        YES_NO,
        None,
        "Whether only authenticated packets are answered, as is the default with keys; no: the"
        " keys are those of HMAC TLVs only.",
    )
    timestamps: str = option(
        choice("ntp", "ptp"), "ntp", "The format of the timestamps of this host."
    )
    dscp: frozenset[int] | None = option(
        ValueType("any | none | numbers (0 10 46)", parse_dscps),
        None,
        "The DSCPs that a sender may ask for; by default any.",
    )
    location: bool = option(
        YES_NO, True, "Whether a sender is told the addresses and ports of its packets here."
    )
    udp_amplify: int | None = option(
        within(SIZE, 0, MAX_AMPLIFY, f"write 0 to {MAX_AMPLIFY}"),
        None,
        "Answer a datagram with up to so many bytes however short it is; by default 44, and only"
        " to loopback and private networks.",
    )


class Probe(NamedTuple):
    """
    A packet of a sender.

    @ivar length: that of its base packet.
    @ivar key: that of its session, if any.
    """

    kind: str
    length: int
    request: Request
    key: bytes | None


class StampDatagrams(DatagramProtocol):
    """
    Reflects the packets of one port.

    T2 is the kernel's time of arrival (C{received_at} of the transport), or the time of delivery;
    T3 is taken last, before the answer is encoded and sent.
    """

    transport: Any

    def __init__(self, options: StampOptions, context: ProtocolContext) -> None:
        self._options = options
        self._context = context
        self._counts: Counter[tuple[str, str]] = context.record.counters.probes
        self._sessions = Sessions(context.clock.seconds) if options.sessions else None
        self._must_authenticate = options.keys is not None and options.authenticated is not False
        self._ptp = options.timestamps == "ptp"
        self._state: ClockState | None = None
        self._error = 0

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        received = self.transport.received_at or self._now()
        probe = self._authenticate(datagram) if self._must_authenticate else self._read(datagram)
        if probe is None:
            return
        self._counts[probe.kind, "received"] += 1
        if is_answer(datagram, probe.kind == AUTHENTICATED):
            # It would go round between two reflectors.
            self._counts[probe.kind, LOOP] += 1
            self.transport.drop(LOOP)
            return
        is_cut = len(datagram) < OPEN_LENGTH and not self._may_amplify(addr)
        if is_cut and len(datagram) < LIGHT_ANSWER_LENGTH:
            self._counts[probe.kind, "too_short"] += 1
            self.transport.drop(REPLY_SIZE)
            return
        self._reflect(probe, datagram, addr, received, is_cut)

    def _authenticate(self, datagram: bytes) -> Probe | None:
        """Check an authenticated packet, before anything of it is used."""
        if len(datagram) >= AUTHENTICATED_LENGTH and self._options.keys is not None:
            request = parse_authenticated(datagram)
            key = self._options.keys.of(request.ssid)
            if key is not None and is_authentic(datagram, key):
                return Probe(AUTHENTICATED, AUTHENTICATED_LENGTH, request, key)
        self._counts[AUTHENTICATED, "received"] += 1
        self._counts[AUTHENTICATED, "bad_hmac"] += 1
        return None

    def _read(self, datagram: bytes) -> Probe | None:
        if len(datagram) < LIGHT_LENGTH:
            self._counts[LIGHT, "too_short"] += 1
            return None
        request, keys = parse_open(datagram), self._options.keys
        kind = OPEN if len(datagram) >= OPEN_LENGTH else LIGHT
        return Probe(kind, OPEN_LENGTH, request, None if keys is None else keys.of(request.ssid))

    def _may_amplify(self, addr: Any) -> bool:
        """
        Say whether a packet may have an answer that is longer: its source may be forged, and the
        answer would then serve an attack.
        """
        allowed = self._options.udp_amplify
        if allowed is not None:
            return allowed >= OPEN_LENGTH
        return not isinstance(addr, tuple) or not is_public(ip_network(addr[0].partition("%")[0]))

    def _reflect(
        self, probe: Probe, datagram: bytes, addr: Any, received: int, is_cut: bool
    ) -> None:
        """@param is_cut: whether the answer ends where its packet did, as that of TWAMP may."""
        request, header = probe.request, self.transport.ip_header
        session = self._session(probe, addr)
        sequence = request.sequence if session is None else session.sent & 0xFFFFFFFF
        tail, dscp = datagram[probe.length :], None
        if tail and not is_padding(tail):
            tail, dscp = self._answer_tlvs(probe, tail, addr, header.tos, session, sequence)
        self.transport.mark((header.tos or 0) & 0xFC if dscp is None else dscp << 2)
        ttl = UNKNOWN_TTL if header.ttl is None else header.ttl
        error = self._error_estimate()
        first, last = timestamps(received, self._now(), self._ptp)
        answer = Answer(sequence, last, error, request.ssid, first, request, ttl)
        if probe.kind == AUTHENTICATED and probe.key is not None:
            base = write_authenticated(answer, probe.key)
        else:
            base = write_open(answer)[: len(datagram) if is_cut else None]
        self.transport.write(base + tail, addr)
        self._counts[probe.kind, "reflected"] += 1
        if session is not None:
            session.sent += 1
            session.previous = sequence, last

    def _session(self, probe: Probe, addr: Any) -> Session | None:
        """Find the session of a packet, and count what its number shows."""
        if self._sessions is None:
            return None
        request = probe.request
        session = self._sessions.of((addr, request.ssid), request.sequence)
        shown = None if session is None else session.arrivals.add(request.sequence)
        if shown is not None:
            self._counts[probe.kind, shown[0]] += shown[1]
        return session

    def _answer_tlvs(
        self,
        probe: Probe,
        tail: bytes,
        addr: Any,
        tos: int | None,
        session: Session | None,
        sequence: int,
    ) -> tuple[bytes, int | None]:
        """
        Answer what follows the base packet.

        @return: the answer, and the DSCP that the sender asked for.
        """
        source, destination = self._location(addr)
        facts = Facts(
            source=source,
            destination=destination,
            tos=tos,
            dscps=_ALL_DSCPS if self._options.dscp is None else self._options.dscp,
            synchronised=self._context.clock_state().synchronised,
            counts=(0, 0) if session is None else (session.arrivals.received, session.sent + 1),
            previous=None if session is None else session.previous,
        )
        is_due = probe.kind == AUTHENTICATED
        found = answer_tlvs(tail, probe.request.sequence, facts, probe.key, is_due)
        if not found.intact:
            self._counts[probe.kind, "bad_tlv_hmac"] += 1
            return found.wire, None
        return sign(found.wire, sequence, probe.key), found.dscp

    def _location(self, addr: Any) -> tuple[tuple[bytes, int], tuple[bytes, int]]:
        """
        Give source and destination of the current packet; not told they are zeros of the same
        family.
        """
        if not isinstance(addr, tuple):
            return _NOWHERE
        source = _packed(addr[0])
        if not self._options.location:
            return (bytes(len(source)), 0), (bytes(len(source)), 0)
        asked = self.transport.destination
        return (source, addr[1]), (_packed(asked.host), asked.port)

    def _now(self) -> int:
        return instant(self._context.wall_clock())

    def _error_estimate(self) -> int:
        state = self._context.clock_state()
        if state is not self._state:
            self._state = state
            self._error = error_estimate(state, state.read_at + STATE_AGE, self._ptp)
        return self._error


_NOWHERE = (b"", 0), (b"", 0)


def _packed(host: str) -> bytes:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.inet_pton(family, host.partition("%")[0])


def refusals(
    options: StampOptions, listeners: Sequence[Listener]
) -> Iterable[tuple[str, ValueError]]:
    """Find options that are in vain."""
    if options.keys is None and options.authenticated:
        yield "authenticated", ValueError("needs keys; write keys = FILE")


declaration = ProtocolSpec(
    options=StampOptions,
    datagram=StampDatagrams,
    reply_floor=lambda options: (
        OPEN_LENGTH if options.udp_amplify is None else options.udp_amplify
    ),
    udp_rate=PROBE_RATE,
    udp_burst=PROBE_BURST,
    timestamped=True,
    ip_header=True,
    refusals=refusals,
)
