"""
Clients that ask again and again, and monitors that ask a machine by its own address.

They are in a network of their own, because the daemon exempts loopback from most rules.
"""

from __future__ import annotations

import shlex
import socket

from tests.interop.client_case import GUARDED, InteropCase
from tests.interop.table import QUERIES, SMALL, fixed, written
from tests.support.namespaces import Namespace
from tests.support.needs import locate
from tests.support.processes import Daemon

#: An address of the machine that is not loopback.
HOST = "192.168.79.1"

INI = """
[time]
epoch = 1900
listen = udp:37
[echo]
listen = udp:7
[ntp]
listen = udp:123
assume_synchronised = yes
"""

#: A request in mode 3 that is otherwise zero.
ZEROS = b"\x1b" + bytes(47)

#: How often each client asks, faster than once a second.
TIMES = 7

_PLUGINS = "/usr/lib/nagios/plugins"

#: Each client, with what writes the pattern of what it prints when it is answered.
CLIENTS = {
    f"rdate -p -u {HOST}": written("%a %b %e %H:%M:%S UTC %Y\n"),
    f"rdate -p -n {HOST}": written("%a %b %e %H:%M:%S UTC %Y\n"),
    f"{_PLUGINS}/check_time -u -H {HOST}": fixed("TIME OK - [01] second time difference"),
    f"{_PLUGINS}/check_ntp_time -H {HOST}": fixed(r"NTP OK: Offset -?[0-9.e-]+ secs"),
    f"{_PLUGINS}/check_udp -H {HOST} -p 7 -s same -e same": fixed(
        "UDP OK - .* second response time"
    ),
}


class MonitorTests(InteropCase):
    """What is within the rates is answered."""

    def setUp(self) -> None:
        super().setUp()
        self.namespace = Namespace()
        self.addCleanup(self.namespace.close)
        self.namespace.run("ip", "address", "add", f"{HOST}/24", "dev", "lo")

    def start(self) -> Daemon:
        """Start a daemon for which the clock counts as not synchronised."""
        daemon = self.daemon(INI, before=(*self.namespace.command, *GUARDED))
        daemon.address("ntp", "udp")
        return daemon

    def test_chronyd_behind_devices(self) -> None:
        """
        Eight devices at one address, whose requests are all zero, do not silence a chronyd
        there.
        """
        (command,) = {query.command for query in QUERIES if query.name == "chronyd"}
        own = self.directory / "chronyd.pid"
        name, *rest = shlex.split(command.format(host=HOST, port=123, own=own))
        with self.start():
            with self.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
                for _ in range(8):
                    device.sendto(ZEROS, (HOST, 123))
                self.assertEqual([len(device.recv(99)) for _ in range(8)], [48] * 8)
            ran = self.run_guarded([*self.namespace.command, locate(name), *rest])
            self.assertRegex(ran.stdout, rf"System clock wrong by {SMALL} seconds \(ignored\)\n")

    def test_again_and_again(self) -> None:
        """Each client is answered seven times in a row, with the default rates."""
        for line, expect in CLIENTS.items():
            name, *rest = shlex.split(line)
            # A daemon for each, whose rates no other client has used up.
            with self.start():
                for number in range(TIMES):
                    expected = expect("")
                    command = [*self.namespace.command, locate(name), *rest]
                    ran = self.run_guarded(command)
                    self.assertRegex(ran.stdout, expected, (line, number))
                    self.assertEqual(ran.returncode, 0, (line, number))
