"""Network Time Security, from the real daemon to a client of the tests' own."""

from __future__ import annotations

import json
import stat

from socketd.protocols.clock.nts_keys import ROTATION
from tests.protocols.clock.nts_client import Client
from tests.support.certificates import authority
from tests.support.nts import INI, NtsCase
from tests.support.polling import wait_until
from tests.support.processes import Daemon, Ended
from tests.support.workers import SOURCES, START


class NtsTests(NtsCase):
    """Tests for the way of a client: keys, then time, then the next cookie."""

    def test_restart(self) -> None:
        """
        A cookie is good at the daemon that made it, after a restart and at another daemon with the
        same file; once the file is gone it is refused.
        """
        with self.serve_nts() as daemon:
            client = self.establish(daemon)
            self.assertEqual(len(client.cookies(self.query_nts(daemon, client))), 2)
            with self.serve_nts() as beside:
                self.assertEqual(len(client.cookies(self.query_nts(beside, client))), 2)
                other = self.establish(beside)
                self.assertEqual(len(other.cookies(self.query_nts(daemon, other))), 2)
            daemon.stop()
        self.assertEqual(stat.S_IMODE(self.keys.stat().st_mode), 0o600)
        with self.serve_nts() as daemon:
            self.assertEqual(len(client.cookies(self.query_nts(daemon, client))), 2)
            daemon.stop()
        self.keys.unlink()
        with self.serve_nts() as daemon:
            daemon.output.wait_for("made new NTS keys")
            self.assertEqual(self.query_nts(daemon, client)[12:16], b"NTSN")
            client = self.establish(daemon)
            self.assertEqual(len(client.cookies(self.query_nts(daemon, client))), 2)

    def test_lost(self) -> None:
        """A file that is removed, cut off or opened to others while it serves is made good."""
        with self.serve_nts() as daemon:
            client = self.establish(daemon)
            content = self.keys.read_bytes()
            for damage in (
                self.keys.unlink,
                lambda: self.keys.write_bytes(content[:100]),
                lambda: self.keys.chmod(0o644),
            ):
                damage()
                wait_until(lambda: self.is_whole(daemon, client, content), "it is not made good")
                daemon.output.wait_for("wrote its NTS keys to .* again: ")

    def is_whole(self, daemon: Daemon, client: Client, content: bytes) -> bool:
        """Have a cookie accepted, at which the file is looked at, and say whether it is right."""
        self.check_good(daemon, (client, "127.0.0.1"))
        if not self.keys.exists() or self.keys.read_bytes() != content:
            return False
        return stat.S_IMODE(self.keys.stat().st_mode) == 0o600

    def test_reload(self) -> None:
        """A reload keeps the keys, also one that changes the service."""
        with self.serve_nts() as daemon:
            client = self.establish(daemon)
            text = INI.format(directory=self.directory).replace("= yes", "= yes\nstratum = 3")
            (self.directory / "socketd.ini").write_text(text)
            daemon.signal(1)
            daemon.output.wait_for("reloaded: .*stratum")
            answer = self.query_nts(daemon, client)
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

    def rotated(self, daemon: Daemon, client: Client, source: str) -> bool:
        """Have a worker look at its keys, and say whether one has rotated them."""
        self.query_nts(daemon, client, source)
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
