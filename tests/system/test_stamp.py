"""C{stamp} from the real daemon, over real sockets."""

from __future__ import annotations

import json
import socket
import time

from socketd.net.datagram.cmsg import IpHeader, ask_for_ip_header, ip_header
from tests.net.datagram.controls import ROOM, written
from tests.protocols.measure import stamp_wire as wire
from tests.support.polling import DEADLINE
from tests.support.processes import SystemCase

KEY = b"correct-horse"

INI = """
[stamp]
listen = udp:0, udp6:0, unixgram:{directory}/stamp
[secret]
protocol = stamp
listen = udp:0:interface=127.0.0.1
keys = {directory}/keys
timestamps = ptp
"""

#: The seconds from 1900 to 1970.
EPOCH = 2_208_988_800


class StampTests(SystemCase):
    """What a sender meets with."""

    def client(self, family: socket.AddressFamily) -> socket.socket:
        """Make a sender whose packets have TTL 77, and DSCP 10 with ECN 1."""
        client = socket.socket(family, socket.SOCK_DGRAM)
        self.addCleanup(client.close)
        client.settimeout(DEADLINE)
        if family == socket.AF_INET:
            client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 77)
            client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 10 << 2 | 1)
        elif family == socket.AF_INET6:
            client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 77)
            client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 10 << 2 | 1)
        ask_for_ip_header(client)
        return client

    def write_keys(self) -> None:
        """Write the file of keys."""
        path = self.directory / "keys"
        path.write_text("* correct-horse\n")
        path.chmod(0o600)

    def test_answers(self) -> None:
        """
        By IPv4 and IPv6 an answer tells when its packet came and what TTL it had, comes from the
        address that was asked with TTL 255 and the packet's DSCP, and is counted; TWAMP Light is
        answered, too.
        """
        self.write_keys()
        with self.daemon(INI.format(directory=self.directory)) as daemon:
            for kind, family, host in (
                ("udp", socket.AF_INET, "127.0.0.7"),
                ("udp6", socket.AF_INET6, "::1"),
            ):
                port = daemon.address("stamp", kind)[1]
                client = self.client(family)
                for number in range(3):
                    before = time.time()
                    client.sendto(wire.request(sequence=number + 5, ssid=7), (host, port))
                    answer, ancillary, _, source = client.recvmsg(ROOM, ROOM)
                    after = time.time()
                    said = wire.read(wire.REFLECTOR, answer)
                    found = said["sequence"], said["sender_sequence"], said["ttl"], said["ssid"]
                    self.assertEqual(found, (number, number + 5, 77, 7))
                    times = [said[name] / 2**32 - EPOCH for name in ("received", "timestamp")]
                    # The kernel and Python round differently.
                    self.assertTrue(before - 1e-5 < times[0] < times[1] < after + 1e-5, times)
                    self.assertEqual(source[:2], (host, port))
                    parts = (((level, what), data) for level, what, data in ancillary)
                    self.assertEqual(ip_header(written(*parts)), IpHeader(255, 10 << 2))
                client.sendto(wire.request(sequence=9)[:14], (host, port))
                self.assertEqual(len(client.recv(ROOM)), 44)

    def test_loop(self) -> None:
        """An answer that comes to another reflector, as from a forged source, has none."""
        self.write_keys()
        with self.daemon(INI.format(directory=self.directory)) as daemon:
            client = self.client(socket.AF_INET)
            client.sendto(wire.signed(KEY, sequence=5), daemon.address("secret", "udp"))
            secret = client.recv(ROOM)
            client.sendto(wire.request(sequence=6), daemon.address("stamp", "udp"))
            open_answer = client.recv(ROOM)
            for name, answer, request in (
                ("secret", secret, wire.signed(KEY, sequence=7)),
                ("stamp", open_answer, wire.request(sequence=8)),
            ):
                for packet in (answer, request):
                    client.sendto(packet, daemon.address(name, "udp"))
                # The first answer is that to the later packet.
                at = 48 if name == "secret" else 24
                self.assertEqual(client.recv(ROOM)[at : at + 4], request[:4])

    def test_unix(self) -> None:
        """A UNIX socket reflects, too; it knows no TTL."""
        self.write_keys()
        with self.daemon(INI.format(directory=self.directory)) as daemon:
            daemon.output.find("stamp listens on unixgram")
            client = self.client(socket.AF_UNIX)
            client.bind(str(self.directory / "client"))
            client.sendto(wire.request(sequence=5), str(self.directory / "stamp"))
            self.assertEqual(wire.read(wire.REFLECTOR, client.recv(ROOM))["ttl"], 255)

    def test_authenticated(self) -> None:
        """With keys only authenticated packets are answered; the answers are authenticated."""
        self.write_keys()
        with self.daemon(INI.format(directory=self.directory)) as daemon:
            address = daemon.address("secret", "udp")
            client = self.client(socket.AF_INET)
            for packet in (wire.request(), wire.signed(b"wrong"), wire.signed(KEY, sequence=5)):
                client.sendto(packet, address)
            answer = client.recv(ROOM)
            said = wire.read(wire.AUTHENTICATED_REFLECTOR, answer)
            self.assertEqual((said["sequence"], said["sender_sequence"]), (0, 5))
            self.assertEqual(answer[96:], wire.mac(KEY, answer[:96]))
            self.assertLess(abs((said["received"] >> 32) - time.time()), DEADLINE)

    def test_command(self) -> None:
        """C{socketd ping --stamp} with the reflector's file of keys measures against it."""
        self.write_keys()
        with self.daemon(INI.format(directory=self.directory)) as daemon:
            words = ["ping", "--stamp", f"127.0.0.1:{daemon.address('secret', 'udp')[1]}"]
            words += ["-c", "3", "-i", "0", "--ssid", "7", "--json"]
            ended = self.run_socketd(*words, "--keys", str(self.directory / "keys"))
            found = json.loads(ended.output)
            told = found["received"], found["lost"]["unknown"], found["wrong"], found["ssid_lost"]
            self.assertEqual(told, (3, 0, 0, False))
            ended = self.run_socketd(*words, "--timeout", "0.3")
            self.assertEqual((ended.status, json.loads(ended.output)["received"]), (1, 0))

    def test_bad_keys(self) -> None:
        """A file of keys that is wrong is complained of with its lines, and nothing starts."""
        (self.directory / "keys").write_text("7 good\nx bad\n")
        (self.directory / "keys").chmod(0o600)
        path = self.directory / "bad.ini"
        path.write_text(INI.format(directory=self.directory))
        ended = self.run_socketd("check", str(path))
        self.assertEqual(ended.status, 78)
        self.assertIn(f"{self.directory}/keys:2:1: [secret] keys: has no number", ended.errors)
        self.assertNotIn("bad\n", ended.errors.replace("bad.ini", ""))
