"""Tests for L{socketd.cli.client.stamp.probe}."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.client.stamp.probe import StampPlan, StampProbe, sizes
from socketd.cli.client.stamp.results import Loss
from socketd.common.system_clock import ClockState
from socketd.protocols.measure.keys import Keys
from tests.protocols.measure import stamp_wire as wire
from tests.protocols.measure.stamp_fakes import Reflector
from tests.support.client_fakes import MemoryTransport

#: The time of day at the beginning, and what the reflector's clock is ahead (ns).
NOW = 1_780_000_000 * 10**9
AHEAD = 5_000_000

EPOCH = 2_208_988_800

KEY = b"correct-horse"

GOOD = ClockState(synchronised=True, max_error=0.001, precision=-30)


def ntp(when: int) -> int:
    """Write a time as NTP does."""
    seconds, rest = divmod(when, 10**9)
    return (seconds + EPOCH) << 32 | (rest << 32) // 10**9


class ProbeCase(SynchronousTestCase):
    """A sender whose peer is in memory."""

    def begin(self, count: int, state: ClockState = GOOD, **plan: Any) -> StampProbe:
        """Begin with so many packets, 0.1 s apart, each lost after 1 s."""
        self.clock = Clock()
        self.transport = MemoryTransport(True)
        self.probe = StampProbe(
            self.clock, StampPlan(count, 0.1, 1.0, **plan), self.wall, state
        )
        self.transport.connect(self.probe)
        return self.probe

    def wall(self) -> int:
        """Give the time of day."""
        return NOW + round(self.clock.seconds() * 1000) * 10**6

    def answer(self, number: int, **said: int) -> bytes:
        """Answer a packet, 1 ms after it came."""
        asked = wire.read(wire.SENDER, self.transport.sent[number])
        usual = {
            "sequence": number, "timestamp": ntp(self.wall() + AHEAD), "error": 0x8001,
            "received": ntp(self.wall() + AHEAD - 10**6), "sender_sequence": asked["sequence"],
            "sender_timestamp": asked["timestamp"], "sender_error": asked["error"], "ttl": 250,
        }  # fmt: skip
        return wire.write(wire.REFLECTOR, wire.OPEN, **(usual | said))


class ProbeTests(ProbeCase):
    """Packets without authentication."""

    def test_packets(self) -> None:
        """They are numbered from 0, have the time, TTL 255 and the DSCP, and come in time."""
        self.begin(3, dscp=46)
        self.assertEqual(self.transport.calls, [f"mark 255 {46 << 2}", "stamp arrivals"])
        self.clock.pump([0.05] * 4)
        found = [wire.read(wire.SENDER, packet) for packet in self.transport.sent]
        self.assertEqual([one["sequence"] for one in found], [0, 1, 2])
        self.assertEqual(found[1]["timestamp"], ntp(NOW + 10**8))
        self.assertEqual({one["error"] & 0xC000 for one in found}, {0x8000})
        self.assertEqual({len(packet) for packet in self.transport.sent}, {44})

    def test_sizes(self) -> None:
        """Longer ones ask for the counters, and are padded."""
        for size, padding in ((60, b""), (64, wire.tlv(1, b"")), (100, wire.tlv(1, bytes(36)))):
            self.begin(1, size=size)
            expected = wire.tlv(5, b"\0\0\0\1" + bytes(8)) + padding
            self.assertEqual(self.transport.sent[0][44:], expected)

    def test_delays(self) -> None:
        """Each way is measured by the clocks of both; the round trip without the reflector."""
        probe = self.begin(1)
        self.clock.advance(0.004)
        probe.dataReceived(self.answer(0))
        self.successResultOf(probe.done)
        (sample,) = probe.results.samples
        self.assertAlmostEqual(sample.forward, 0.003 + AHEAD / 10**9, 6)
        self.assertAlmostEqual(sample.backward, -AHEAD / 10**9, 6)
        self.assertAlmostEqual(sample.round_trip, 0.003, 6)
        self.assertAlmostEqual(sample.error or 0.0, 0.001, 4)
        self.assertEqual(sample.ttl, 250)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_kernel_time(self) -> None:
        """An answer came when the kernel says so, not when this process was told."""
        for late, expected in ((0, 0.003), (2_000_000, 0.001), (-5, 0.003), (2 * 10**9, 0.003)):
            probe = self.begin(1)
            self.clock.advance(0.004)
            self.transport.arrived_at = self.wall() - late
            probe.dataReceived(self.answer(0))
            (sample,) = probe.results.samples
            self.assertAlmostEqual(sample.round_trip, expected, 6)
            self.assertAlmostEqual(sample.backward, (expected - 0.003) - AHEAD / 10**9, 6)

    def test_ptp(self) -> None:
        """The reflector's timestamps may be PTPv2."""
        probe = self.begin(1)
        self.clock.advance(0.004)
        seconds, rest = divmod(self.wall() + AHEAD, 10**9)
        sent, received = seconds << 32 | rest, seconds << 32 | rest - 10**6
        probe.dataReceived(self.answer(0, timestamp=sent, received=received, error=0x4001))
        (sample,) = probe.results.samples
        self.assertAlmostEqual(sample.forward, 0.003 + AHEAD / 10**9, 8)
        self.assertIsNone(sample.error)

    def test_late(self) -> None:
        """An answer after its time is lost; the end comes when the last one has had its own."""
        probe = self.begin(2)
        self.clock.advance(0.1)
        self.clock.advance(0.95)
        probe.dataReceived(self.answer(0))
        probe.dataReceived(self.answer(1))
        self.assertNoResult(probe.done)
        self.clock.advance(0.05)
        self.successResultOf(probe.done)
        self.assertEqual([one.asked for one in probe.results.samples], [1])
        self.assertEqual(probe.results.loss, Loss(unknown=1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_wrong(self) -> None:
        """What answers no packet is counted, and changes nothing else."""
        probe = self.begin(2)
        good = self.answer(0)
        for data in (b"", good[:40], self.answer(0, sender_sequence=7),
                     self.answer(0, sender_timestamp=5)):  # fmt: skip
            probe.dataReceived(data)
        self.assertEqual((probe.results.wrong, probe.results.samples), (4, []))
        probe.dataReceived(good[:41])
        self.assertEqual(len(probe.results.samples), 1)

    def test_ssid(self) -> None:
        """The number of the session is in each packet; a reflector may not know it."""
        probe = self.begin(3, ssid=7)
        self.clock.pump([0.1] * 2)
        asked = [wire.read(wire.SENDER, packet)["ssid"] for packet in self.transport.sent]
        self.assertEqual(asked, [7, 7, 7])
        probe.dataReceived(self.answer(0, ssid=7))
        self.assertFalse(probe.results.is_ssid_lost)
        probe.dataReceived(self.answer(1, ssid=8))
        probe.dataReceived(self.answer(2))
        found = len(probe.results.samples), probe.results.wrong, probe.results.is_ssid_lost
        self.assertEqual(found, (2, 1, True))

    def test_refused(self) -> None:
        """The end of the socket ends the measurement."""
        probe = self.begin(2)
        probe.connectionLost(Failure(ConnectionRefusedError()))
        self.failureResultOf(probe.done, ConnectionRefusedError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_against_reflector(self) -> None:
        """With our reflector each direction of loss is known; with a stateless one none is."""
        for sessions, expected in ((True, Loss(1, 2)), (False, Loss(unknown=3))):
            reflector = Reflector(sessions=sessions)
            probe = self.begin(6, size=60)
            self.clock.pump([0.1] * 5)
            answers = [
                reflector.ask(packet)
                for number, packet in enumerate(self.transport.sent)
                if number != 2
            ]
            for number in (0, 3, 4):
                probe.dataReceived(answers[number] or b"")
            self.assertEqual(probe.results.loss, expected)


class AuthenticatedTests(ProbeCase):
    """Packets with authentication."""

    def ask(self, reflector: Reflector, size: int = 148, **plan: Any) -> list[bytes]:
        """Send three packets with SSID 7, and return the answers of a reflector."""
        self.begin(3, key=KEY, ssid=7, size=size, **plan)
        self.clock.pump([0.1] * 2)
        return [reflector.ask(packet) or b"" for packet in self.transport.sent]

    def test_packets(self) -> None:
        """The HMAC is right, and that of the TLVs, which are as long as is asked for."""
        for size in sizes(True):
            self.ask(Reflector(), size)
            for number, packet in enumerate(self.transport.sent):
                self.assertEqual(len(packet), size)
                said = wire.read(wire.AUTHENTICATED_SENDER, packet)
                self.assertEqual((said["sequence"], said["ssid"]), (number, 7))
                self.assertEqual(packet[96:112], wire.mac(KEY, packet[:96]))
                tlvs, code = packet[112:-20], packet[-20:]
                expected = wire.hmac_tlv(KEY, number, tlvs) if size > 112 else packet[-20:]
                self.assertEqual(code, expected)

    def test_answers(self) -> None:
        """A reflector with the key answers, and each direction of loss is known."""
        for size in sizes(True):
            answers = self.ask(Reflector(keys=Keys("keys", {7: KEY})), size)
            self.probe.dataReceived(answers[0])
            self.probe.dataReceived(answers[2])
            results = self.probe.results
            self.assertEqual((len(results.samples), results.wrong), (2, 0))
            self.assertEqual(results.is_counted, size > 112)

    def test_wrong(self) -> None:
        """What does not have the HMAC is counted, and changes nothing else."""
        answers = self.ask(Reflector(keys=Keys("keys", {7: KEY})))
        forged = bytearray(answers[0])
        forged[50] ^= 1
        for data in (bytes(forged), wire.signed(b"other", ssid=7), answers[0][:111]):
            self.probe.dataReceived(data)
        results = self.probe.results
        self.assertEqual((results.bad_hmac, results.wrong, results.samples), (2, 3, []))
        self.probe.dataReceived(answers[0])
        self.assertEqual(len(results.samples), 1)

    def test_forged_tlvs(self) -> None:
        """Counters whose HMAC is wrong tell nothing; the answer itself is authentic."""
        answers = self.ask(Reflector(keys=Keys("keys", {7: KEY})))
        self.probe.dataReceived(answers[0][:-1] + bytes([answers[0][-1] ^ 1]))
        results = self.probe.results
        self.assertEqual((len(results.samples), results.is_counted), (1, False))
