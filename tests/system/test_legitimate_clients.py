"""
Well-behaved clients, as they are found in the field, are answered.

Loopback is free of most rules, so all of them come from another address.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import subprocess
import sys
from collections import Counter

from tests.support.forging import PacketCapture
from tests.support.namespaces import Namespace
from tests.support.networks import NetworkCase
from tests.support.polling import DEADLINE
from tests.support.processes import Daemon

#: The two ends of a veth pair; each has more than one address, and none is loopback.
HERE = ("192.168.78.1", "fd00:78::1", "2001:db8:78::1", "203.0.113.1")
THERE = ("192.168.78.2", "fd00:78::2", "2001:db8:78::2", "203.0.113.2", "100.64.78.2")

INI = """
[time]
listen = udp:37, udp6:37
[echo]
listen = udp:7, udp6:7
[ntp]
listen = udp:123
assume_synchronised = yes
"""

#: A client's question in mode 3 that is otherwise zero, as simple devices send it.
ZEROS = b"\x1b" + bytes(47)

#: How long is waited for what must not come (seconds).
SILENCE = 0.3


def is_ipv6(host: str) -> bool:
    """Tell the family of an address."""
    return ":" in host


def make_ipv6_packet(source: tuple[str, int], target: tuple[str, int], data: bytes) -> bytes:
    """Write a packet (RFC 8200, section 3; RFC 768), with the checksum that UDP needs there."""
    ends = [ipaddress.IPv6Address(end[0]).packed for end in (source, target)]
    size = 8 + len(data)
    pseudo = b"".join(ends) + struct.pack("!II", size, socket.IPPROTO_UDP)
    udp = struct.pack("!HHHH", source[1], target[1], size, 0) + data
    total = sum(word for (word,) in struct.iter_unpack("!H", pseudo + udp + b"\0" * (size % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    udp = udp[:6] + struct.pack("!H", total ^ 0xFFFF or 0xFFFF) + data
    return struct.pack("!IHBB", 6 << 28, size, socket.IPPROTO_UDP, 64) + b"".join(ends) + udp


class LegitimateClientCase(NetworkCase):
    """A daemon in a network of its own, connected to another one."""

    def setUp(self) -> None:
        super().setUp()
        self.outside = Namespace(self.namespace)
        self.addCleanup(self.outside.close)
        self.veth = self.namespace.connect(self.outside, f"{HERE[0]}/24", f"{THERE[0]}/24")
        for namespace, addresses in ((self.namespace, HERE), (self.outside, THERE)):
            for address in addresses[1:]:
                how = ("64", "nodad") if is_ipv6(address) else ("24",)
                prefix, *rest = how
                command = ("ip", "address", "add", f"{address}/{prefix}", "dev", self.veth)
                namespace.run(*command, *rest)
        self.namespace.run("ip", "route", "add", "default", "via", THERE[0])

    def start(self, ini: str = INI) -> Daemon:
        daemon = self.daemon_inside(ini)
        for line in ini.splitlines():
            if line.startswith("["):
                daemon.address(line.strip("[]"), "udp")
        return daemon

    def client(
        self, namespace: Namespace, host: str, port: int = 0, wait: float = DEADLINE
    ) -> socket.socket:
        """Make a client at an address."""
        family = socket.AF_INET6 if is_ipv6(host) else socket.AF_INET
        client = namespace.socket(family, socket.SOCK_DGRAM)
        self.addCleanup(client.close)
        client.bind((host, port))
        client.settimeout(wait)
        return client

    def ask(self, client: socket.socket, question: bytes, host: str, port: int) -> bytes:
        """Ask once; no answer is an empty one."""
        client.sendto(question, (host, port))
        try:
            return client.recv(1000)
        except TimeoutError:
            return b""


class OwnAddressTests(LegitimateClientCase):
    """A monitor on the machine asks by the machine's own address."""

    def test_answered(self) -> None:
        """It is answered at each of them, private and public, IPv4 and IPv6."""
        with self.start():
            clients = {host: self.client(self.namespace, host) for host in HERE}
            found = {host: self.ask(client, b"me", host, 7) for host, client in clients.items()}
            self.assertEqual(found, dict.fromkeys(HERE, b"me"))
            answer = self.ask(self.client(self.namespace, HERE[0]), ZEROS, HERE[0], 123)
            self.assertEqual(len(answer), 48)

    def test_neighbours(self) -> None:
        """
        Private neighbours are answered, public ones are not; carrier-grade NAT and
        Tailscale are private.
        """
        with self.start():
            found = {}
            for host, target in zip(THERE, (*HERE, HERE[0])):
                private = not host.startswith(("203.", "2001:"))
                client = self.client(self.outside, host, wait=DEADLINE if private else SILENCE)
                found[host] = self.ask(client, b"me", target, 7)
                self.assertEqual(found[host], b"me" if private else b"", host)

    def test_command(self) -> None:
        """So does our own client."""
        with self.start():
            for target in (f"udp:{HERE[0]}:37", f"udp:[{HERE[1]}]:37"):
                ours = (sys.executable, "-m", "socketd", "time", target)
                command = [*self.namespace.command, *ours]
                ran = subprocess.run(
                    command, capture_output=True, text=True, timeout=DEADLINE,
                    env=self.environment(),
                )  # fmt: skip
                self.assertEqual((ran.returncode, ran.stderr), (0, ""))

    def test_forged(self) -> None:
        """
        What comes from outside with an address of this machine: by IPv4 the kernel drops
        it; by IPv6 the answers go to a port of this machine, and are no more than the
        rates allow.
        """
        with self.start():
            victims = [self.client(self.namespace, host, 40000) for host in HERE[:2]]
            forger = self.forger(self.outside)
            raw = self.outside.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
            self.addCleanup(raw.close)
            address = socket.inet_aton(HERE[0])
            packet = make_ipv6_packet((HERE[1], 40000), (HERE[1], 7), b"forged")
            for _ in range(200):
                forger.send((address, 40000), (address, 7), b"forged")
                raw.sendto(packet, (HERE[1], 0))
            found = [len(self.received(victim)) for victim in victims]
            self.assertEqual(found[0], 0)
            # The burst, a quarter of the rest, and what the time brings.
            self.assertLess(found[1], 8 + 200 / 4 + 40)

    def received(self, client: socket.socket) -> list[bytes]:
        """Read what comes until nothing comes any more."""
        client.settimeout(1.0)
        found = []
        try:
            while True:
                found.append(client.recv(1000))
        except TimeoutError:
            return found


