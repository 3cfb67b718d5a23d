"""
Wall clocks that are stepped, that begin a new era, or that are not set, under the real daemon.
"""

from __future__ import annotations

import ssl
import time
from datetime import UTC, datetime

from tests.chaos import figures
from tests.chaos.clocks import INI, NTP, ClockCase, read_ntp, seconds_until_end
from tests.support.certificates import authority
from tests.support.nts import INI as NTS
from tests.support.nts import NtsCase
from tests.support.polling import BUSY
from tests.support.processes import Daemon
from tests.support.sockets import read_exactly
from tests.support.tls import TlsCase, connect_raw, connect_tls, trusting_context

HOUR = 3600.0
YEAR = 365 * 24 * HOUR

#: Two readings of a clock one after the other are so near (seconds).
CLOSE = 0.1

#: A step is logged so soon (seconds), on a busy machine: the clock is looked at once a second.
LOGGED = 3.0

#: A deadline is at most so late (seconds) on a busy machine.
LATE = 5.0

#: The deadlines of these tests (seconds).
SOON = 0.5

#: The first second of NTP's era 1, and of RFC 868's second count; and the one in which
#: signed seconds since 1970 end.
TURNS = (
    datetime(2036, 2, 7, 6, 28, 16, tzinfo=UTC).timestamp(),
    datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC).timestamp(),
)


class StepTests(ClockCase):
    """The wall clock is set while the daemon serves."""

    def check_steps(self, *steps: float) -> None:
        """Set the clock by each step, with a connection open throughout."""
        logged = []
        with self.serve() as daemon, daemon.connect("echo") as open_before:
            self.check_times(daemon)
            self.assertTrue(self.query_ntp(daemon).is_usable)
            for step in steps:
                self.clock.step(step)
                began = time.monotonic()
                self.check_times(daemon)
                found = daemon.output.wait_for(r"clock stepped by (\S+) s;")
                logged.append(time.monotonic() - began)
                self.assertLess(abs(float(found[1]) - step), CLOSE)
                self.assertFalse(self.query_ntp(daemon).is_usable)
                self.check_echo(open_before)
            self.check_times(daemon)
        self.assertEqual(self.count(daemon, "clock stepped"), len(steps))
        self.assertLess(max(logged), LOGGED)
        figures.note(self, f"logged after {max(logged):.1f} s")

    def test_hour(self) -> None:
        """
        After a step of an hour to either side the next answers tell the new time; the step
        is logged once, ntp raises the alarm, and no connection is lost.
        """
        self.check_steps(HOUR, -HOUR)

    def test_second(self) -> None:
        """So after a step of a second."""
        self.check_steps(1.0, -1.0)

    def test_between(self) -> None:
        """
        Where the clock was set between the kernel's reading of it and the daemon's, ntp
        raises the alarm if it went forward, and has but the new time if it went back.
        """
        self.clock.step(HOUR)
        with self.serve(NTP, stamped=True) as daemon:
            self.assertFalse(self.query_ntp(daemon).is_usable)
        self.clock.step(-2 * HOUR)
        with self.serve(NTP, stamped=True) as daemon:
            told, now = self.query_ntp(daemon), self.clock.now()
            self.assertTrue(told.is_usable)
            self.assertLess(now - told.received, BUSY)
            self.assertLess(now - told.sent, BUSY)


class TimerTests(ClockCase, TlsCase):
    """Deadlines and steps."""

    def test_deadlines(self) -> None:
        """
        A silent connection and a handshake that stands still end neither early nor late,
        though the clock is set by an hour just after they began.
        """
        silent = "[silent]\nprotocol = echo\nlisten = tcp:0:interface=127.0.0.1\n"
        limit = f"_timeout = {SOON * 1000:.0f}ms"
        lasted = []
        with self.serve(f"{self.ini('handshake' + limit)}{silent}idle{limit}\n") as daemon:
            for step in (HOUR, -HOUR):
                began = time.monotonic()
                with daemon.connect("silent") as idle, connect_raw(daemon, "echo") as stalled:
                    idle.sendall(b"hello")
                    stalled.sendall(b"\x16\x03\x01")
                    self.clock.step(step)
                    lasted += [seconds_until_end(sock, began) for sock in (idle, stalled)]
        self.assertGreaterEqual(min(lasted), SOON)
        self.assertLess(max(lasted), SOON + LATE)
        figures.note(self, f"{SOON} s lasted {min(lasted):.2f} to {max(lasted):.2f} s")


