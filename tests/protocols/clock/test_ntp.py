"""Tests for L{socketd.protocols.clock.ntp}."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any

from attrs import evolve, frozen
from twisted.internet.interfaces import IUDPTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.common.system_clock import BUILD_DATE, ClockState
from socketd.protocols.clock.ntp import declaration
from socketd.protocols.clock.ntp_answer import (
    ASSUMED_ERROR,
    MAX_STAY,
    NtpOptions,
    ReferenceId,
    answer,
    parse_reference_id,
    root_dispersion,
)
from socketd.protocols.clock.ntp_time import LENGTH, instant, wide_timestamp
from socketd.settings.options import declared
from tests.protocols.fakes import PEER, FakeDatagramTransport, context
from tests.settings.refusals import refusal

SECOND = 10**9

#: When the requests come: a time of day in 2026, in nanoseconds since 1970.
NOW = 1795000000 * SECOND + 123456789

#: Microseconds later the answers leave.
LATER = NOW + 45678

#: A clock that is kept, and was looked at half a second ago.
KEPT = ClockState(
    synchronised=True, max_error=0.25, precision=-22, read_at=1794999999.623456789
)


def timestamp(when: int) -> int:
    """Return the 64 bits of a time that are on the wire."""
    return wide_timestamp(when) % 2**64


#: What a client has as its transmit timestamp; some send the time, others anything.
ORIGIN = 0xEE0BA1C0_12345678

#: The end of each era, and of other counts: the second in which the new one begins.
TURNS = {
    "era 1": datetime(2036, 2, 7, 6, 28, 16, tzinfo=UTC),
    "signed seconds since 1970": datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
    "seconds since 1970": datetime(2106, 2, 7, 6, 28, 16, tzinfo=UTC),
    "era 2": datetime(2172, 3, 15, 12, 56, 32, tzinfo=UTC),
}


@frozen
class Answer:
    """The fields of an answer, in their order on the wire."""

    leap: int
    version: int
    mode: int
    stratum: int
    poll: int
    precision: int
    root_delay: float
    root_dispersion: float
    refid: bytes
    reference: int
    origin: int
    receive: int
    transmit: int


def read(packet: bytes) -> Answer:
    """Take an answer to pieces."""
    first, stratum, poll, precision, delay, dispersion, refid, *times = struct.unpack(
        "!BBbbII4sQQQQ", packet
    )
    leap, version, mode = first >> 6, first >> 3 & 7, first & 7
    short = (delay / 65536, dispersion / 65536)
    return Answer(leap, version, mode, stratum, poll, precision, *short, refid, *times)


def request(
    mode: int = 3, version: int = 4, poll: int = 6, origin: int = ORIGIN, more: bytes = b""
) -> bytes:
    """Write what a client sends; only what is told of it is not zero."""
    first = struct.pack("!BBbb", version << 3 | mode, 0, poll, 0)
    return first + bytes(36) + struct.pack("!Q", origin) + more


def reply_to(
    packet: bytes | None = None,
    received: int = NOW,
    sent: int = LATER,
    state: ClockState = KEPT,
    random_bits: Callable[[int], int] | None = None,
    **options: Any,
) -> bytes:
    """Have a request answered."""
    packet = request() if packet is None else packet
    bits = random_bits or Random(1).getrandbits
    found = answer(packet, received, lambda: sent, state, NtpOptions(**options), bits)
    assert found is not None
    assert len(found) == LENGTH
    return found


def ask(*arguments: Any, **options: Any) -> Answer:
    """Have a request answered, as L{reply_to}, and take the answer to pieces."""
    return read(reply_to(*arguments, **options))


def seconds_between(first: int, second: int) -> float:
    """Subtract two timestamps as a client does, in the era nearest to it."""
    difference = (second - first) & (1 << 64) - 1
    return (difference - (difference >> 63 << 64)) / 2**32


def chrony(found: Answer, length: int, origin: int) -> dict[str, bool]:
    """Make chrony's tests of an answer (C{ntp_core.c})."""
    distance = found.root_delay / 2 + found.root_dispersion
    return {
        "length": length >= LENGTH and length % 4 == 0,
        "mode": found.mode == 4 and 1 <= found.version <= 4,
        # No duplicate: here the answer has no time of another packet.
        "1": found.transmit not in (origin, found.receive),
        "2": found.origin == origin,
        "3": 0 not in (found.origin, found.receive, found.transmit),
        "6": found.leap != 3 and 1 <= found.stratum < 16,
        "7": distance < 16.0,
        "interval": 0.0 < seconds_between(found.receive, found.transmit) <= 4.0,
    }


