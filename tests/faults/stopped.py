"""A daemon that is stopped (SIGSTOP), as by a debugger or a frozen machine, and continued."""

from __future__ import annotations

import select
import signal
import socket
import time

from socketd.net.timer_wheel import TICK
from tests.faults import figures
from tests.faults.fault_case import FaultCase
from tests.support.polling import DEADLINE
from tests.support.processes import Daemon
from tests.support.sockets import address_of, read_exactly, read_to_end

#: Once it continues, all that waited is answered in so many seconds, and the watchdog is fed.
RESUMED = 5.0

#: Peers that come while it is stopped.
CROWD = 40

INI = """
[echo]
listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1
idle_timeout = {idle}ms
first_byte_timeout = {idle}ms
"""


class StopCase(FaultCase):
    """A test with a daemon that is stopped."""

    def check(self, seconds: float) -> None:
        """Stop it for so long, which is more than its deadlines, and see what it does then."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(f"{self.directory}/notify")
            systemd.settimeout(DEADLINE)
            environment = self.environment(
                NOTIFY_SOCKET=f"{self.directory}/notify", WATCHDOG_USEC=str(int(seconds * 5e5))
            )
            ini = INI.format(idle=int(seconds * 800))
            with self.daemon(ini, env=environment) as daemon:
                self._check(daemon, systemd, seconds)

    def _check(self, daemon: Daemon, systemd: socket.socket, seconds: float) -> None:
        talks, silent = daemon.connect("echo"), daemon.connect("echo")
        asks = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asks.settimeout(DEADLINE)
        asks.connect(daemon.address("echo", "udp"))
        self.check_echo(talks)
        self.check_echo(silent)
        # It has seen that they are silent when it is stopped.
        select.select([], [], [], 2.5 * TICK)
        daemon.signal(signal.SIGSTOP)
        came = [daemon.connect("echo") for _ in range(CROWD)]
        for sock in (talks, asks, *came):
            sock.sendall(b"hello")
        select.select([], [], [], seconds)
        while select.select([systemd], [], [], 0)[0]:
            systemd.recv(4096)
        daemon.signal(signal.SIGCONT)
        began = time.monotonic()
        while systemd.recv(4096) != b"WATCHDOG=1":
            pass
        for sock in (talks, asks, *came):
            self.assertEqual(read_exactly(sock, 5), b"hello")
        passed = time.monotonic() - began
        figures.note(self, f"stopped {seconds} s: all answered after {1000 * passed:.0f} ms")
        self.assertLess(passed, RESUMED)
        while not select.select([silent], [], [], seconds / 20)[0]:
            self.check_echo(talks)
        self.assertEqual(read_to_end(silent), b"")
        self.check_echo(talks)
        name = address_of(silent)
        silent.close()
        daemon.output.find(rf"{name} \(echo \d+\) idle_timeout")
        self.assertEqual(daemon.output.text.count("idle_timeout"), 1)
        self.assertNotIn("first_byte_timeout", daemon.output.text)
        for sock in (talks, asks, *came):
            sock.close()
