"""Datagrams that are answered in batches, and the same ones answered one by one."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from itertools import groupby
from typing import Any
from unittest import mock

from attrs import asdict, evolve
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from socketd.access.addresses import packed
from socketd.access.datagram_guard import DESTINATION, Guard, LocalAddresses
from socketd.common.system_clock import ClockState
from socketd.net.datagram import mmsg, recent
from socketd.net.datagram.batch_port import BatchedDatagramPort
from socketd.net.datagram.cmsg import IpHeader
from socketd.net.datagram.port import DatagramTerms
from socketd.protocols.batches import IBatchProtocol, IDatagramBatch
from socketd.protocols.clock.ntp import NtpDatagrams
from socketd.protocols.clock.ntp_answer import NtpOptions
from socketd.protocols.clock.time import TimeOfDayDatagrams, time_reply
from socketd.protocols.measure.echo import EchoDatagrams
from socketd.protocols.measure.stamp import StampDatagrams
from socketd.protocols.measure.stamp_options import StampOptions
from socketd.protocols.spec import NoRecord
from socketd.settings.faults.values import Latency, Loss
from socketd.settings.model import AccessOptions, ProtocolSpec
from socketd.settings.networks import ANY, parse_networks
from tests.net.datagram.kernel import Arrived, FakeSocket, Left, parsed_name
from tests.net.faults.faulty_case import make_faults
from tests.protocols.fakes import context
from tests.protocols.measure import stamp_wire as wire
from tests.support.fakes import HandReactor, make_service_state

#: Where sockets are bound: to one address, and to all, of each family.
PLACES: tuple[tuple[int, Any], ...] = (
    (socket.AF_INET, ("127.0.0.1", 7)),
    (socket.AF_INET, ("0.0.0.0", 7)),
    (socket.AF_INET6, ("::1", 7, 0, 0)),
    (socket.AF_INET6, ("::", 7, 0, 0)),
    (socket.AF_UNIX, "/run/fuzz.sock"),
)

#: Sources: exempt, within the rates, denied, and from the port of a server.
SOURCES: dict[int, tuple[Any, ...]] = {
    socket.AF_INET: (
        ("127.0.0.1", 4711), ("127.0.0.1", 4712), ("192.0.2.1", 4711), ("192.0.2.2", 4711),
        ("192.0.2.66", 4711), ("192.0.2.1", 53), ("198.51.100.1", 4711), ("127.0.0.1", 7),
    ),
    socket.AF_INET6: (
        ("::1", 4711), ("::1", 4712), ("2001:db8::1", 4711), ("2001:db8::2", 4711),
        ("2001:db8:66::1", 4711), ("2001:db8::1", 53), ("::ffff:192.0.2.1", 4711), ("::1", 7),
    ),
    socket.AF_UNIX: ("/a", "/b", None, "/a", "/b/c", "/a", None, "/d"),
}  # fmt: skip
DESTINATIONS: dict[int, tuple[str, ...]] = {
    socket.AF_INET: ("127.0.0.1", "192.0.2.9", "224.0.0.1", "127.0.0.2"),
    socket.AF_INET6: ("::1", "fe80::9", "ff02::1", "2001:db8::9"),
    socket.AF_UNIX: ("", "", "", ""),
}

#: Payloads; the kernel refuses to send some answers.
DATA = (b"", b"abcd", b"abc", b"no", b"x" * 44, b"!", b"1/2", b"abcde")
REFUSED = (b"no", b"!!")

#: The same for C{ntp}: most are requests, of several kinds.
_TAIL = bytes(37) + b"transmit"
NTP_DATA = (
    b"\x23\0\6" + _TAIL, b"\x1b\0\x0a" + _TAIL, b"\x21\0\6" + _TAIL, b"\x24\0\6" + _TAIL,
    b"\x23\0\6" + _TAIL + bytes(4), b"\x23" + bytes(46), b"", b"\x23" + bytes(47),
)  # fmt: skip


#: The same for C{stamp}: packets of two sessions, also with padding and with TLVs, an answer, and
#: a short one.
_TIME = b"\xed\x3e\xae\x80 now"
_SAID = b"\0\0\0\1" + _TIME + b"\x85\x13"
_TLVS = wire.tlv(4, b"\x28\0\0\0") + wire.tlv(5, bytes(12)) + wire.tlv(7, bytes(16))
STAMP_DATA = (
    _SAID + bytes(30), b"\0\0\0\2" + _SAID[4:] + b"\0\7" + bytes(28), _SAID + bytes(50),
    b"\0\0\0\4" + _SAID[4:] + bytes(30), _SAID + bytes(30) + _TLVS, _SAID,
    _SAID + b"\0\0" + _TIME + bytes(20), b"\0\0\0\3" + b"padding" * 8,
)  # fmt: skip

#: What L{Mixed} answers to a datagram of a length, in batches: some too much, some nothing.
ANSWERS = {0: b"zero", 4: b"abcd", 44: None}


@implementer(IBatchProtocol)
class Mixed(DatagramProtocol):
    """Answers by the length of a datagram, in groups; some it leaves."""

    transport: Any

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        answer = ANSWERS.get(len(datagram), datagram + b"?" * (datagram == b"1/2"))
        if answer is not None:
            self.transport.write(answer, addr)

    def batch_received(self, batch: IDatagramBatch) -> None:
        for is_known, lengths in groupby(batch.lengths, ANSWERS.__contains__):
            group = list(lengths)
            if 5 in group:
                return
            if is_known:
                batch.answer([ANSWERS[length] for length in group])
            else:
                batch.deliver(len(group))


@implementer(IBatchProtocol)
class Marking(DatagramProtocol):
    """Answers with what it is told of a datagram, and with a TOS of its own."""

    transport: Any

    def _answer(self, first: int, received_at: int | None, header: IpHeader) -> bytes:
        return f"{first} {received_at} {header}".encode()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if datagram:
            told = self.transport.received_at, self.transport.ip_header
            self.transport.mark(datagram[0])
            self.transport.write(self._answer(datagram[0], *told), addr)

    def batch_received(self, batch: IDatagramBatch) -> None:
        if not min(batch.lengths) or isinstance(batch.sources[0], (str, type(None))):
            return
        firsts = [first for (first,) in batch.read("B", len(batch.lengths))]
        headers = map(IpHeader, batch.ttl, batch.tos)
        answers = [*map(self._answer, firsts, batch.received_at, headers)]
        batch.answer(answers[:2], firsts[:2])
        batch.answer(answers[2:], firsts[2:])


class AlonePort(BatchedDatagramPort):
    """A port that asks the guard for each datagram, and sends each answer by itself."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        # Other control messages than these are sought, and sent one by one.
        self._batched, self.controls.size = None, -1

    def _admit(self, names: Any, lengths: Any) -> Any:
        asked = self.controls.destinations(len(names))
        admitted = []
        for number, name in enumerate(names):
            source, guard, reason = parsed_name(self._family, name), self._guard, None
            if guard is not None and asked and guard.refuses_destination(asked[number]):
                reason = DESTINATION
            elif guard is not None:
                address = packed(source[0])
                reason = guard.check_static(address, source[1])
                if reason is None and not guard.is_exempt(address):
                    reason = guard.check_rate(guard.rate_keys(address))
            if reason is not None:
                self.drop(reason)
            elif lengths[number] >= 0:
                admitted.append((number, source))
        return [number for number, _ in admitted], [source for _, source in admitted]


