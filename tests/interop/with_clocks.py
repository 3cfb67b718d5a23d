"""
The clients that ask for the time, and would set the clock; none of these does.

They run where the calls that set a clock are refused. systemd-timesyncd and OpenNTPD have
no way to ask only, and Debian does not install them beside chrony; the checks of
systemd-timesyncd are in tests/protocols/clock/test_ntp.py, those of OpenNTPD nowhere. The
busybox of Debian has no ntpd; what that one has against a server is in the same file, too.
"""

from __future__ import annotations

import os
import platform
import sys
from errno import EPERM
from pathlib import Path

from tests.interop.client_case import InteropCase
from tests.interop.guarded import CALLS
from tests.interop.table import PORT_123_QUERIES, QUERIES

#: The services of L{PORT_123_QUERIES}.
PORT_123_INI = """
[kept]
protocol = ntp
assume_synchronised = yes
listen = udp:123:interface={kept}

[ntp]
listen = udp:123:interface={ntp}
"""

#: Makes system calls without arguments, with which none of them sets anything.
CALL = """
import ctypes, sys
for number in map(int, sys.argv[1:]):
    ctypes.CDLL(None, use_errno=True).syscall(number, 0, 0)
    print(ctypes.get_errno())
"""

#: The first port that needs no privilege.
UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def own_address(network: int) -> str:
    """
    Make an address of loopback that other processes do not use.

    @param network: its second byte.
    """
    high, low = divmod(os.getpid() % 60000, 256)
    return f"127.{network}.{high}.{low}"


class ClockClientTests(InteropCase):
    """
    Clients get the time of this machine, and refuse a server whose clock is not
    synchronised.
    """

    def ask_all(self, name: str) -> None:
        """Run all queries of one client against one daemon."""
        with self.serve() as daemon:
            self.report(self.query(daemon, query) for query in QUERIES if query.name == name)

    def test_guarded(self) -> None:
        """What runs guarded is refused every call that sets the clock, or asks about it."""
        calls = CALLS[platform.machine()]
        ran = self.run_guarded([sys.executable, "-c", CALL, *map(str, calls)])
        self.assertEqual((ran.returncode, ran.stdout), (0, f"{EPERM}\n" * len(calls)))

    def test_rdate(self) -> None:
        """
        rdate prints the right time over TCP and UDP (RFC 868) and SNTP, and refuses an SNTP
        server that is not synchronised.
        """
        self.ask_all("rdate")

    def test_busybox(self) -> None:
        """busybox's rdate prints the right time (RFC 868)."""
        self.ask_all("busybox")

    def test_chronyd(self) -> None:
        """
        chronyd takes the time of a server that vouches for it, less than a second off, and
        finds no source in one that is not synchronised.
        """
        self.ask_all("chronyd")

    def test_ntpsec(self) -> None:
        """So do ntpdig and ntpdate; they ask port 123, which root alone may bind."""
        if os.geteuid() and int(UNPRIVILEGED.read_text()) > 123:
            self.fail(f"port 123 is for root: run as root, or write 123 to {UNPRIVILEGED}")
        hosts = {"kept": own_address(123), "ntp": own_address(124)}
        with self.serve(PORT_123_INI.format(**hosts)) as daemon:
            daemon.address("ntp", "udp")
            self.report(
                self.query(daemon, query, hosts[query.service]) for query in PORT_123_QUERIES
            )