def timesyncd(found: Answer, length: int, origin: int) -> dict[str, bool]:
    """Make those of systemd-timesyncd (C{timesyncd-manager.c})."""
    epoch = timestamp(BUILD_DATE * SECOND)
    return {
        "length": length == LENGTH,
        "origin": found.origin == origin,
        "epoch": seconds_between(epoch, found.receive) >= 0
        and seconds_between(epoch, found.transmit) >= 0,
        "leap": found.leap != 3,
        "stratum": 1 <= found.stratum <= 15,
        "version": found.version in (3, 4),
        "mode": found.mode == 4,
        "distance": found.root_delay / 2 + found.root_dispersion <= 5.0,
    }


def busybox(found: Answer, length: int, origin: int) -> dict[str, bool]:
    """Make those of BusyBox's ntpd (C{networking/ntpd.c}), which OpenWrt has too."""
    return {
        "origin": found.origin == origin,
        "leap": found.leap != 3,
        "stratum": 1 <= found.stratum <= 15,
        # MINDISP and MAXDIST; what the network adds is not in it.
        "distance": max(0.01, found.root_delay) / 2 + found.root_dispersion <= 1.0,
    }


def ntpdig(found: Answer, length: int, origin: int) -> dict[str, bool]:
    """Make those of ntpdig."""
    return {
        "leap": found.leap != 3,
        "version": found.version <= 4,
        "mode": found.mode == 4,
        "stratum": 1 <= found.stratum <= 15,
        "origin": found.origin != 0 and found.origin == origin,
    }


CLIENTS = {client.__name__: client for client in (busybox, chrony, timesyncd, ntpdig)}


def refusals(packet: bytes, origin: int = ORIGIN) -> dict[str, list[str]]:
    """
    Show an answer to the clients.

    @return: the tests that it fails, of those that refuse it.
    """
    found = {name: made(read(packet), len(packet), origin) for name, made in CLIENTS.items()}
    return {
        name: [test for test, passed in tests.items() if not passed]
        for name, tests in found.items()
        if not all(tests.values())
    }


class StampedTransport(FakeDatagramTransport):
    """A transport that says when the kernel received a datagram."""

    def __init__(self, received_at: int | None) -> None:
        super().__init__()
        self.received_at = received_at