class EraTests(ClockCase, TlsCase):
    """The counts that begin again."""

    def test_turns(self) -> None:
        """
        Just before and after 2036 and 2038 turn, every client that is in its own era reads
        the right time; TLS is served as ever.
        """
        with self.serve(INI + self.ini("protocol = echo", service="secure")) as daemon:
            for turn in TURNS:
                for when in (turn - 1.0, turn, turn + 1.0):
                    self.clock.set_to(when)
                    self.check_times(daemon)
                    with connect_tls(daemon, "secure") as client:
                        self.check_echo(client)


class UnsetClockTests(ClockCase, TlsCase):
    """A machine that begins in 1970, and is told the time later."""

    def test_set_later(self) -> None:
        """
        The daemon comes up, and serves what needs no time, TLS too. It tells no time, and
        trusts no client by its certificate. All that comes with the time, and the lines of
        the log have the dates of both clocks.
        """
        self.clock.set_to(10.0)
        with self.serve(INI + self.known()) as daemon:
            for service in ("daytime", "time", "unix"):
                self.assertEqual(self.ask(daemon, service), b"")
            self.assertFalse(self.query_ntp(daemon).is_usable)
            with daemon.connect("echo") as plain, connect_tls(daemon, "open") as secure:
                for sock in (plain, secure):
                    self.check_echo(sock)
            self.assertFalse(self.is_known(daemon))
            self.clock.set_to(time.time())
            daemon.output.wait_for(r"clock stepped by \d{10}\.\d+ s;")
            self.assertTrue(self.is_known(daemon))
            self.check_times(daemon)
        years = {line[:4] for line in daemon.output.text.splitlines()}
        self.assertEqual(years, {"1970", str(datetime.now(UTC).year)})
        self.assertEqual(self.count(daemon, "clock stepped"), 1)

    def known(self) -> str:
        """Write two services that speak TLS, one of them for known clients only."""
        protocol, ca = "protocol = echo", f"tls_client_ca = {self.directory}/ca.pem"
        return self.ini(protocol, service="open") + self.ini(protocol, ca, service="closed")

    def is_known(self, daemon: Daemon) -> bool:
        """Show a certificate that is valid since 2020, and say whether that was believed."""
        file = self.client_file("client.example.org")
        try:
            with connect_tls(daemon, "closed", trusting_context(client=file)) as sock:
                sock.sendall(b"hello")
                return read_exactly(sock, 5) == b"hello"
        except (ConnectionError, ssl.SSLError):
            return False


class NtsTests(ClockCase, NtsCase):
    """A wrong clock, where time is proven."""

    def test_wrong_clock(self) -> None:
        """
        In 1970, then in time, a year later and back, a client keeps its cookies; a wrong time is
        never told without the alarm, and each answer is proven. The keys rotate once for each
        step.
        """
        self.clock.set_to(10.0)
        with self.serve(NTS.format(directory=self.directory)) as daemon:
            client = self.establish(daemon)
            steps = {"1970": 0.0, "now": time.time() - 10.0, "a year on": YEAR, "back": -YEAR}
            for name, step in steps.items():
                if step:
                    self.clock.step(step)
                    daemon.output.wait_for(r"clock stepped by \S+ s;")
                answer = self.query_nts(daemon, client)
                self.assertEqual(len(client.cookies(answer)), 2, name)
                self.assertFalse(read_ntp(answer[:48], self.clock.now()).is_usable, name)
        self.assertEqual(self.count(daemon, "rotated the NTS keys"), len(steps) - 1)

    def test_wrong_client(self) -> None:
        """C{socketd time --nts}, where the clock is in 1970, says what is wrong, and no time."""
        ca = str(self.write("ca.pem", authority().pem()))
        with self.serve(NTS.format(directory=self.directory)) as daemon:
            port, nts_port = daemon.address("ntp", "udp")[1], daemon.address("nts-ke", "tls")[1]
            self.clock.set_to(10.0)
            words = ("time", f"ntp:localhost:{port}", "--nts", "--nts-port", str(nts_port))
            ended = self.run_socketd(*words, "--ca", ca)
        self.assertEqual((ended.status, ended.output), (1, ""))
        self.assertIn("is not valid before 2020-01-01", ended.errors)
