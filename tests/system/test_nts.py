"""Network Time Security, from the real daemon to a client of the tests' own."""

from __future__ import annotations

import json
import socket
import stat

from OpenSSL import SSL

from socketd.protocols.clock.nts_keys import ROTATION
from tests.protocols.clock.nts_client import END, USUAL, Client, read_records
from tests.support.certificates import authority, issued
from tests.support.polling import BUSY, wait_until
from tests.support.processes import Daemon, Ended, SystemCase
from tests.support.workers import SOURCES, START

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


class NtsTests(SystemCase):
    """Tests for the way of a client: keys, then time, then the next cookie."""

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

    def ask(self, daemon: Daemon, client: Client, source: str = "127.0.0.1") -> bytes:
        """Ask the time, with a placeholder."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(BUSY)
            asking.bind((source, 0))
            request = client.request(placeholders=1)
            asking.sendto(request, daemon.address("ntp", "udp"))
            answer = asking.recv(65536)
        self.assertLessEqual(len(answer), len(request))
        return answer

    def test_restart(self) -> None:
        """
        A cookie is good at the daemon that made it, after a restart and at another daemon with the
        same file; once the file is gone it is refused.
        """
        with self.serve_nts() as daemon:
            client = self.establish(daemon)
            self.assertEqual(len(client.cookies(self.ask(daemon, client))), 2)
            with self.serve_nts() as beside:
                self.assertEqual(len(client.cookies(self.ask(beside, client))), 2)
                other = self.establish(beside)
                self.assertEqual(len(other.cookies(self.ask(daemon, other))), 2)
            daemon.stop()
        self.assertEqual(stat.S_IMODE(self.keys.stat().st_mode), 0o600)
        with self.serve_nts() as daemon:
            self.assertEqual(len(client.cookies(self.ask(daemon, client))), 2)
            daemon.stop()
        self.keys.unlink()
        with self.serve_nts() as daemon:
            daemon.output.wait_for("made new NTS keys")
            self.assertEqual(self.ask(daemon, client)[12:16], b"NTSN")
            client = self.establish(daemon)
            self.assertEqual(len(client.cookies(self.ask(daemon, client))), 2)

    def test_reload(self) -> None:
        """A reload keeps the keys, also one that changes the service."""
        with self.serve_nts() as daemon:
            client = self.establish(daemon)
            text = INI.format(directory=self.directory).replace("= yes", "= yes\nstratum = 3")
            (self.directory / "socketd.ini").write_text(text)
            daemon.signal(1)
            daemon.output.wait_for("reloaded: .*stratum")
            answer = self.ask(daemon, client)
            self.assertEqual((answer[1], len(client.cookies(answer))), (3, 2))

    def test_workers(self) -> None:
        """A cookie of one worker is good at the other one, also once one has rotated the keys."""
        ini = INI.format(directory=self.directory)
        with self.daemon(f"[socketd]\nworkers = 2\n{ini}") as daemon:
            for worker in range(2):
                daemon.output.find(f"worker {worker} serves", START)
            by_worker: dict[int, tuple[str, Client]] = {}
            for source in SOURCES:
                client = self.establish(daemon, source)
                number = daemon.output.wait_for(rf"from {source}:\d+ \(nts-ke (\d+)\)$")[1]
                by_worker[int(number) % 2] = source, client
            (here, one), (there, other) = by_worker.values()
            self.check_good(daemon, (one, there), (other, here))
            old = self.keys.read_bytes()
            since = int(old.split()[5])
            self.replace_keys(old.replace(b"%d" % since, b"%d" % (since - ROTATION)))
            wait_until(lambda: self.rotated(daemon, one, here))
            self.check_good(daemon, (one, there), (other, here))
            one, other = self.establish(daemon, here), self.establish(daemon, there)
            self.check_good(daemon, (one, there), (other, here))
            self.assertEqual(daemon.output.text.count("rotated the NTS keys"), 1)

    def check_good(self, daemon: Daemon, *pairs: tuple[Client, str]) -> None:
        """Have cookies of clients accepted from other sources."""
        for client, source in pairs:
            self.assertEqual(len(client.cookies(self.ask(daemon, client, source))), 2)

    def replace_keys(self, content: bytes) -> None:
        """Replace the file of the keys, as a whole."""
        fresh = self.keys.with_suffix(".fresh")
        fresh.write_bytes(content)
        fresh.chmod(0o600)
        fresh.rename(self.keys)

    def rotated(self, daemon: Daemon, client: Client, source: str) -> bool:
        """Have a worker look at its keys, and say whether one has rotated them."""
        self.ask(daemon, client, source)
        return "rotated the NTS keys" in daemon.output.text

    def time(self, keys: Daemon, ntp: Daemon, *more: str) -> Ended:
        """Ask a daemon the time by the command, with the keys of a daemon."""
        port, nts_port = ntp.address("ntp", "udp")[1], keys.address("nts-ke", "tls")[1]
        words = (f"ntp:localhost:{port}", "--nts", "--nts-port", str(nts_port), *more)
        return self.run_socketd("time", *words)

    def test_command(self) -> None:
        """C{socketd time --nts} has proven time, if certificate and cookies are good."""
        ca = ("--ca", str(self.write("ca.pem", authority().pem())))
        with self.serve_nts() as daemon:
            ended = self.time(daemon, daemon, "--json", *ca)
            self.assertEqual((ended.status, ended.errors), (0, ""))
            found = json.loads(ended.output)
            self.assertEqual((found["authenticated"], len(found["samples"])), (True, 4))
            self.assertEqual(found["nts"]["key_server"].partition(":")[0], "localhost")
            self.assertIn(" yes, with keys of localhost:", self.time(daemon, daemon, *ca).output)
            ended = self.time(daemon, daemon)
            self.assertEqual((ended.status, ended.output), (1, ""))
            self.assertIn("TLS: the certificate is of an authority that is not", ended.errors)
            self.keys = self.directory / "others" / "nts.keys"
            with self.serve_nts() as other:
                ended = self.time(daemon, other, *ca)
            self.assertEqual((ended.status, ended.output), (1, ""))
            self.assertIn("the server refuses: kiss code NTSN", ended.errors)