class TimestampTests(SynchronousTestCase):
    """Tests for L{wide_timestamp} and L{instant}."""

    def test_epochs(self) -> None:
        """The count is from 1900, in units of 2**-32 seconds."""
        self.assertEqual(timestamp(-2208988800 * SECOND), 0)
        self.assertEqual(timestamp(0), 2208988800 << 32)
        self.assertEqual(timestamp(SECOND // 2), 2208988800 << 32 | 0x80000000)
        self.assertEqual(timestamp(-SECOND // 4), 2208988799 << 32 | 0xC0000000)
        self.assertEqual(timestamp(999999999), 2208988800 << 32 | 0xFFFFFFFB)

    def test_rfc_5905(self) -> None:
        """The dates of RFC 5905, figure 4, have the era offsets that it gives."""
        table = {
            datetime(1972, 1, 1, tzinfo=UTC): 2272060800,
            datetime(1999, 12, 31, tzinfo=UTC): 3155587200,
            datetime(2036, 2, 8, tzinfo=UTC): 63104,
        }
        found = {when: timestamp(int(when.timestamp()) * SECOND) >> 32 for when in table}
        self.assertEqual(found, table)

    def test_instant(self) -> None:
        """Seconds become nanoseconds without more loss than the number had, rounded down."""
        table = {0.0: 0, 0.25: 250000000, -0.25: -250000000, 1795000000.5: 17950000005 * 10**8}
        table[1795000000 + 2.0**-22] = 1795000000 * SECOND + 238
        self.assertEqual({now: instant(now) for now in table}, table)


class ReferenceIdTests(SynchronousTestCase):
    """Tests for L{parse_reference_id}."""

    def test_wire(self) -> None:
        """A name is filled with zeros, an address has its four bytes."""
        table = {"GPS": b"GPS\0", "LOCL": b"LOCL", "x": b"x\0\0\0", "192.0.2.1": b"\xc0\0\2\1"}
        self.assertEqual({text: parse_reference_id(text).wire for text in table}, table)

    def test_text(self) -> None:
        """A manual shows it as it is written."""
        self.assertEqual(str(declared(NtpOptions)["refid"].default), "127.127.1.1")

    def test_refused(self) -> None:
        """All else is no reference, and the complaint says what would be one."""
        names = ("", "LOCAL", "G PS", "GPS\n", "\xc9", "1", "1.2")
        for text in (*names, "256.1.1.1", "1.2.3.04", "::1"):
            found = refusal(parse_reference_id, text)
            expected = "is no reference; write up to four letters and digits, as GPS, or an IPv4"
            self.assertEqual(found, f"{expected} address", text)

    def test_stratum(self) -> None:
        """A stratum is 1 to 15."""
        parse = declared(NtpOptions)["stratum"].type.parse
        self.assertEqual([parse("1"), parse("15")], [1, 15])
        for text in ("0", "16", "-1", "one"):
            self.assertNotEqual(refusal(parse, text), "", text)


class AnswerTests(SynchronousTestCase):
    """Tests for L{answer}."""

    def test_fields(self) -> None:
        """An answer has what the options and the kernel say, and the times."""
        found = ask(request(poll=10), random_bits=lambda count: 0)
        mask = ~0x3FF
        expected = Answer(
            leap=0,
            version=4,
            mode=4,
            stratum=10,
            poll=10,
            precision=-22,
            root_delay=0.0,
            root_dispersion=root_dispersion(KEPT, NOW) / 65536,
            refid=bytes([127, 127, 1, 1]),
            reference=timestamp(instant(KEPT.read_at)) & mask,
            origin=ORIGIN,
            receive=timestamp(NOW) & mask,
            transmit=timestamp(LATER) & mask,
        )
        self.assertEqual(found, expected)

    def test_clients_accept(self) -> None:
        """No client has anything against the answer to a request of its own version."""
        for version in (3, 4):
            for origin in (ORIGIN, 1, (1 << 64) - 1, timestamp(NOW), timestamp(LATER)):
                found = reply_to(request(version=version, origin=origin))
                self.assertEqual(refusals(found, origin), {})

    def test_clients_refuse(self) -> None:
        """The clients of these tests do look: an answer that is wrong is refused."""
        found = reply_to()
        self.assertEqual(refusals(found, ORIGIN + 1)["chrony"], ["2"])
        self.assertEqual(refusals(found[:40] + found[32:40])["chrony"], ["1", "interval"])
        self.assertEqual(refusals(b"\xe4\0" + found[2:]).keys(), CLIENTS.keys())
        far = found[:8] + b"\0\x10\0\0" + found[12:]
        expected = {"busybox": ["distance"], "chrony": ["7"], "timesyncd": ["distance"]}
        self.assertEqual(refusals(far), expected)

    def test_options(self) -> None:
        """Stratum and reference are sent as they are configured."""
        found = ask(stratum=1, refid=ReferenceId("PPS"))
        self.assertEqual((found.stratum, found.refid), (1, b"PPS\0"))

    def test_versions(self) -> None:
        """The versions 1 to 4 are answered with their own number, others are not answered."""
        self.assertEqual([ask(request(version=n)).version for n in range(1, 5)], [1, 2, 3, 4])
        for version in (0, 5, 6, 7):
            self.assertIsNone(self._asked(request(version=version)))

    def test_modes(self) -> None:
        """
        Clients and active peers are answered; broadcasts, answers and control messages
        never are, so that no two servers can be set on each other.
        """
        for version in range(1, 5):
            found = {mode: self._asked(request(mode, version)) for mode in range(8)}
            self.assertEqual({mode for mode in found if found[mode] is not None}, {1, 3})
        self.assertEqual((ask(request(1)).mode, ask(request(3)).mode), (2, 4))

    def test_lengths(self) -> None:
        """A request has 48 bytes or, by fours, more, and the answer is always as short."""
        self.assertIsNone(self._asked(b""))
        for length in range(LENGTH):
            self.assertIsNone(self._asked(request()[:length]))
        for length in (1, 2, 3, 5, 21):
            self.assertIsNone(self._asked(request(more=bytes(length))))
        for length in (4, 16, 20, 24, 28, 1024, 65456):
            self.assertEqual(ask(request(more=b"\xff" * length)).origin, ORIGIN)

    def test_poll(self) -> None:
        """The interval is the client's, between 16 seconds and 36 hours."""
        table = {-128: 4, -1: 4, 0: 4, 3: 4, 4: 4, 10: 10, 17: 17, 18: 17, 127: 17}
        self.assertEqual({poll: ask(request(poll=poll)).poll for poll in table}, table)

    def test_leap(self) -> None:
        """A leap second that the kernel waits for is announced."""
        for leap in (0, 1, 2):
            self.assertEqual(ask(state=evolve(KEPT, leap=leap)).leap, leap)

    def _asked(self, packet: bytes) -> bytes | None:
        return answer(packet, NOW, lambda: LATER, KEPT, NtpOptions())


class FitnessTests(SynchronousTestCase):
    """Tests for when the time is given, and how well."""

    def _check_alarm(self, found: Answer) -> None:
        self.assertEqual((found.leap, found.stratum, found.refid), (3, 0, bytes(4)))
        self.assertEqual((found.reference, found.root_dispersion), (0, 16.0))
        self.assertEqual((found.root_delay, found.origin), (0.0, ORIGIN))
        self.assertEqual((found.version, found.mode), (4, 4))

    def test_unsynchronised(self) -> None:
        """
        A clock that is not synchronised raises the alarm, whatever stratum is configured; so
        does a daemon that has not asked the kernel yet.
        """
        self._check_alarm(ask(state=evolve(KEPT, synchronised=False)))
        self._check_alarm(ask(state=ClockState(), stratum=1, refid=ReferenceId("GPS")))

    def test_stepped(self) -> None:
        """A clock that was just set raises the alarm, whatever the kernel says of it."""
        state = evolve(KEPT, stepped=True)
        self._check_alarm(ask(state=state))
        self._check_alarm(ask(state=state, assume_synchronised=True))

    def test_early(self) -> None:
        """So does a clock that is before this program: no battery kept it."""
        earliest = BUILD_DATE * SECOND
        for now in (0, -SECOND, -3 * 10**18, earliest - 1):
            self._check_alarm(ask(received=now, sent=now + 1, assume_synchronised=True))
        for later in (0, 1):
            self.assertEqual(ask(received=earliest, sent=earliest + later).stratum, 10)

    def test_set_forward_between(self) -> None:
        """
        So does one that was set forward after the request came: half of the step would
        look like the client's own error, and no client may take that.
        """
        for step in (MAX_STAY + 1, 2 * SECOND, 3600 * SECOND):
            found = reply_to(sent=NOW + step)
            self._check_alarm(read(found))
            self.assertEqual(refusals(found).keys(), CLIENTS.keys())
        self.assertEqual(ask(sent=NOW + MAX_STAY).stratum, 10)

    def test_set_back_between(self) -> None:
        """
        One that was set back agrees with itself without the older reading, unless it went
        back to before this program.
        """
        found = ask(sent=NOW - 3600 * SECOND)
        self.assertEqual(found.stratum, 10)
        self.assertLess(abs(seconds_between(timestamp(NOW - 3600 * SECOND), found.receive)), 1e-6)
        self._check_alarm(ask(sent=BUILD_DATE * SECOND - 1, assume_synchronised=True))

    def test_refused_by_all(self) -> None:
        """No client takes the time from a server that raises the alarm."""
        found = reply_to(state=ClockState())
        self.assertEqual(refusals(found).keys(), CLIENTS.keys())

    def test_assumed(self) -> None:
        """
        Where the operator vouches for the clock, clients take its time, and know how far
        off it may be.
        """
        self.assertEqual(NtpOptions().assumed_error, ASSUMED_ERROR)
        for state in (ClockState(), ClockState(read_at=KEPT.read_at)):
            packet = reply_to(state=state, assume_synchronised=True)
            self.assertEqual(refusals(packet), {})
            found = read(packet)
            self.assertAlmostEqual(found.root_dispersion, ASSUMED_ERROR, places=3)
            self.assertGreaterEqual(found.root_dispersion, ASSUMED_ERROR)
            self.assertEqual(found.stratum, 10)
            self.assertEqual(found.reference >> 12, timestamp(NOW) >> 12)

    def test_assumed_error(self) -> None:
        """The configuration says how much that is; busybox takes less than a second only."""
        for error, refused in ((0.0, {}), (0.9, {}), (1.0, {"busybox": ["distance"]})):
            packet = reply_to(state=ClockState(), assume_synchronised=True, assumed_error=error)
            self.assertEqual(refusals(packet), refused)
            self.assertAlmostEqual(read(packet).root_dispersion, error, places=3)

    def test_assumed_and_kept(self) -> None:
        """Where the kernel knows better than the operator, its error is given."""
        self.assertEqual(ask(assume_synchronised=True), ask())

    def test_dispersion(self) -> None:
        """
        The error is the kernel's, and the precision, and what a clock can lose since the
        kernel was asked; rounded up, and no more than 16 seconds.
        """
        state = evolve(KEPT, read_at=0.0, precision=-10, max_error=0.5)
        self.assertEqual(root_dispersion(state, NOW), 0x8000 + 64)
        state = evolve(state, read_at=float(NOW // SECOND - 1000))
        self.assertEqual(root_dispersion(state, NOW), 0x10000 + 69)
        self.assertEqual(root_dispersion(evolve(KEPT, max_error=0.0, read_at=0.0), NOW), 1)
        for error in (16.0, 1e9, float("inf")):
            self.assertEqual(root_dispersion(evolve(KEPT, max_error=error), NOW), 16 << 16)
        self.assertEqual(root_dispersion(evolve(KEPT, read_at=1.0), NOW), 16 << 16)

    def test_dispersion_goes_back(self) -> None:
        """A clock that was set back since the kernel was asked has no smaller error."""
        state = evolve(KEPT, read_at=KEPT.read_at + 3600.0)
        self.assertEqual(root_dispersion(state, NOW), 0x4000 + 1)


class TimesTests(SynchronousTestCase):
    """Tests for the four timestamps of an answer."""

    def _check(self, found: Answer, origin: int) -> None:
        """Check what every answer keeps to."""
        self.assertEqual(found.origin, origin)
        self.assertEqual(len({0, origin, found.receive, found.transmit}), 4 - (origin == 0))
        self.assertGreater(seconds_between(found.receive, found.transmit), 0.0)
        self.assertLess(seconds_between(found.receive, found.transmit), 4.0)
        self.assertGreaterEqual(seconds_between(found.reference, found.transmit), 0.0)

    def test_true(self) -> None:
        """The random bits move the times by no more than the precision."""
        step = 2.0**-22
        for bits in (lambda count: 0, lambda count: (1 << count) - 1):
            found = ask(random_bits=bits)
            self.assertLess(abs(seconds_between(timestamp(NOW), found.receive)), step)
            self.assertLess(abs(seconds_between(timestamp(LATER), found.transmit)), step)

    def test_random(self) -> None:
        """As many bits as are below the precision are random, in both times, and only they."""
        for precision, count in ((-22, 10), (-20, 12), (-30, 2), (-31, 1)):
            state = evolve(KEPT, precision=precision)
            random_bits = Random(2).getrandbits
            found = [ask(state=state, random_bits=random_bits) for _ in range(200)]
            for times in ({a.receive for a in found}, {a.transmit for a in found}):
                self.assertEqual(len({time >> count for time in times}), 1)
                if count > 1:
                    self.assertGreater(len(times), 1)
        self.assertEqual(ask(state=evolve(KEPT, precision=-32)).receive, timestamp(NOW))
        self.assertEqual(ask(state=evolve(KEPT, precision=-40)).receive, timestamp(NOW))

    def test_order(self) -> None:
        """The time is read last: after the random bits and the state."""
        order: list[str] = []

        def bits(count: int) -> int:
            order.append("bits")
            return 0

        def now() -> int:
            order.append("now")
            return LATER

        answer(request(), NOW, now, KEPT, NtpOptions(), bits)
        self.assertEqual(order[-1], "now")
        self.assertEqual(order.count("now"), 1)

    def test_not_read(self) -> None:
        """The clock is not read for what is not answered."""

        def now() -> int:
            raise AssertionError("read the clock")

        self.assertIsNone(answer(request(mode=4), NOW, now, KEPT, NtpOptions()))

    def test_same_moment(self) -> None:
        """
        An answer leaves after its request came, also where the clock shows one time or
        the random bits turn them round.
        """
        for noise in ([0, 0], [1023, 0], [0, 1023], [5, 5], [1023, 1023]):
            bits = iter(noise)
            found = ask(sent=NOW, random_bits=lambda count: next(bits))
            self._check(found, ORIGIN)

    def test_next(self) -> None:
        """Where two times are equal, the later one is the next that there is."""
        state = evolve(KEPT, precision=-32)
        found = ask(sent=NOW, state=state)
        self.assertEqual((found.receive, found.transmit), (timestamp(NOW), timestamp(NOW) + 1))
        found = ask(request(origin=timestamp(NOW)), sent=NOW + SECOND, state=state)
        self.assertEqual(found.receive, timestamp(NOW) + 1)
        turn = int(TURNS["era 1"].timestamp()) * SECOND
        state = evolve(state, read_at=turn / SECOND)
        self.assertEqual(ask(received=turn, sent=turn + 1, state=state).reference, 1)

    def test_set_back(self) -> None:
        """Where the clock was set back between, the request counts as come at the new time."""
        found = ask(received=NOW + 3600 * SECOND, sent=NOW)
        self._check(found, ORIGIN)
        self.assertLess(abs(seconds_between(timestamp(NOW), found.transmit)), 1e-6)

    def test_origin_is_now(self) -> None:
        """A client that guesses a time of ours still gets others, and its own back bit for bit."""
        for moment in (NOW, LATER):
            near = timestamp(moment) & ~0x3FF
            for origin in range(near - 2, near + 3):
                for bits in (0, 1):
                    packet = request(origin=origin)
                    self._check(ask(packet, random_bits=lambda count: bits), origin)

    def test_origin_zero(self) -> None:
        """A client that sends no time gets none back, and ours all the same."""
        found = ask(request(origin=0))
        self.assertEqual(found.origin, 0)
        self._check(found, 0)

    def test_turns(self) -> None:
        """
        Around the end of each era and count, the time is right for a client that is near
        it, and never zero.
        """
        for name, when in TURNS.items():
            turn = int(when.timestamp()) * SECOND
            for offset in (-SECOND, -1, 0, 1, SECOND):
                now = turn + offset
                for sent in (now, now + 1, now + 20000):
                    origin = timestamp(now - 1000000)
                    state = evolve(KEPT, read_at=now / SECOND - 0.5)
                    found = ask(request(origin=origin), now, sent, state, lambda count: 0)
                    self._check(found, origin)
                    self.assertAlmostEqual(
                        seconds_between(origin, found.transmit),
                        (sent - now) / SECOND + 0.001,
                        places=6,
                        msg=name,
                    )

    def test_turn_of_the_era(self) -> None:
        """The first second of era 1 is sent as zero seconds, the one before as all ones."""
        turn = int(TURNS["era 1"].timestamp()) * SECOND
        before, after = ask(received=turn - 1, sent=turn - 1), ask(received=turn, sent=turn)
        self.assertEqual((before.receive >> 32, after.receive >> 32), (0xFFFFFFFF, 0))
        across = ask(received=turn - 1, sent=turn + 1000)
        self.assertEqual((across.receive >> 32, across.transmit >> 32), (0xFFFFFFFF, 0))

    def test_reference(self) -> None:
        """The clock was last right when the kernel was asked; never later than the answer."""
        self.assertAlmostEqual(
            seconds_between(timestamp(instant(KEPT.read_at)), ask().reference), 0.0, places=6
        )
        for read_at in (0.0, -5.0, KEPT.read_at + 0.6):
            found = ask(state=evolve(KEPT, read_at=read_at), random_bits=lambda count: 0)
            self.assertEqual(found.reference, found.receive)
            found = ask(sent=NOW, state=evolve(KEPT, read_at=read_at))
            self._check(found, ORIGIN)


class FuzzTests(SynchronousTestCase):
    """Tests with arbitrary requests."""

    def _requests(self, count: int) -> Iterator[bytes]:
        """Make requests of up to 100 bytes: half of them at random, half of them nearly right."""
        random = Random(20361)
        for _ in range(count // 2):
            yield random.randbytes(random.randrange(101))
            length = random.choice((48, 48, 52, 68, 72, 100, 47))
            yield bytes([random.choice((0x1B, 0x23, 0xE3, 0x09))]) + random.randbytes(length - 1)

    def test_any(self) -> None:
        """
        Whatever comes, the answer is none or 48 bytes, never more than came, and one
        that clients take.
        """
        random, options, answered = Random(5), NtpOptions(), 0
        states = [KEPT, ClockState(), evolve(KEPT, precision=-40), evolve(KEPT, stepped=True)]
        for packet in self._requests(20000):
            state, bits = random.choice(states), random.getrandbits
            sent = NOW + random.choice((-SECOND, 0, 1, 50000))
            found = answer(packet, NOW, lambda: sent, state, options, bits)
            if found is None:
                continue
            answered += 1
            self.assertEqual(len(found), LENGTH)
            self.assertLessEqual(len(found), len(packet))
            self.assertEqual(found[24:32], packet[40:48])
            origin = int.from_bytes(packet[40:48], "big")
            if state.synchronised and not state.stepped and found[0] & 7 == 4:
                self.assertNotIn("chrony", refusals(found, origin))
        self.assertGreater(answered, 5000)

    def test_shapes(self) -> None:
        """Each first byte is answered or not, as its version and mode say."""
        for first in range(256):
            packet = bytes([first]) + bytes(47)
            found = answer(packet, NOW, lambda: LATER, KEPT, NtpOptions())
            expected = first & 7 in (1, 3) and 1 <= first >> 3 & 7 <= 4
            self.assertEqual(found is not None, expected, first)


class NtpDatagramsTests(SynchronousTestCase):
    """Tests for the protocol of a port."""

    def _serve(self, received_at: int | None, now: float, *packets: bytes) -> list[Answer]:
        """Send datagrams to the protocol that the declaration makes."""
        assert declaration.datagram is not None
        around = evolve(context(now), clock_state=lambda: KEPT)
        protocol = declaration.datagram(declaration.options(), around)
        protocol.noisy = False
        transport = StampedTransport(received_at)
        self.assertTrue(verifyObject(IUDPTransport, transport))
        protocol.makeConnection(transport)
        for packet in packets:
            protocol.datagramReceived(packet, PEER)
        self.assertEqual({addr for _, addr in transport.sent} - {PEER}, set())
        return [read(packet) for packet, _ in transport.sent]

    def test_kernel_time(self) -> None:
        """The time of receipt is the kernel's, that of sending the wall clock's."""
        [found] = self._serve(NOW, NOW / SECOND + 0.002, request())
        self.assertLess(abs(seconds_between(timestamp(NOW), found.receive)), 1e-6)
        between = seconds_between(found.receive, found.transmit)
        self.assertAlmostEqual(between, 0.002, places=5)

    def test_no_kernel_time(self) -> None:
        """Where the kernel gave none, it is the time of delivery."""
        [found] = self._serve(None, 1795000000.5, request())
        self.assertAlmostEqual(
            seconds_between(timestamp(1795000000 * SECOND + SECOND // 2), found.receive), 0.0, 6
        )
        self.assertGreater(seconds_between(found.receive, found.transmit), 0.0)

    def test_all(self) -> None:
        """Each request has its answer, and what is none has none."""
        found = self._serve(
            NOW, NOW / SECOND, b"", request(origin=1), b"x" * 48, request(4), request(1, origin=2)
        )
        self.assertEqual([(one.mode, one.origin) for one in found], [(4, 1), (2, 2)])

    def test_state_is_asked(self) -> None:
        """The state counts that the clock has when a request comes."""
        assert declaration.datagram is not None
        states = iter([KEPT, ClockState(), KEPT])
        around = evolve(context(NOW / SECOND), clock_state=lambda: next(states))
        protocol = declaration.datagram(NtpOptions(), around)
        transport = StampedTransport(NOW)
        protocol.noisy = False
        protocol.makeConnection(transport)
        for _ in range(3):
            protocol.datagramReceived(request(), PEER)
        self.assertEqual([read(packet).stratum for packet, _ in transport.sent], [10, 0, 10])

    def test_declaration(self) -> None:
        """
        It serves datagrams only, from every port but 0: a translator maps 123, which older
        clients ask from, to any other; and it never sends more than it received.
        """
        self.assertIsNone(declaration.stream)
        found = [port for port in range(65536) if port not in declaration.source_ports]
        self.assertEqual(found, [0])
        self.assertTrue(declaration.timestamped)
        self.assertEqual(declaration.reply_floor(NtpOptions()), 0)
