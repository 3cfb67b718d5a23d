"""Tests for L{socketd.protocols.measure.ipsla}."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.operator_queue import OperatorQueue
from socketd.protocols.measure.ipsla import (
    COUNTED,
    MAX_ASKERS,
    MAX_FLOWS,
    Ipsla,
    IpslaOptions,
    PortRange,
    parse_ports,
)
from socketd.protocols.measure.keys import Keys
from socketd.protocols.spec import ProtocolContext
from tests.protocols.fakes import PEER, FakeDatagramTransport, complaints
from tests.protocols.measure import ipsla_wire
from tests.settings.refusals import refusal

HOST = PEER[0]


def request(port: int, milliseconds: int = 5000, command: int = 4) -> bytes:
    """Write a control message, as a device does."""
    head = struct.pack("!BBHIHHI4sHH", 1, 7, 52, 0, command, 16, 0, bytes(4), port, milliseconds)
    return head + struct.pack("!HH24x", 1, 28)


class Opened:
    """The ports that a daemon was asked to open."""

    def __init__(self) -> None:
        self.ports: dict[tuple[str, int], Any] = {}
        self.refused = False

    def open_port(self, protocol: Any, host: str, port: int) -> Callable[[], None]:
        """Open one in memory; return what closes it."""
        if self.refused:
            raise OSError("address in use")
        self.ports[host, port] = protocol
        protocol.makeConnection(FakeDatagramTransport())
        return lambda: self.close(host, port)

    def close(self, host: str, port: int) -> None:
        """Close one, as the daemon does."""
        self.ports.pop((host, port)).doStop()


class IpslaCase(SynchronousTestCase):
    """A case for C{ipsla} in memory."""

    keys: Keys | None = None

    def setUp(self) -> None:
        self.clock = Clock()
        self.opened = Opened()
        plain = ProtocolContext(lambda: 1_764_374_400.5, OperatorQueue(self.clock))
        self.context = evolve(plain, open_port=self.opened.open_port)
        self.counts = self.context.record.counters.ipsla
        self.transport = FakeDatagramTransport()
        self.protocol = Ipsla(
            IpslaOptions(ports=PortRange(50000, 50002), keys=self.keys), self.context
        )
        self.protocol.noisy = False
        self.protocol.makeConnection(self.transport)

    def ask(self, message: bytes, host: str = HOST) -> bytes:
        """Send a control message; return the answer, if there is any."""
        self.transport.sent.clear()
        self.protocol.datagramReceived(message, (host, 50300))
        self.assertEqual({to for _, to in self.transport.sent} - {(host, 50300)}, set())
        return b"".join(datagram for datagram, _ in self.transport.sent)

    def probe(
        self, port: int, host: str = HOST, data: bytes = b"\0\1probe", source: int = 60038
    ) -> list[bytes]:
        """Send a probe to an open port, from another port than the control message."""
        protocol = self.opened.ports["127.0.0.1", port]
        protocol.transport.sent.clear()
        protocol.datagramReceived(data, (host, source))
        self.assertEqual({to for _, to in protocol.transport.sent} - {(host, source)}, set())
        return [datagram for datagram, _ in protocol.transport.sent]


class IpslaTests(IpslaCase):
    """Tests for control messages of version 1."""

    def test_opens(self) -> None:
        """A port is opened at the address that was asked, before the answer says so."""
        self.assertEqual(self.ask(request(50001)), b"\1\7\0\x18" + request(50001)[4:24])
        self.assertEqual(list(self.opened.ports), [("127.0.0.1", 50001)])
        self.assertEqual(self.probe(50001), [b"\0\1probe"])
        self.assertEqual(self.counts, {"accepted": 1, "opened": 1, "probed": 1})

    def test_adds_up(self) -> None:
        """Ports at both ends of the range are opened, and all is counted each time."""
        for port in (50000, 50002):
            self.ask(request(port))
            self.assertEqual(self.probe(port), [b"\0\1probe"])
            self.assertEqual(self.probe(port, "192.0.2.99"), [])
            self.assertEqual(self.probe(port, data=b"\0\x09"), [])
        names = ("accepted", "opened", "probed", "stranger", "unknown_probe")
        self.assertEqual(self.counts, dict.fromkeys(names, 2))

    def test_only_its_source(self) -> None:
        """Another address is not answered, until it asks for the port, too."""
        self.ask(request(50001))
        self.assertEqual(self.probe(50001, "192.0.2.99"), [])
        self.assertEqual(self.counts["stranger"], 1)
        self.ask(request(50001), "192.0.2.99")
        self.assertEqual(len(self.probe(50001, "192.0.2.99")), 1)
        self.assertEqual(len(self.probe(50001)), 1)
        self.assertEqual(self.counts["opened"], 1)

    def test_time(self) -> None:
        """It is closed when its time is over; each source has its own."""
        self.ask(request(50001, 5000))
        self.ask(request(50001, 2000), "192.0.2.99")
        self.clock.advance(2.0)
        self.assertEqual(self.probe(50001, "192.0.2.99"), [])
        self.assertEqual(len(self.probe(50001)), 1)
        self.clock.advance(3.0)
        self.assertEqual(self.opened.ports, {})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_short(self) -> None:
        """A time below a second is as short as it says."""
        self.ask(request(50001, 100))
        self.clock.advance(0.1)
        self.assertEqual(self.opened.ports, {})

    def test_longer(self) -> None:
        """A further message makes its time longer, and never shorter."""
        self.ask(request(50001, 5000))
        self.clock.advance(4.0)
        self.ask(request(50001, 5000))
        self.ask(request(50001, 100))
        self.clock.advance(4.0)
        self.assertEqual(len(self.probe(50001)), 1)
        self.clock.advance(1.0)
        self.assertEqual(self.opened.ports, {})

    def test_range(self) -> None:
        """A port outside the range, or one that cannot be opened, has no answer."""
        for port in (0, 49999, 50003, 1967):
            self.assertEqual(self.ask(request(port)), b"")
        self.opened.refused = True
        self.assertEqual(self.ask(request(50001)), b"")
        self.assertEqual((self.counts, self.opened.ports), ({"port": 5}, {}))

    def test_counted(self) -> None:
        """What cannot be served is counted by its reason, and each reason is known."""
        for message in (b"", request(50001, command=3), request(50001)[:-1] + b"x"):
            self.assertEqual(self.ask(message), b"")
        self.ask(request(50001))
        self.assertEqual(self.probe(50001, data=b"\0\x09"), [])
        self.assertEqual(self.counts["unknown_probe"], 1)
        self.assertEqual(
            {name: self.counts[name] for name in ("malformed", "unsupported", "authenticated")},
            {"malformed": 1, "unsupported": 1, "authenticated": 1},
        )
        self.assertEqual(set(self.counts) - set(COUNTED), set())

    def test_bounded(self) -> None:
        """One source too many of a port takes the place of the first one."""
        for number in range(MAX_ASKERS + 1):
            self.ask(request(50001), f"10.0.{number >> 8}.{number & 255}")
        askers = self.opened.ports["127.0.0.1", 50001].askers
        self.assertEqual((len(askers), "10.0.0.0" in askers), (MAX_ASKERS, False))

    def test_stop(self) -> None:
        """The end of the control port is that of the others."""
        for port in (50000, 50002):
            self.ask(request(port))
        self.protocol.doStop()
        self.assertEqual((self.opened.ports, self.clock.getDelayedCalls()), ({}, []))

    def test_control_ports(self) -> None:
        """The answer of another responder is no question, whatever version it has."""
        for message in (request(50001), ipsla_wire.request(50001)):
            for port in (1967, 1167):
                self.protocol.datagramReceived(message, (HOST, port))
        self.assertEqual((self.transport.sent, self.opened.ports), ([], {}))
        self.assertEqual(self.transport.dropped, ["source_port"] * 4)

    def test_lost(self) -> None:
        """A port that the system closed is opened again when it is asked for."""
        self.ask(request(50001))
        self.opened.ports["127.0.0.1", 50001].doStop()
        close = self.opened.ports["127.0.0.1", 50001]
        close.doStop = lambda: None
        self.assertNotEqual(self.ask(request(50001)), b"")
        self.assertEqual(len(self.probe(50001)), 1)

    def test_milliseconds(self) -> None:
        """The times of a probe are those of the kernel, and of the wall clock."""
        self.ask(request(50001))
        protocol = self.opened.ports["127.0.0.1", 50001]
        protocol.transport.received_at = 1_764_374_400_250_000_000
        (found,) = self.probe(50001, data=b"\0\2" + bytes(10) + b"\0\x05\0\0")
        self.assertEqual(struct.unpack("!HHIIHH", found), (2, 250, 0, 250, 5, 5))


class SecondVersionTests(IpslaCase):
    """Tests for control messages of version 2."""

    def numbers(self, *source_ports: int) -> list[int]:
        """Send a measurement from each of these ports; return the numbers of the answers."""
        found = []
        for port in source_ports:
            (answer,) = self.probe(50001, data=ipsla_wire.probe(77), source=port)
            self.assertEqual(answer[52:56], ipsla_wire.number(77, 4))
            found.append(int.from_bytes(answer[56:60], "big"))
        return found

    def test_second_version(self) -> None:
        """The port is opened; answers are counted by source port, and again with each message."""
        message = ipsla_wire.request(50001, source_port=60038)
        self.assertEqual(self.ask(message), message)
        self.assertEqual(self.numbers(60038, 60038, 60039, 60038), [1, 2, 1, 3])
        self.ask(message)
        self.assertEqual(self.numbers(60038, 60039), [1, 2])

    def test_time(self) -> None:
        """The time of an answer is that of the wall clock."""
        sections = ipsla_wire.authentication(), ipsla_wire.measurement(50001)
        found = self.ask(ipsla_wire.control(*sections, time=1))
        now = (1_764_374_400 + 2_208_988_800 << 32) + (1 << 31)
        self.assertEqual(found[12:20], ipsla_wire.number(now, 8))

    def test_flows(self) -> None:
        """One source port too many takes the place of the first one."""
        self.ask(ipsla_wire.request(50001))
        self.assertEqual(self.numbers(*range(2000, 2000 + MAX_FLOWS)), [1] * MAX_FLOWS)
        self.assertEqual(self.numbers(2000, 2000 + MAX_FLOWS, 2000), [2, 1, 1])

    def test_both_versions(self) -> None:
        """Probes are answered by the version of the last control message of their address."""
        sent = b"\0\3" + bytes(50) + b"\x12\x34" + bytes(6)
        self.ask(ipsla_wire.request(50001))
        self.assertEqual(self.probe(50001, data=sent)[0][52:], b"\x12\x34\0\0\0\0\0\1")
        self.ask(request(50001))
        self.assertEqual(self.probe(50001, data=sent)[0][52:], b"\x12\x34\x12\x34\0\0\0\0")

    def test_refusal(self) -> None:
        """A port that is not opened is refused by an answer."""
        for port in (0, 49999):
            self.assertEqual(ipsla_wire.statuses(self.ask(ipsla_wire.request(port))), (1, 0, 4))
        self.opened.refused = True
        self.assertEqual(ipsla_wire.statuses(self.ask(ipsla_wire.request(50001))), (1, 0, 4))
        self.assertEqual(self.counts, {"port": 3})


class AuthenticatedTests(IpslaCase):
    """Tests for C{ipsla} with keys."""

    keys = Keys("keys", {ipsla_wire.KEY_ID: ipsla_wire.KEY})

    def test_authenticated(self) -> None:
        """Only messages with a right digest open a port; all others are counted."""
        answer = self.ask(ipsla_wire.request(50001, 2))
        self.assertEqual(answer, ipsla_wire.request(50001, 2))
        self.assertEqual(len(self.probe(50001)), 1)
        self.opened.ports.clear()
        for message in (ipsla_wire.request(50002, 2, b"guess"), ipsla_wire.request(50002)):
            self.assertEqual(ipsla_wire.statuses(self.ask(message)), (2, 2, 0))
        self.assertEqual(self.ask(request(50002)), b"")
        self.assertEqual((self.counts["bad_digest"], self.opened.ports), (3, {}))


class OptionTests(SynchronousTestCase):
    """Tests for the options of C{ipsla}."""

    def test_ports(self) -> None:
        """A range, or one port."""
        self.assertEqual(parse_ports("50000..50100"), PortRange(50000, 50100))
        self.assertEqual(str(parse_ports("50000")), "50000..50000")
        for text in ("1024..2047", "65535..65535"):
            self.assertEqual(str(parse_ports(text)), text)
        wrong = "is no range of ports; write LOW..HIGH"
        self.assertEqual(refusal(parse_ports, "50000-50100"), f"{wrong}, as 50000..50100")
        for text in ("50100..50000", "1023..1024", "65535..65536", "0"):
            self.assertEqual(refusal(parse_ports, text), f"{wrong}, from 1024 to 65535")
        found = refusal(parse_ports, "2000..3024")
        self.assertEqual(found, "has 1025 ports; at most 1024 would be right")

    def test_listeners(self) -> None:
        """A UNIX socket has no ports beside it."""
        self.assertEqual(complaints("[ipsla]\nlisten = udp:1967\n"), "")
        found = complaints("[ipsla]\nlisten = unixgram:/run/x.sock\n")
        why = "has a path; routers ask by UDP: write udp:1967"
        self.assertEqual(found, f"FILE:2: [ipsla] listen = unixgram:/run/x.sock: {why}")
