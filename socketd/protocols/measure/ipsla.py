"""
C{ipsla}: a responder for Cisco's IP SLA, UDP echo and UDP jitter.

A router asks at the control port (1967, or 1167 in version 2) for a port to probe; that is opened
for the time that it names, and answers its address only.
L{socketd.protocols.measure.ipsla_packets} and L{socketd.protocols.measure.ipsla_v2} have the
layout.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.protocol import DatagramProtocol

from socketd.common.timer import Timer
from socketd.protocols.clock.ntp_time import instant
from socketd.protocols.measure import ipsla_packets, ipsla_v2
from socketd.protocols.measure.keys import KEYS, Keys
from socketd.protocols.spec import ProtocolContext, ProtocolSpec
from socketd.settings.listeners import Listener
from socketd.settings.options import option
from socketd.settings.value_types import ValueType

#: The most ports of a range: each may cost a descriptor.
MAX_RANGE = 1024

#: The most sources of one port; one more takes the place of the one that asked first.
MAX_ASKERS = 256

#: The most source ports of one address whose answers are counted (version 2); one more takes the
#: place of the one that came first.
MAX_FLOWS = 64

#: The ports that control messages are sent to, and so none is sent from: the answer of another
#: responder would be a question here.
CONTROL_PORTS = (ipsla_packets.CONTROL_PORT, 1167)

#: The reason by which the port counts such a message.
SOURCE_PORT = "source_port"

#: The default rate per source (datagrams per second): the fastest jitter operation of a device
#: sends one each 4 ms.
RATE = 250.0
BURST = 250

#: Why a control message or a probe is not served, besides those of C{ipsla_packets} and
#: C{ipsla_v2}: the port is outside the range or cannot be opened, the source has not asked for it,
#: the probe is unknown.
PORT, STRANGER, UNKNOWN_PROBE = "port", "stranger", "unknown_probe"

#: What is counted: also ports that were opened, and answers to control messages and probes.
OPENED, ACCEPTED, PROBED = "opened", "accepted", "probed"
COUNTED = (
    ACCEPTED, OPENED, PROBED, "malformed", "unsupported", "authenticated", ipsla_v2.BAD_DIGEST,
    PORT, STRANGER, UNKNOWN_PROBE,
)  # fmt: skip

_PORTS = re.compile(r"(\d{1,5})(?:\.\.(\d{1,5}))?", re.ASCII)


@frozen
class PortRange:
    """The ports from one to another, both included."""

    low: int
    high: int

    def __contains__(self, port: int) -> bool:
        return self.low <= port <= self.high

    def __str__(self) -> str:
        return f"{self.low}..{self.high}"


def parse_ports(text: str) -> PortRange:
    """Parse a range of ports: C{50000..50100}, or one port."""
    match = _PORTS.fullmatch(text)
    if match is None:
        raise ValueError("is no range of ports; write LOW..HIGH, as 50000..50100")
    low, high = int(match[1]), int(match[2] or match[1])
    if not 1024 <= low <= high <= 65535:
        raise ValueError("is no range of ports; write LOW..HIGH, from 1024 to 65535")
    if high - low >= MAX_RANGE:
        raise ValueError(f"has {high - low + 1} ports; at most {MAX_RANGE} would be right")
    return PortRange(low, high)


@frozen
class IpslaOptions:
    """The options of C{ipsla}."""

    ports: PortRange = option(
        ValueType("port range (50000..50100)", parse_ports),
        PortRange(50000, 50100),
        "The ports that a control message may have opened for its source, and the time it names.",
    )
    keys: Keys | None = option(
        KEYS,
        None,
        "The keys of control messages, by key ID; with it only messages of version 2 with a right"
        " digest are served. It is read when the configuration is.",
    )


@define(eq=False)
class Asker:
    """
    An address that has asked for a port.

    @ivar until: until when it may probe, on the daemon's clock.
    @ivar version: that of its last control message.
    @ivar answered: the number of answers in version 2, by source port.
    """

    until: float = 0.0
    version: int = 0
    answered: dict[int, int] = field(factory=dict)

    def renew(self, until: float, request: ipsla_packets.Request) -> None:
        """Let it probe until then, and count the answers to its port again (section 4)."""
        self.until = max(self.until, until)
        self.version = request.version
        self.answered.pop(request.source_port, None)

    def number(self, port: int) -> int | None:
        """Return the number of the next answer to a port, from 1; C{None} in version 1."""
        if self.version != ipsla_v2.VERSION:
            return None
        found = self.answered[port] = self.answered.get(port, 0) + 1
        if len(self.answered) > MAX_FLOWS:
            del self.answered[next(iter(self.answered))]
        return found


class Probes(DatagramProtocol):
    """
    Answers the probes at one port, of the addresses that have asked for it.

    @ivar askers: who may probe, by address.
    """

    noisy = False
    transport: Any

    def __init__(self, context: ProtocolContext) -> None:
        self.askers: dict[str, Asker] = {}
        self._context = context
        self._counts = context.record.counters.ipsla

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        asker = self.askers.get(addr[0])
        if asker is None or asker.until <= self._context.clock.seconds():
            self._counts[STRANGER] += 1
            return
        now = instant(self._context.wall_clock())
        # A clock that was set back since makes the older reading invalid.
        received = min(self.transport.received_at or now, now)
        found = ipsla_packets.answer_probe(datagram, received, now, asker.number(addr[1]))
        if found is None:
            self._counts[UNKNOWN_PROBE] += 1
            return
        self._counts[PROBED] += 1
        self.transport.write(found, addr)


@frozen(eq=False)
class OpenPort:
    """A port that was opened for probes; C{close}: closes it, as it is when C{timer} ends."""

    probes: Probes
    close: Callable[[], None]
    timer: Timer


class Ipsla(DatagramProtocol):
    """Answers control messages, and opens the ports that they ask for."""

    transport: Any

    def __init__(self, options: IpslaOptions, context: ProtocolContext) -> None:
        self._ports = options.ports
        self._keys = options.keys
        self._context = context
        self._counts = context.record.counters.ipsla
        #: By the address that was asked, and the port.
        self._open: dict[tuple[str, int], OpenPort] = {}

    def stopProtocol(self) -> None:
        """Close the ports: none answers longer than the control port does."""
        for place in list(self._open):
            self._close(place)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if addr[1] in CONTROL_PORTS:
            self.transport.drop(SOURCE_PORT)
            return
        try:
            request = self._parse(datagram)
            self._serve(request, addr[0])
        except ipsla_packets.BadRequest as problem:
            self._counts[str(problem)] += 1
            if problem.answer:
                self.transport.write(problem.answer, addr)
            return
        self._counts[ACCEPTED] += 1
        self.transport.write(request.answer, addr)

    def _parse(self, message: bytes) -> ipsla_packets.Request:
        if message[:1] == bytes([ipsla_v2.VERSION]):
            now = instant(self._context.wall_clock())
            return ipsla_v2.parse_request(message, self._keys, now)
        if self._keys is not None:
            raise ipsla_packets.BadRequest(ipsla_v2.BAD_DIGEST)
        return ipsla_packets.parse_request(message)

    def _serve(self, request: ipsla_packets.Request, source: str) -> None:
        """Let a source probe a port for a time; raise C{BadRequest} if it cannot be opened."""
        if request.port not in self._ports:
            raise ipsla_packets.BadRequest(PORT, request.refusal)
        place = self.transport.destination.host, request.port
        if place in self._open and self._open[place].probes.transport is None:
            # The reactor closed it after an error.
            self._close(place)
        found = self._open.get(place) or self._bind(place, request)
        askers = found.probes.askers
        # The latest comes last.
        asker = askers[source] = askers.pop(source) if source in askers else Asker()
        asker.renew(self._context.clock.seconds() + request.duration, request)
        if len(askers) > MAX_ASKERS:
            del askers[next(iter(askers))]
        self._watch(place, found)

    def _bind(self, place: tuple[str, int], request: ipsla_packets.Request) -> OpenPort:
        probes = Probes(self._context)
        try:
            close = self._context.open_port(probes, *place)
        except OSError:
            raise ipsla_packets.BadRequest(PORT, request.refusal) from None
        self._counts[OPENED] += 1
        found = self._open[place] = OpenPort(probes, close, Timer(self._context.clock))
        return found

    def _watch(self, place: tuple[str, int], found: OpenPort) -> None:
        """Close the port when the time of its last source is over."""
        until = max(asker.until for asker in found.probes.askers.values())
        rest = until - self._context.clock.seconds()
        found.timer.start(max(0.0, rest), self._close, place)

    def _close(self, place: tuple[str, int]) -> None:
        found = self._open.pop(place)
        found.timer.stop()
        found.close()


def _refusals(
    options: IpslaOptions, listeners: Sequence[Listener]
) -> Iterator[tuple[str, ValueError]]:
    if any(listener.path for listener in listeners):
        yield "listen", ValueError("has a path; routers ask by UDP: write udp:1967")


declaration = ProtocolSpec(
    options=IpslaOptions,
    datagram=Ipsla,
    udp_rate=RATE,
    udp_burst=BURST,
    timestamped=True,
    further_ports=lambda options: range(options.ports.low, options.ports.high + 1),
    refusals=_refusals,
)