class VictimTests(LegitimateClientCase):
    """A client in whose name others ask."""

    def test_forged_repeats(self) -> None:
        """After five equal forged datagrams it is answered at once."""
        with self.start():
            forger = self.forger(self.outside)
            client = self.client(self.outside, THERE[0], 40001)
            here, there = socket.inet_aton(HERE[0]), socket.inet_aton(THERE[0])
            for _ in range(5):
                forger.send((there, 40000), (here, 7), b"same")
            self.assertEqual(self.ask(client, b"me", HERE[0], 7), b"me")


class RepeatTests(LegitimateClientCase):
    """Clients that send the same again and again."""

    def test_seven(self) -> None:
        """Seven equal requests in a row are answered, by each service."""
        with self.start():
            for port, question in ((7, b"ping"), (37, b""), (123, ZEROS)):
                client = self.client(self.outside, THERE[0])
                found = [bool(self.ask(client, question, HERE[0], port)) for _ in range(7)]
                self.assertEqual(found, [True] * 7, port)

    def test_devices_behind_one_address(self) -> None:
        """
        Thirty devices behind one translator, which gives them ports below 1024, are told
        the time when they all ask at once, and so is the next client there.
        """
        with self.start():
            ports = [*range(381, 410), 123]
            clients = [self.client(self.outside, THERE[0], port) for port in ports]
            for client in clients:
                client.sendto(ZEROS, (HERE[0], 123))
            self.assertEqual([len(client.recv(99)) for client in clients], [48] * 30)
            late = self.client(self.outside, THERE[0])
            found = [len(self.ask(late, ZEROS, HERE[0], 123)) for _ in range(4)]
            self.assertEqual(found, [48] * 4)

    def test_network(self) -> None:
        """200 hosts of one /24 that ask at once are all answered."""
        with self.start():
            forger = self.forger(self.outside)
            capture = PacketCapture(self.namespace, self.veth, HERE[0])
            self.addCleanup(capture.close)
            here = socket.inet_aton(HERE[0])
            for last in range(200):
                source = bytes((10, 9, 8, last + 1))
                forger.send((source, 40000), (here, 7), b"%d" % last)
            found: Counter[bytes] = Counter()
            for seen in capture.captured(DEADLINE):
                found[seen.target[0]] += 1
                if len(found) == 200:
                    break
            found.update(seen.target[0] for seen in capture.captured(SILENCE))
            self.assertEqual((len(found), set(found.values())), (200, {1}))
