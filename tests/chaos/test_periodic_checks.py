"""The daemon's periodic checks of its clock, its kernel and its certificates."""

from __future__ import annotations

from functools import partial
from math import floor

from socketd.common.system_clock import Timex, read_kernel
from socketd.daemon import wiring
from socketd.daemon.daemon import CERTIFICATE_CHECK, CHECK_INTERVAL
from socketd.net.datagram import controls
from tests.chaos.clocks import NTP, NtpReply, ntp_request, read_ntp
from tests.support.certificates import NOW, PAST, Made, issued
from tests.support.daemons import DaemonCase
from tests.support.tls import NAME

HOUR = 3600.0

#: Two readings of a clock one after the other are so near (seconds).
CLOSE = 0.1

#: For so long (seconds) after a step was seen ntp raises the alarm.
DOUBT = 64.0

#: What adjtimex(2) returns: all is well; a second will be inserted, or left out; it is
#: being inserted; it is over.
OK, INSERT, DELETE, LEAPING, OVER = range(5)


class PeriodicCheckCase(DaemonCase):
    """
    A daemon whose clocks and kernel the test sets, and an NTP client.

    @ivar kernel: what adjtimex(2) returns.
    """

    def setUp(self) -> None:
        super().setUp()
        self.kernel = OK
        self.patch(wiring, "read_kernel", partial(read_kernel, self.adjtimex))
        self.patch(controls, "ask_for_arrival", lambda sock: None)

    def adjtimex(self, timex: Timex) -> int:
        """Say what the kernel says."""
        timex.maxerror = 1000
        return self.kernel

    def check(self, count: int = 1) -> None:
        """Let the daemon do so many of its periodic checks."""
        self.reactor.pump([CHECK_INTERVAL] * count)

    def now(self) -> float:
        """Read the daemon's wall clock."""
        return self.wall + self.reactor.seconds()

    def ask_time(self) -> NtpReply:
        """Ask by NTP."""
        packet = self.ask_datagram(self.address("ntp", "udp"), ntp_request())
        assert packet is not None
        return read_ntp(packet, self.now())


class StepAlarmTests(PeriodicCheckCase):
    """What NTP clients see of a step, through the socket."""

    def test_alarm(self) -> None:
        """
        For 64 seconds after a step was seen the answers raise the alarm; then they are fit,
        and have the new time.
        """
        self.start(NTP)
        self.assertTrue(self.ask_time().is_usable)
        self.wall += HOUR
        self.check()
        for _ in range(floor(DOUBT / CHECK_INTERVAL) - 1):
            self.assertFalse(self.ask_time().is_usable)
            self.check()
        self.assertFalse(self.ask_time().is_usable)
        self.check()
        self.assertTrue(self.ask_time().is_usable)
        self.assertLess(abs(self.ask_time().sent - self.now()), CLOSE)


class LeapTests(PeriodicCheckCase):
    """Leap seconds, through the socket."""

    def check_leap(self, code: int, leap: int, step: float) -> None:
        """Announce a leap second, let it come, and see that the clock is trusted throughout."""
        self.start(NTP)
        for kernel, jump, announced in (
            (OK, 0.0, 0),
            (code, 0.0, leap),
            (code, 0.0, leap),
            (LEAPING if step < 0 else OVER, step, 0),
            (OVER, 0.0, 0),
            (OK, 0.0, 0),
        ):
            self.kernel = kernel
            self.wall += jump
            self.check()
            told = self.ask_time()
            self.assertEqual((told.leap, told.stratum), (announced, 10))
            self.assertLess(abs(told.sent - self.now()), CLOSE)
        self.assertEqual(self.events("clock_stepped"), [])

    def test_inserted(self) -> None:
        """
        A second that will be inserted is announced; when it comes the clock goes back, and
        is right before and after.
        """
        self.check_leap(INSERT, 1, -1.0)

    def test_deleted(self) -> None:
        """A second that will be left out is announced; when it comes the clock goes forward."""
        self.check_leap(DELETE, 2, 1.0)


class ClockSetLaterTests(DaemonCase):
    """Certificates of a machine that begins in 1970."""

    def begin(self, made: Made) -> None:
        """Start in 1970 with a certificate, and let the clock be set later."""
        self.wall = 100.0
        path = self.certify(made)
        self.start(f"[echo]\nlisten = tls:0:interface=127.0.0.1\ntls_certificate = {path}\n")
        self.reactor.pump([CHECK_INTERVAL] * CERTIFICATE_CHECK)
        self.assertEqual(self.events("certificate_loaded"), [])
        self.wall = NOW
        self.reactor.pump([CHECK_INTERVAL] * (2 * CERTIFICATE_CHECK))

    def test_valid(self) -> None:
        """There is nothing to say of one that is valid."""
        self.begin(issued(NAME))
        self.assertEqual(self.events("certificate_invalid"), [])

    def test_expired(self) -> None:
        """One that has expired is complained of, once."""
        self.begin(issued(NAME, end=PAST))
        (line,) = self.events("certificate_invalid")
        self.assertIn("expired at 2021-01-01", line)
