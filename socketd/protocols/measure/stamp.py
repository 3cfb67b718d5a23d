"""
C{stamp}: a reflector of the Simple Two-Way Active Measurement Protocol (RFC 8762, RFC 8972), and
of TWAMP Light (RFC 5357, appendix I). docs/STAMP.md has the clauses of both, and what is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network
from itertools import product
from typing import Any, NamedTuple

from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from socketd.common.counters import LOOP
from socketd.common.system_clock import ClockState
from socketd.protocols.batches import Groups, IBatchProtocol, IDatagramBatch
from socketd.protocols.clock.ntp_time import instant
from socketd.protocols.measure.sequence import DUPLICATE, LATE, LOST, Sender, Sessions
from socketd.protocols.measure.stamp_options import ALL_DSCPS, StampOptions
from socketd.protocols.measure.stamp_packet import (
    AUTHENTICATED_LENGTH,
    LIGHT_ANSWER_LENGTH,
    LIGHT_LENGTH,
    OPEN_LENGTH,
    UNKNOWN_TTL,
    USUAL,
    Answer,
    Request,
    error_estimate,
    is_answer,
    is_authentic,
    is_padding,
    is_usual,
    parse_authenticated,
    parse_open,
    parse_usual,
    timestamps,
    write_authenticated,
    write_open,
    write_usual,
)
from socketd.protocols.measure.stamp_tlv import Facts, answer_tlvs, sign
from socketd.protocols.spec import ProtocolContext, ProtocolSpec
from socketd.settings.listeners import Listener
from socketd.settings.networks import is_public

#: The classes of sessions, and what becomes of their packets; each pair is counted.
LIGHT, OPEN, AUTHENTICATED = CLASSES = ("light", "open", "authenticated")
RESULTS = (
    "received", "reflected", LOST, DUPLICATE, LATE, "bad_hmac", "bad_tlv_hmac", "too_short",
    LOOP,
)  # fmt: skip
COUNTED = tuple(product(CLASSES, RESULTS))

#: The reason by which the port counts an answer that is longer than its packet, too.
REPLY_SIZE = "reply_size"

#: The rate limit per source (packets per second), and its burst: a usual test sends 10 to 100 a
#: second, from several sessions of one host at times.
PROBE_RATE = 100.0
PROBE_BURST = 200

#: How long after the reading of its state the clock is used (seconds): it is read once a second.
STATE_AGE = 1.0


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


@implementer(IBatchProtocol)
class StampDatagrams(DatagramProtocol):
    """
    Reflects the packets of one port.

    T2 is the kernel's time of arrival (C{received_at} of the transport), or the time of delivery;
    T3 is taken last, before the answer is encoded and sent, or those of a group (L{Groups}).
    """

    transport: Any

    def __init__(self, options: StampOptions, context: ProtocolContext) -> None:
        self._options = options
        self._context = context
        self._counts: Counter[tuple[str, str]] = context.record.counters.probes
        self._sessions = Sessions(context.clock.seconds) if options.sessions else None
        self._must_authenticate = options.keys is not None and options.authenticated is not False
        self._ptp = options.timestamps == "ptp"
        # Whether a packet with neither TLVs nor authentication is answered in the short way.
        self._usual = not self._must_authenticate and not self._ptp
        self._groups = Groups()
        self._state: ClockState | None = None
        self._error = 0

    def batch_received(self, batch: IDatagramBatch) -> None:
        # A UNIX socket tells neither TTL nor TOS.
        if not self._usual or not isinstance(batch.sources[0], tuple):
            return
        times, ttls, marks = batch.received_at, batch.ttl, [tos & 0xFC for tos in batch.tos]

        def answer_from(at: int, count: int) -> bool:
            next_ = slice(at, at + count)
            packets = self._read_usual(batch, batch.lengths[next_])
            if packets:
                numbers, sessions = self._number(packets, batch.sources[next_])
                rows = [*zip(packets, numbers, times[next_], ttls[next_])]
                sent = self._reflect_group(batch, rows, marks[next_])
                self._note(numbers, sessions, sent)
            return bool(packets)

        self._groups.serve(batch, self._now, answer_from)

    def _read_usual(
        self, batch: IDatagramBatch, lengths: Sequence[int]
    ) -> Sequence[tuple[Any, ...]]:
        """
        Read the next packets, which have these lengths.

        @return: what L{parse_usual} reads of each; nothing if one of them is not usual.
        """
        if min(lengths) < OPEN_LENGTH:
            return ()
        count, tails = len(lengths), [b""] * len(lengths)
        if max(lengths) > OPEN_LENGTH:
            tails = [*batch.rest(OPEN_LENGTH, count)]
        packets = [(*read, tail) for read, tail in zip(batch.read(USUAL, count), tails)]
        return packets if all(map(is_usual, packets)) else ()

    def _number(
        self, packets: Sequence[tuple[Any, ...]], sources: Sequence[Any]
    ) -> tuple[Sequence[int], Sequence[Sender | None]]:
        """
        Number the answers to usual packets.

        @return: the numbers, and the session of each, if there are any.
        """
        if self._sessions is None:
            return [packet[0] for packet in packets], ()
        numbers, found = [], []
        for (sequence, _, _, ssid, _, _), source in zip(packets, sources):
            session = self._session(OPEN, source, ssid, sequence)
            found.append(session)
            numbers.append(sequence if session is None else session.sent & 0xFFFFFFFF)
            if session is not None:
                session.sent += 1
        return numbers, found

    def _reflect_group(
        self, batch: IDatagramBatch, rows: Sequence[tuple[Any, ...]], marks: Sequence[int]
    ) -> Sequence[int]:
        """
        Send the answers to the next packets.

        @param rows: what L{write_usual} is told.
        @return: T3 of each.
        """
        error, sent = self._error_estimate(), []

        def write(began: int, each: int) -> Sequence[bytes]:
            answers, times = write_usual(rows, error, began, each)
            sent.extend(times)
            return answers

        self._groups.send(batch, self._now, write, marks)
        return sent

    def _note(
        self, numbers: Sequence[int], sessions: Sequence[Sender | None], sent: Sequence[int]
    ) -> None:
        """Count the answers to usual packets."""
        for result in ("received", "reflected"):
            self._counts[OPEN, result] += len(numbers)
        for session, number, last in zip(sessions, numbers, sent):
            if session is not None:
                session.previous = number, last

    def _reflect_usual(self, packet: tuple[Any, ...], addr: Any, received: int) -> None:
        ttl, tos = self.transport.ip_header
        self.transport.mark((tos or 0) & 0xFC)
        numbers, sessions = self._number((packet,), (addr,))
        row = packet, numbers[0], received, UNKNOWN_TTL if ttl is None else ttl
        answers, sent = write_usual((row,), self._error_estimate(), self._now(), 0)
        self.transport.write(answers[0], addr)
        self._note(numbers, sessions, sent)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        received = self.transport.received_at or self._now()
        if self._usual and len(datagram) >= OPEN_LENGTH:
            packet = parse_usual(datagram)
            if is_usual(packet):
                self._reflect_usual(packet, addr, received)
                return
        probe = self._authenticate(datagram) if self._must_authenticate else self._read(datagram)
        if probe is not None:
            self._answer(probe, datagram, addr, received)

    def _answer(self, probe: Probe, datagram: bytes, addr: Any, received: int) -> None:
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
        session = self._session(probe.kind, addr, request.ssid, request.sequence)
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

    def _session(self, kind: str, addr: Any, ssid: int, sequence: int) -> Sender | None:
        """Find the session of a packet, and count what its number shows."""
        if self._sessions is None:
            return None
        session = self._sessions.of((addr, ssid), sequence)
        shown = None if session is None else session.arrivals.add(sequence)
        if shown is not None:
            self._counts[kind, shown[0]] += shown[1]
        return session

    def _answer_tlvs(
        self,
        probe: Probe,
        tail: bytes,
        addr: Any,
        tos: int | None,
        session: Sender | None,
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
            dscps=ALL_DSCPS if self._options.dscp is None else self._options.dscp,
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
        """Give source and destination of the packet; not told they are zeros of that family."""
        if not isinstance(addr, tuple):
            return _NOWHERE
        source = ip_address(addr[0]).packed
        if not self._options.location:
            return (bytes(len(source)), 0), (bytes(len(source)), 0)
        asked = self.transport.destination
        return (source, addr[1]), (ip_address(asked.host).packed, asked.port)

    def _now(self) -> int:
        return instant(self._context.wall_clock())

    def _error_estimate(self) -> int:
        state = self._context.clock_state()
        if state is not self._state:
            self._state = state
            self._error = error_estimate(state, state.read_at + STATE_AGE, self._ptp)
        return self._error


_NOWHERE = (b"", 0), (b"", 0)


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