#: When a world begins, in nanoseconds since 1970, and the state of its clock.
NOW = 1795000000 * 10**9
STATE = ClockState(True, 0, 0.1, -32, False, 1795000000.0)

#: What each protocol is asked, and whether its port is to tell the time of arrival.
PROTOCOLS: tuple[tuple[Callable[[World], DatagramProtocol], Any, bool], ...] = (
    (lambda world: TimeOfDayDatagrams(time_reply, "unix", lambda: 1.8e9), DATA, False),
    (lambda world: EchoDatagrams(), DATA, False),
    (lambda world: Mixed(), DATA, False),
    (lambda world: NtpDatagrams(NtpOptions(), world.now, lambda: STATE), NTP_DATA, True),
    (lambda world: Marking(), DATA, True),
    (lambda world: world.reflector(), STAMP_DATA, True),
    (lambda world: world.reflector(sessions=False), STAMP_DATA, True),
    (lambda world: world.reflector(timestamps="ptp"), STAMP_DATA, True),
)

#: What is switched, beside what comes.
PROFILES: tuple[dict[str, Any], ...] = (
    {"loss": Loss(0.5)}, {"latency": Latency(0.5)}, {"duplicate": 0.5},
)  # fmt: skip


class World:
    """A port, and what it has sent, counted and shown."""

    def __init__(self, bits: int, in_batches: bool) -> None:
        self.in_batches = in_batches
        self.family, address = PLACES[bits % len(PLACES)]
        self.sock = FakeSocket(self.family, address, refused=REFUSED)
        self.reactor = HandReactor()
        self.service_state, self.events = make_service_state(self.reactor)
        self.service_state.observed = False
        floor = (0.0, 4.0, 4.0, math.inf)[bits >> 4 & 3]
        make, self.data, timed = PROTOCOLS[(bits >> 8) % len(PROTOCOLS)]
        guard = self._guard(address) if bits >> 6 & 3 else None
        terms = DatagramTerms(guard, floor, timed, timed)
        protocol = make(self)
        with mock.patch.object(HandReactor, "addReader"):
            sock: Any = self.sock
            port_class = BatchedDatagramPort if in_batches else AlonePort
            self.port = port_class(self.reactor, sock, protocol, self.service_state, terms)
            self.port.startListening()

    def reflector(self, **options: Any) -> StampDatagrams:
        """Make a reflector that counts here; only where there are batches it has a short way."""
        record = NoRecord(counters=self.service_state.counters)
        around = evolve(context(), clock=self.reactor, record=record, clock_state=lambda: STATE)
        around = evolve(around, wall_clock=lambda: self.now() / 10**9)
        made = StampDatagrams(StampOptions(**options), around)
        made._usual = made._usual and self.in_batches
        return made

    def now(self) -> int:
        """The time of day, in nanoseconds since 1970."""
        return NOW + int(self.reactor.seconds() * 10**9)

    def _guard(self, address: Any) -> Guard | None:
        if self.family == socket.AF_UNIX:
            return None
        denied = parse_networks("192.0.2.66 2001:db8:66::/48")
        options = AccessOptions(allow=ANY, deny=denied, udp_burst=3, udp_service_rate=20.0)
        return Guard(
            options,
            ProtocolSpec(),
            self.reactor.seconds,
            lambda: (7,),
            LocalAddresses,
            address[0],
            lambda: 0.9,
        )

    def step(self, first: int, second: int) -> None:
        """Have a datagram wait, or let the port read, or switch something."""
        if first & 0xC0 != 0xC0:
            self.sock.waiting.append(
                Arrived(
                    self.data[second & 7],
                    SOURCES[self.family][first & 7],
                    DESTINATIONS[self.family][first >> 4 & 3],
                    self.now() - second,
                    second,
                    first,
                    truncated=self.family == socket.AF_UNIX and second == 0xFF,
                )
            )
        elif first & 0x30 == 0x30:
            self._switch(second)
        else:
            self.port.doRead()
            self.reactor.advance(second / 255)

    def _switch(self, byte: int) -> None:
        kind, option = byte & 3, byte >> 2
        if kind == 0:
            self.service_state.observed = bool(option & 1)
        elif kind == 1:
            profile = PROFILES[option % len(PROFILES)] if option & 1 else None
            self.service_state.faults = None if profile is None else make_faults(**profile)
            self.port.update_faults()
        elif kind == 2:
            self.port.forget()
        self.reactor.advance(option / 64)

    def end(self) -> tuple[list[Left], dict[str, Any], list[tuple[str, str]]]:
        """Read what still waits, and end the faults."""
        while self.sock.waiting:
            self.port.doRead()
        self.service_state.faults = None
        self.port.update_faults()
        shown = [(name, str(facts.get("text"))) for name, facts in self.events]
        return self.sock.sent, asdict(self.service_state.counters), shown


def run(data: bytes, in_batches: bool) -> tuple[list[Left], dict[str, Any], list[Any]]:
    """Do what the bytes say: three of them make the world, and each pair is a step."""
    world = World(int.from_bytes(data[:3], "big"), in_batches)
    sock = world.sock
    with (
        mock.patch.object(mmsg, "_recvmmsg", sock.recvmmsg),
        mock.patch.object(mmsg, "_sendmmsg", sock.sendmmsg),
        mock.patch.object(recent, "GENERATION", 3),
    ):
        for at in range(3, len(data) - 1, 2):
            world.step(data[at], data[at + 1])
        return world.end()


def check_batches(data: bytes) -> None:
    """
    Answered in batches or one by one, the same datagrams are sent from the same addresses, the
    same is counted and shown; with any sources, sizes, rules and faults.
    """
    assert run(data, True) == run(data, False)
