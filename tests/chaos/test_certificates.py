"""Certificates that are renewed while handshakes are running."""

from __future__ import annotations

import signal

from tests.chaos import figures
from tests.chaos.handshakes import HandshakeClient
from tests.chaos.tls_faults import ConcurrentHandshakes, TlsFaultCase
from tests.support.certificates import issued
from tests.support.processes import Daemon
from tests.support.tls import NAME, connect_raw, connect_tls, der, peer_certificate

#: Renewals while handshakes are running.
RENEWALS = 10


class RenewalTests(TlsFaultCase):
    """Certificates that are renewed while handshakes are running."""

    def reload(self, daemon: Daemon, outcome: str = "reloaded: ") -> None:
        """Have the daemon read its files again."""
        daemon.signal(signal.SIGHUP)
        daemon.output.wait_for(outcome)

    def test_renewed(self) -> None:
        """
        However often certificates are renewed, each handshake succeeds, with one of them;
        clients that connect after the renewal get the new one.
        """
        with self.under_attack() as daemon, ConcurrentHandshakes(daemon) as clients:
            for number in range(RENEWALS):
                made = issued(NAME, number=number)
                self.replace(made.pem() + made.key_pem())
                self.reload(daemon)
                with connect_tls(daemon, "echo") as client:
                    self.assertEqual(peer_certificate(client), der(made))
        known = {der(self.made), *(der(issued(NAME, number=n)) for n in range(RENEWALS))}
        self.assertEqual((clients.problems, clients.shown - known), ([], set()))
        figures.note(self, f"{clients.count} handshakes during {RENEWALS} renewals")

    def test_between(self) -> None:
        """
        A handshake that has begun ends with the certificate that it began with; half of a
        file is refused, and changes nothing.
        """
        made = issued(NAME, number=1)
        whole = made.pem() + made.key_pem()
        with self.under_attack() as daemon, connect_raw(daemon, "echo") as sock:
            client = HandshakeClient(sock)
            flights = client.flights()
            hello = next(flights)
            sock.sendall(hello[:100])
            self.replace(whole[:-70])
            self.reload(daemon, "reload failed, configuration unchanged: .* is cut off")
            with connect_tls(daemon, "echo") as other:
                self.assertEqual(peer_certificate(other), der(self.made))
            self.replace(whole)
            self.reload(daemon)
            sock.sendall(hello[100:])
            sock.sendall(next(flights))
            self.assertEqual(list(flights), [])
            self.assertEqual(client.tls.getpeercert(binary_form=True), der(self.made))
            self.assertEqual(client.exchange(b"hello"), b"hello")
