"""A daemon with Network Time Security, and what a client of the tests' own does with it."""

from __future__ import annotations

import socket

from OpenSSL import SSL

from tests.protocols.clock.nts_client import END, USUAL, Client, read_records
from tests.support.certificates import issued
from tests.support.polling import BUSY
from tests.support.processes import Daemon, SystemCase

INI = """
[nts-ke]
listen = tls:0:interface=127.0.0.1
tls_certificate = {directory}/server.pem
[ntp]
listen = udp:0:interface=127.0.0.1
assume_synchronised = yes
nts = nts-ke
"""

LABEL = b"EXPORTER-network-time-security"


class NtsCase(SystemCase):
    """
    A daemon that makes time provable.

    @ivar keys: the file of its keys.
    """

    def setUp(self) -> None:
        super().setUp()
        made = issued("localhost")
        made.write(str(self.directory / "server.pem"))
        self.keys = self.directory / "state" / "nts.keys"

    def environment(self, **more: str) -> dict[str, str]:
        return super().environment(STATE_DIRECTORY=str(self.keys.parent), **more)

    def serve_nts(self) -> Daemon:
        """Start a daemon; all have the same keys."""
        return self.daemon(INI.format(directory=self.directory))

    def establish(self, daemon: Daemon, source: str = "127.0.0.1") -> Client:
        """Get keys and cookies."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_alpn_protos([b"ntske/1"])
        address = daemon.address("nts-ke", "tls")
        with socket.create_connection(address, BUSY, (source, 0)) as plain:
            plain.setblocking(True)
            secure = SSL.Connection(context, plain)
            secure.set_connect_state()
            secure.sendall(USUAL)
            response = b""
            while response[-len(END) :] != END:
                response += secure.recv(4096)
            # Behind the response TLS ends.
            self.assertRaises(SSL.ZeroReturnError, secure.recv, 1)
            # The contexts are those of RFC 8915, 5.1.
            exported = [
                secure.export_keying_material(LABEL, 32, bytes.fromhex(f"0000000f{role}"))
                for role in ("00", "01")
            ]
        cookies = [body for kind, _, body in read_records(response) if kind == 5]
        self.assertEqual([len(cookie) for cookie in cookies], [100] * 8)
        return Client(cookies[0], *exported)

    def query_nts(self, daemon: Daemon, client: Client, source: str = "127.0.0.1") -> bytes:
        """Ask the time, with a placeholder."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(BUSY)
            asking.bind((source, 0))
            request = client.request(placeholders=1)
            asking.sendto(request, daemon.address("ntp", "udp"))
            answer = asking.recv(65536)
        self.assertLessEqual(len(answer), len(request))
        return answer

    def check_good(self, daemon: Daemon, *pairs: tuple[Client, str]) -> None:
        """Have cookies of clients accepted from other sources."""
        for client, source in pairs:
            self.assertEqual(len(client.cookies(self.query_nts(daemon, client, source))), 2)

    def replace_keys(self, content: bytes) -> None:
        """Replace the file of the keys, as a whole."""
        fresh = self.keys.with_suffix(".fresh")
        fresh.write_bytes(content)
        fresh.chmod(0o600)
        fresh.rename(self.keys)
