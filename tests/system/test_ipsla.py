"""
C{ipsla} from the real daemon, asked as a router asks.

The client is written from captures of routers, and uses nothing of the daemon.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import Any

from tests.protocols.measure import ipsla_wire
from tests.support.polling import DEADLINE
from tests.support.ports import free_port
from tests.support.processes import SystemCase

INI = """
[socketd]
control = {directory}/control.sock
[ipsla]
listen = udp:0, udp6:0:optional=yes
ports = {port}
{more}
"""

#: Seconds from 1900 to 1970.
NTP_EPOCH = 2_208_988_800


class Router:
    """A router with an operation of IP SLA."""

    def __init__(self, host: str, control: int, port: int) -> None:
        self.host, self.control, self.port = host, control, port
        self.family = socket.AF_INET6 if ":" in host else socket.AF_INET

    def ask(self, milliseconds: int, source: str = "") -> bytes:
        """Have the port opened; return the answer."""
        message = ipsla_wire.first_version(self.host, self.port, milliseconds)
        return self.exchange(message, self.control, source)

    def exchange(self, message: bytes, port: int, source: str = "") -> bytes:
        """Send a datagram from a port of its own, and return the answer."""
        with self.open(source) as sock:
            sock.sendto(message, (self.host, port))
            answer: bytes
            answer, sender = sock.recvfrom(2048)
            assert sender[:2] == (self.host, port), sender
            return answer

    def open(self, source: str = "") -> Any:
        """Make a socket."""
        sock = socket.socket(self.family, socket.SOCK_DGRAM)
        sock.settimeout(DEADLINE)
        sock.bind((source or self.host, 0))
        return sock


class IpslaTests(SystemCase):
    """One daemon, and routers at several addresses."""

    def test_operations(self) -> None:
        """
        UDP echo and both kinds of jitter, over IPv4 and IPv6: a port is opened at the address that
        was asked, for the address that asked, and listed meanwhile.
        """
        port = free_port()
        with self.daemon(INI.format(port=port, directory=self.directory, more="")) as daemon:
            _, control = daemon.address("ipsla", "udp")
            router = Router("127.0.0.1", control, port)
            answer = router.ask(60_000)
            expected = struct.pack("!BBHHH", 1, 0x69, 24, port, 60_000)
            self.assertEqual(answer[:4] + answer[20:], expected)
            self.check_probes(router)
            self.check_stranger(router)
            path = str(self.directory / "control.sock")
            ended = self.run_socketd("listeners", "--control", path)
            self.assertIn(f"udp 127.0.0.1:{port}", ended.output)
            if socket.has_ipv6:
                _, control = daemon.address("ipsla", "udp6")
                router = Router("::1", control, port)
                self.assertEqual(len(router.ask(60_000)), 40)
                self.check_probes(router)

    def check_probes(self, router: Router) -> None:
        """See that each type of probe is answered as a router expects."""
        echo = b"\0\1\0\0" + b"\xab\xcd" * 6
        self.assertEqual(router.exchange(echo, router.port), echo)
        for number in range(1, 11):
            sent_at = 43_585_825
            probe = struct.pack("!HHIIHH", 2, 0, sent_at, 0, number, 0) + b"\xab\xcd" * 8
            before = time.time()
            found = struct.unpack("!HHIIHH16s", router.exchange(probe, router.port))
            kind, stay, sent, received, theirs, ours, _ = found
            self.assertEqual((kind, sent, theirs, ours), (2, sent_at, number, number))
            since = (received / 1000 - before) % 86_400
            self.assertTrue(since < DEADLINE or since > 86_399, since)
            self.assertLess(stay, DEADLINE * 1000)
        probe = b"\0\3" + bytes(50) + b"\x12\x34\0\0" + bytes(4)
        answer = router.exchange(probe, router.port)
        times = struct.unpack("!QQ", answer[12:28])
        received, sent = (seconds / 2**32 - NTP_EPOCH for seconds in times)
        self.assertLess(received, sent)
        self.assertLess(abs(time.time() - received), DEADLINE)
        self.assertEqual(answer[52:56], b"\x12\x34\x12\x34")

    def check_stranger(self, router: Router) -> None:
        """See that another address is answered only when it has asked."""
        probe = b"\0\1probe"
        with router.open("127.0.0.9") as sock:
            sock.sendto(probe, (router.host, router.port))
            # The answer to a later message is the first one: the probe had none.
            self.assertEqual(len(router.ask(1000, "127.0.0.9")), 24)
            sock.sendto(probe + b"2", (router.host, router.port))
            self.assertEqual(sock.recv(100), probe + b"2")

    def test_second_version(self) -> None:
        """Control messages of version 2 are served where they have the digest of a key."""
        port, keys = free_port(), self.directory / "ipsla.keys"
        keys.write_bytes(b"%d %s\n" % (ipsla_wire.KEY_ID, ipsla_wire.KEY))
        keys.chmod(0o600)
        ini = INI.format(port=port, directory=self.directory, more=f"keys = {keys}")
        with self.daemon(ini) as daemon:
            router = Router("127.0.0.1", daemon.address("ipsla", "udp")[1], port)
            refused = router.exchange(ipsla_wire.request(port), router.control)
            self.assertEqual(ipsla_wire.statuses(refused), (2, 2, 0))
            asked = ipsla_wire.request(port, 2, milliseconds=60_000)
            self.assertEqual(router.exchange(asked, router.control), asked)
            answer = router.exchange(ipsla_wire.probe(5), port)
            self.assertEqual(answer[52:60], bytes((0, 0, 0, 5, 0, 0, 0, 1)))
            times = struct.unpack("!QQ", answer[12:28])
            received, sent = (seconds / 2**32 - NTP_EPOCH for seconds in times)
            self.assertTrue(0 <= sent - received < DEADLINE and abs(time.time() - sent) < DEADLINE)

    def test_time(self) -> None:
        """When the time is over the port is closed, and the system says that it is."""
        port = free_port()
        with self.daemon(INI.format(port=port, directory=self.directory, more="")) as daemon:
            _, control = daemon.address("ipsla", "udp")
            router = Router("127.0.0.1", control, port)
            router.ask(300)
            with router.open() as sock:
                sock.connect((router.host, port))
                end = time.monotonic() + DEADLINE
                with self.assertRaises(ConnectionRefusedError):
                    while time.monotonic() < end:
                        sock.send(b"\0\1probe")
                        sock.settimeout(0.1)
                        try:
                            sock.recv(100)
                        except TimeoutError:
                            continue
