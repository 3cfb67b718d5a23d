"""A daemon that is reloaded again and again while peers are served."""

from __future__ import annotations

import json
import socket
import time
from statistics import median

from tests.faults import figures
from tests.faults.fault_case import FaultCase, echoes
from tests.support.certificates import issued
from tests.support.polling import DEADLINE, repeating
from tests.support.ports import free_port
from tests.support.processes import Daemon

#: A reload takes so many seconds at most, half of all and the slowest; the machine may be
#: busy with other things for a while.
RELOAD = 0.2
SLOWEST = 1.0

#: What any number of reloads may cost (bytes); a service has some 100 KiB.
GROWTH = 3 * 1024 * 1024

#: After so many reloads everything is there that stays.
WARM = 10

BOTH = """
[socketd]
control = {directory}/control.sock
http = unix:{directory}/http.sock
[defaults]
log_connections = no
[echo]
listen = tcp:{port}:interface=127.0.0.1, udp:{port}:interface=127.0.0.1
idle_timeout = {idle}s
[secure]
protocol = echo
listen = tls:0:interface=127.0.0.1
tls_certificate = {directory}/server.pem
max_connections = {idle}
"""

#: What one of the two configurations has besides.
MORE = """
[more]
protocol = upper
framing = line
listen = tcp:0:interface=127.0.0.1, unix:{directory}/more.sock
[time]
listen = udp:0:interface=127.0.0.1
"""


class ReloadCase(FaultCase):
    """A test with a daemon that is reloaded often."""

    def check(self, times: int) -> None:
        """Reload so often, between two configurations, under light load."""
        made = issued("localhost")
        self.write("server.pem", made.pem() + made.key_pem()).chmod(0o600)
        port = free_port()
        values = {"directory": self.directory, "port": port}
        inis = [BOTH.format(idle=60, **values), (BOTH + MORE).format(idle=90, **values)]

        def load() -> None:
            assert echoes(("127.0.0.1", port)), "a client was refused"

        with self.daemon(inis[0]) as daemon, daemon.connect("echo") as stays:
            with repeating(load) as problems:
                times_taken = self._reload(daemon, stays, inis, times)
        self.assertEqual(problems, [])
        figures.note(
            self,
            f"{times} reloads of {1000 * median(times_taken):.0f} ms (median), slowest"
            f" {1000 * max(times_taken):.0f} ms; {self.growth // 1024} KiB more",
        )
        self.assertLess(median(times_taken), RELOAD)
        self.assertLess(max(times_taken), SLOWEST)
        self.assertLess(self.growth, GROWTH)

    def _reload(
        self, daemon: Daemon, stays: socket.socket, inis: list[str], times: int
    ) -> list[float]:
        found = []
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(DEADLINE)
            control.connect(f"{self.directory}/control.sock")
            answers_of = control.makefile("rb")
            for turn in range(WARM + times):
                if turn == WARM:
                    memory, descriptors = daemon.resident(), daemon.descriptors()
                self.write("socketd.ini", inis[turn % 2])
                began = time.monotonic()
                control.sendall(b"json reload\n")
                reply = json.loads(answers_of.readline())
                found.append(time.monotonic() - began)
                self.assertTrue(reply["ok"], reply)
                self.check_echo(stays)
            self.assertLess(abs(daemon.descriptors() - descriptors), 3)
            self.growth = 1024 * (daemon.resident() - memory)
        return found[WARM :]
