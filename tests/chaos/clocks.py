"""
A wall clock that a test sets while the real daemon runs, and clients that ask for the time.

The clock of the machine stays as it is: libfaketime stands between the daemon and the C
library, for the wall clock only. Deadlines hang on the monotonic one, which is not faked.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from datetime import UTC, datetime
from math import floor
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.support.needs import need
from tests.support.polling import DEADLINE
from tests.support.processes import TWISTD, Daemon, SystemCase
from tests.support.sockets import read_to_end, was_reset

#: Where Debian's package C{faketime} has the library, below the directory of the machine.
LIBRARY = "*/faketime/libfaketime.so.1"
PLACES = (Path("/usr/lib"), Path("/usr/local/lib"))

#: How the library names what it shares with children, of which there are none; a process
#: that is killed leaves it.
LEFT = ("faketime_shm_{}", "sem.faketime_sem_{}")

#: The daemon without the kernel's time of receipt, which cannot be faked: ntp then takes
#: the time of delivery, as on systems whose kernel tells none.
UNSTAMPED = (
    sys.executable,
    "-c",
    "from socketd.net.datagram import controls\n"
    "from twisted.scripts.twistd import run\n"
    "controls.ask_for_arrival = lambda sock: None\n"
    "run()\n",
    *TWISTD[1:],
)

#: NTP and RFC 868 count from 1900.
SINCE_1900 = 2208988800

#: All timestamps of the protocols have 32 bits of seconds.
SPAN = 1 << 32

#: The clock is read as text with so much loss (seconds).
LOSS = 0.001

#: A service for NTP, whose clients take the time.
NTP = """
[ntp]
assume_synchronised = yes
listen = udp:0:interface=127.0.0.1
"""

#: Every service that tells the time.
INI = f"""{NTP}
[echo]
listen = tcp:0:interface=127.0.0.1
[daytime]
format = iso
listen = tcp:0:interface=127.0.0.1
[time]
epoch = 1900
listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1
[unix]
protocol = time
epoch = unix
listen = tcp:0:interface=127.0.0.1
"""

_NTP = struct.Struct("!BBbbII4sQ8sQQ")


def library() -> str:
    """Find libfaketime, which a test needs."""
    need("faketime")
    return next(str(found) for place in PLACES for found in place.glob(LIBRARY))


class WallClock:
    """The wall clock of a daemon."""

    def __init__(self, file: Path) -> None:
        """
        @param file: where the library reads how far it is before the true one.
        """
        self._file = file
        self._offset = 0.0
        self.step(0.0)

    def now(self) -> float:
        """Read it (seconds since 1970)."""
        return time.time() + self._offset

    def step(self, seconds: float) -> None:
        """Set it by a jump."""
        self._offset += seconds
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{self._offset:+.6f}\n")
        fresh.rename(self._file)

    def set_to(self, when: float) -> None:
        """Set it to a time."""
        self.step(when - self.now())


@frozen
class NtpReply:
    """
    What an NTP server says.

    @ivar received: when the request came, in the era nearest to the client (seconds
        since 1970).
    @ivar sent: when the answer left, likewise.
    """

    leap: int
    stratum: int
    received: float
    sent: float

    @property
    def is_usable(self) -> bool:
        """Whether a client may take the time."""
        return self.leap != 3 and 1 <= self.stratum <= 15


def nearest(count: float, near: float, epoch: int) -> float:
    """
    Read a count that begins again and again, as a client that nearly knows the time.

    @param count: seconds since the epoch, but for whole spans.
    @param near: the client's own time (seconds since 1970).
    @param epoch: how long before 1970 the count began (seconds).
    """
    return count - epoch + SPAN * round((near + epoch - count) / SPAN)


def read_ntp(packet: bytes, near: float) -> NtpReply:
    """Read an answer (RFC 5905, 7.3)."""
    first, stratum, *_, received, sent = _NTP.unpack(packet)
    times = (nearest(count / SPAN, near, SINCE_1900) for count in (received, sent))
    return NtpReply(first >> 6, stratum, *times)


def ntp_request(origin: int = 1) -> bytes:
    """Write what a client of version 4 sends, whose transmit timestamp is any number."""
    return b"\x23" + bytes(39) + origin.to_bytes(8, "big")


class ClockCase(SystemCase):
    """
    A daemon whose wall clock the test sets.

    @ivar clock: that clock.
    """

    def setUp(self) -> None:
        super().setUp()
        self.library = library()
        self.clock = WallClock(self.directory / "clock")

    def environment(self, **more: str) -> dict[str, str]:
        """Put the library before the C library of a child."""
        faked = {
            "LD_PRELOAD": self.library,
            "FAKETIME_TIMESTAMP_FILE": str(self.directory / "clock"),
            # Each reading sees the last step.
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # With the times of files moved all would look new.
            "NO_FAKE_STAT": "1",
        }
        return super().environment(**faked, **more)

    def serve(self, ini: str = INI, stamped: bool = False) -> Daemon:
        """
        Start a daemon.

        @param stamped: whether the kernel says when datagrams came; it goes by the true
            time.
        """
        file = self.write("socketd.ini", ini)
        command = [*(TWISTD if stamped else UNSTAMPED), "socketd", "--config", str(file)]
        daemon = Daemon(command, env=self.environment(), cwd=self.directory)
        self.addCleanup(self._clear, daemon)
        return daemon

    def _clear(self, daemon: Daemon) -> None:
        daemon.kill()
        for name in LEFT:
            Path("/dev/shm", name.format(daemon.pid)).unlink(missing_ok=True)

    def ask(self, daemon: Daemon, service: str, kind: str = "tcp", sent: bytes = b"") -> bytes:
        """Ask for the time: connect and read to the end, or send a datagram."""
        with daemon.connect(service, kind) as sock:
            if sock.type == socket.SOCK_DGRAM:
                sock.send(sent)
                return sock.recv(1024)
            return read_to_end(sock)

    def query_ntp(self, daemon: Daemon) -> NtpReply:
        return read_ntp(self.ask(daemon, "ntp", "udp", ntp_request()), self.clock.now())

    def told(self, daemon: Daemon) -> dict[str, float]:
        """
        Ask every service that tells the time.

        @return: seconds since 1970, each in the span nearest to the daemon's clock.
        """
        near = self.clock.now()
        text = self.ask(daemon, "daytime").decode().strip()
        counts = {
            "time": (self.ask(daemon, "time"), SINCE_1900),
            "time by datagram": (self.ask(daemon, "time", "udp"), SINCE_1900),
            "time since 1970": (self.ask(daemon, "unix"), 0),
        }
        found = {
            name: nearest(int.from_bytes(data, "big"), near, epoch)
            for name, (data, epoch) in counts.items()
        }
        found["daytime"] = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(
            tzinfo=UTC
        ).timestamp()
        found["ntp"] = self.query_ntp(daemon).sent
        return found

    def check_times(self, daemon: Daemon) -> None:
        """Check that every service tells the time of the daemon's clock."""
        began = floor(self.clock.now() - LOSS)
        found = self.told(daemon)
        ended = self.clock.now() + LOSS
        wrong = {name: when for name, when in found.items() if not began <= when <= ended}
        self.assertEqual(wrong, {}, f"between {began} and {ended}")

    def count(self, daemon: Daemon, text: str) -> int:
        """Count the lines of the log that have a text."""
        return sum(text in line for line in daemon.output.text.splitlines())


def seconds_until_end(sock: Any, began: float) -> float:
    """
    Wait until the daemon ends a connection.

    @param began: a time of the monotonic clock (seconds).
    @return: how long after that it ended (seconds).
    """
    sock.settimeout(DEADLINE)
    was_reset(sock)
    return time.monotonic() - began
