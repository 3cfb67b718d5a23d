"""Many dropped handshakes, and certificates that expire or are written slowly."""

from __future__ import annotations

import time
from datetime import timedelta

from OpenSSL import SSL

from socketd.daemon.daemon import CERTIFICATE_CHECK, CHECK_INTERVAL
from tests.chaos import figures, test_tls
from tests.chaos.clocks import ClockCase
from tests.chaos.handshakes import handshake
from tests.chaos.tls_faults import ConcurrentHandshakes, TlsFaultCase
from tests.support.certificates import FUTURE, client_context, issued
from tests.support.polling import BUSY
from tests.support.processes import Daemon
from tests.support.tls import NAME, connect_raw, connect_tls, der, peer_certificate

#: Pieces that a file is written in, with a client between two of them.
PIECES = 300

#: A file that has changed is seen so soon (seconds).
SEEN = CERTIFICATE_CHECK * CHECK_INTERVAL


class DropTests(test_tls.DropTests):
    """A thousand handshakes that are dropped."""

    dropped = 1000


class WritingTests(TlsFaultCase):
    """A file that is written in its place, slowly."""

    def test_slowly(self) -> None:
        """
        While the file of certificate and key is half written, the ones in use are shown;
        once it is whole it is taken at the next check. No handshake fails.
        """
        made = issued(NAME, number=1)
        whole = made.pem() + made.key_pem()
        step = -(-len(whole) // PIECES)
        with self.under_attack() as daemon, ConcurrentHandshakes(daemon) as clients:
            began = time.monotonic()
            with (self.directory / "server.pem").open("wb", buffering=0) as file:
                for start in range(0, len(whole), step):
                    file.write(whole[start : start + step])
                    deadline = began + SEEN * 1.5 * (start + step) / len(whole)
                    while time.monotonic() < deadline:
                        with connect_tls(daemon, "echo") as client:
                            self.check_echo(client)
            daemon.output.wait_for("echo loaded new certificates, valid until 2049-01-01")
            taken = time.monotonic()
            with connect_tls(daemon, "echo") as client:
                self.assertEqual(peer_certificate(client), der(made))
        self.assertEqual(clients.problems, [])
        self.assertEqual(clients.shown - {der(self.made), der(made)}, set())
        self.assertLess(taken - began, SEEN * 2.5 + BUSY)
        figures.note(self, f"{clients.count} handshakes meanwhile")


class ExpiryTests(ClockCase, TlsFaultCase):
    """A certificate that expires while it is in use."""

    def test_expired(self) -> None:
        """
        That is logged once, at the next check; the certificate is used further, for clients
        that accept it and for those that do not, until there is a new one.
        """
        made = issued(NAME, end=FUTURE)
        self.replace(made.pem() + made.key_pem())
        with self.serve(self.counting()) as daemon, connect_tls(daemon, "echo") as before:
            self.assertEqual(self.expiry(daemon), FUTURE.timestamp())
            self.clock.set_to(FUTURE.timestamp() + 1.0)
            began = time.monotonic()
            daemon.output.wait_for("echo continues with .* expired at 2048-01-01 00:00 ")
            logged = time.monotonic() - began
            with connect_tls(daemon, "echo") as after:
                for client in (before, after):
                    self.check_echo(client)
                self.assertEqual(peer_certificate(after), der(made))
            self.assertIn("certificate verify failed", self.refusal(daemon))
            daemon.output.wait_for("TLS handshake with .*certificate expired")
            self.wait_for_counts(daemon, tls_handshake=1)
            self.assertEqual(self.expiry(daemon), FUTURE.timestamp())
            renewed = issued(NAME)
            self.replace(renewed.pem() + renewed.key_pem())
            daemon.output.wait_for("echo loaded new certificates, valid until 2049-01-01 00:00")
            with connect_tls(daemon, "echo") as last:
                self.assertEqual(peer_certificate(last), der(renewed))
        self.assertEqual(self.count(daemon, "continues with an invalid certificate"), 1)
        self.assertLess(logged, SEEN + BUSY)
        figures.note(self, f"logged after {logged:.1f} s")

    def expiry(self, daemon: Daemon) -> float:
        """Scrape when the certificate in use expires."""
        found = self.scrape(daemon).items()
        (expiry,) = (value for name, value in found if "_certificate_expiry_" in name)
        return expiry

    def refusal(self, daemon: Daemon) -> str:
        """Return what a client whose clock is as late has against the certificate."""
        context = client_context()
        store = context.get_cert_store()
        assert store is not None
        store.set_time(FUTURE + timedelta(seconds=1))
        client = SSL.Connection(context)
        client.set_tlsext_host_name(NAME.encode())
        client.set_connect_state()
        with connect_raw(daemon, "echo") as sock:
            problem = self.assertRaises(SSL.Error, handshake, client, sock)
        return str(problem)
