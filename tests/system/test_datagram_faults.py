"""The real daemon with fault profiles, as the peers of its datagrams see them."""

from __future__ import annotations

import socket
import time
from typing import Any

from tests.support.polling import BUSY
from tests.support.processes import Daemon, SystemCase
from tests.support.sockets import is_silent

#: How long a peer that waits for nothing waits (seconds).
SILENCE = 0.3

LATE, OTHER = b"?", b"other"

INI = """
[socketd]
control = {directory}/control
[fault:late]
latency = 200ms
[fault:held]
latency = 1h
reorder = 50% gap 2
[fault:lossy]
seed = 7
loss = 50%
[late]
protocol = echo
listen = udp:0, udp6:0, unixgram:{directory}/late
fault = late
[held]
protocol = echo
listen = udp:0:interface=127.0.0.1
fault = held
[lossy]
protocol = echo
listen = udp:0:interface=127.0.0.1
fault = lossy
"""

#: Kinds of listeners of C{late}, and what its clients ask: not the first address of the machine.
ASKED = {"udp": "127.0.0.2", "udp6": "::1"}


class DatagramTests(SystemCase):
    """What a client of UDP or of a UNIX socket meets with."""

    def client(self, family: socket.AddressFamily) -> socket.socket:
        """Make a client that waits for its answers."""
        client = socket.socket(family, socket.SOCK_DGRAM)
        self.addCleanup(client.close)
        client.settimeout(BUSY)
        return client

    def serve(self) -> Daemon:
        """Start the daemon."""
        return self.daemon(INI.format(directory=self.directory))

    def check_late(self, client: socket.socket, address: Any) -> None:
        """Ask twice, and see that both answers come from the address asked, and not too early."""
        began = time.monotonic()
        client.sendto(LATE, address)
        client.sendto(OTHER, address)
        answers = [client.recvfrom(99) for _ in range(2)]
        self.assertGreaterEqual(time.monotonic() - began, 0.2)
        self.assertEqual([answer for answer, _ in answers], [LATE, OTHER])
        sources = {source if isinstance(source, str) else source[:2] for _, source in answers}
        self.assertEqual(sources, {address})

    def test_late(self) -> None:
        """Over IPv4, IPv6 and UNIX answers are late, and from the address that was asked."""
        with self.serve() as daemon:
            for kind, host in ASKED.items():
                number = daemon.address("late", kind)[1]
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                self.check_late(self.client(family), (host, number))
            client = self.client(socket.AF_UNIX)
            client.bind(f"{self.directory}/client")
            self.check_late(client, f"{self.directory}/late")

    def ask(self, daemon: Daemon, service: str, count: int) -> socket.socket:
        """Send numbered datagrams."""
        client = self.client(socket.AF_INET)
        client.connect(daemon.address(service, "udp")[:2])
        for number in range(count):
            client.send(b"%d" % number)
        return client

    def test_switched_off(self) -> None:
        """A profile that is switched off sends what it holds, in order, and holds nothing more."""
        with self.serve() as daemon:
            client = self.ask(daemon, "held", 9)
            self.assertTrue(is_silent(client, SILENCE))
            ended = self.run_socketd(
                "fault", "--control", f"{self.directory}/control", "held", "off"
            )
            self.assertEqual((ended.status, ended.errors), (0, ""))
            client.send(b"9")
            self.assertEqual([client.recv(9) for _ in range(10)], [b"%d" % n for n in range(10)])

    def test_stop(self) -> None:
        """A daemon that stops sends what it holds."""
        with self.serve() as daemon:
            client = self.ask(daemon, "held", 9)
            self.assertTrue(is_silent(client, SILENCE))
            daemon.stop()
            self.assertEqual([client.recv(9) for _ in range(9)], [b"%d" % n for n in range(9)])

    def test_repeated(self) -> None:
        """With the same seed a client loses the same datagrams, in the next run too."""
        lost = []
        for _ in range(2):
            with self.serve() as daemon:
                client = self.ask(daemon, "lossy", 64)
                found = []
                while not is_silent(client, SILENCE):
                    found.append(client.recv(9))
                lost.append(found)
        self.assertEqual(*lost)
        self.assertTrue(10 < len(lost[0]) < 54, lost[0])
