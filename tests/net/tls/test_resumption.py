"""Tests for sessions that are resumed, with the tickets of L{socketd.net.tls.context}."""

from __future__ import annotations

import os
import ssl
from typing import Any

import attrs
from OpenSSL import SSL

from socketd.net.tls.builder import KEY_LIFETIME, TICKET_LIFETIME
from socketd.net.tls.context import ServerContext
from socketd.net.tls.handshake import MAX_FLIGHTS, pending
from tests.net.tls.handshakes import ContextCase
from tests.support.certificates import NOW, authority, issued, write_private

NAME = "www.example.org"
NAMES = {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}


def client(version: ssl.TLSVersion, proof: str = "") -> ssl.SSLContext:
    """
    Make a client that speaks one version, and verifies the server.

    @param proof: the file with which it proves itself.
    """
    context = ssl.create_default_context(cadata=authority().pem().decode())
    context.minimum_version = context.maximum_version = version
    if proof:
        context.load_cert_chain(proof)
    return context


class Visit:
    """
    One handshake of a client that may bring a session.

    @ivar resumed: whether that was resumed.
    @ivar session: what the client may bring the next time; C{None} without a ticket.
    """

    def __init__(
        self,
        server: ServerContext,
        context: ssl.SSLContext,
        session: ssl.SSLSession | None = None,
        name: str | None = NAME,
    ) -> None:
        self.server = server.serverConnectionForTLS(None)
        self.server.set_accept_state()
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context.check_hostname = name is not None
        self.client = context.wrap_bio(
            self.incoming, self.outgoing, server_hostname=name, session=session
        )
        for _ in range(MAX_FLIGHTS):
            self.step()
        self.resumed = bool(self.client.session_reused)
        found = self.client.session
        self.session = found if found is not None and found.has_ticket else None

    def step(self) -> None:
        """Let both sides go on once."""
        for one in (self.client.do_handshake, lambda: self.client.read(1)):
            try:
                one()
            except ssl.SSLWantReadError:
                break
        if self.outgoing.pending:
            self.server.bio_write(self.outgoing.read())
        try:
            self.server.do_handshake()
        except SSL.WantReadError:
            pass
        self.incoming.write(pending(self.server))


class ResumptionTests(ContextCase):
    """Tests for what a ticket is good for."""

    def setUp(self) -> None:
        super().setUp()
        self.seconds = 1000.0

    def context(self, **more: Any) -> ServerContext:
        """Make a context whose timers are the test's, and load the files."""
        self.options = attrs.evolve(self.options, **more)
        context = ServerContext(self.options, lambda: NOW, lambda: self.seconds)
        self.assertEqual(context.load(), [])
        return context

    def check(self, first: ServerContext, second: ServerContext, resumed: bool) -> None:
        """See whether what one gave is resumed by the other, in each version."""
        for version in NAMES:
            context = client(version)
            visit = Visit(first, context)
            self.assertFalse(visit.resumed)
            again = Visit(second, context, visit.session)
            self.assertEqual((again.resumed, again.client.version()), (resumed, NAMES[version]))

    def test_resumed(self) -> None:
        """A client that comes again has a shorter handshake, and the time of its ticket."""
        context = self.context()
        self.check(context, context, True)
        for version in NAMES:
            session = Visit(context, client(version)).session
            assert session is not None
            self.assertEqual(session.ticket_lifetime_hint, TICKET_LIFETIME)

    def test_loaded_again(self) -> None:
        """Files that were written again and say the same change nothing."""
        context = self.context()
        theirs = client(ssl.TLSVersion.TLSv1_3)
        visit = Visit(context, theirs)
        os.utime(self.path("cert.pem"), ns=(0, 0))
        self.assertTrue(context.changed())
        self.assertEqual(context.load(), [])
        self.assertTrue(Visit(context, theirs, visit.session).resumed)

    def test_inherited(self) -> None:
        """
        Nor does a reload; but with another certificate, or other options, there is a full
        handshake, as there is with a service that has nothing to do with it.
        """
        first = self.context()
        second = ServerContext(self.options, lambda: NOW, lambda: self.seconds)
        self.assertEqual(second.load(), [])
        second.inherit(first)
        self.check(first, second, True)
        self.check(first, self.context(), False)
        other = ServerContext(attrs.evolve(self.options, tls_alpn=(b"a",)), lambda: NOW)
        self.assertEqual(other.load(), [])
        other.inherit(first)
        self.check(first, other, False)

    def test_renewed(self) -> None:
        """A new certificate is shown to those who have a ticket of the old one, too."""
        context = self.context()
        theirs = client(ssl.TLSVersion.TLSv1_3)
        visit = Visit(context, theirs)
        renewed = issued(NAME, number=1)
        self.write("cert.pem", renewed)
        self.assertEqual(context.load(), [])
        again = Visit(context, theirs, visit.session)
        shown = again.client.getpeercert(binary_form=True)
        expected = ssl.PEM_cert_to_DER_cert(renewed.pem().decode())
        self.assertEqual((again.resumed, shown), (False, expected))

    def test_rotated(self) -> None:
        """
        The keys are taken for a time; what comes with an older ticket then has a full
        handshake, and a new one.
        """
        context = self.context()
        theirs = client(ssl.TLSVersion.TLSv1_3)
        old = Visit(context, theirs).session
        self.seconds += KEY_LIFETIME - 1.0
        context.rotate()
        self.assertTrue(Visit(context, theirs, old).resumed)
        self.seconds += 1.0
        context.rotate()
        again = Visit(context, theirs, old)
        self.assertFalse(again.resumed)
        context.rotate()
        self.assertTrue(Visit(context, theirs, again.session).resumed)
        self.assertEqual((context.loads, context.failures), (1, 0))

    def test_nothing_to_rotate(self) -> None:
        """Before anything is loaded there are no keys."""
        ServerContext(self.options, lambda: NOW, lambda: self.seconds).rotate()

    def check_none(self, proof: str = "", **more: Any) -> None:
        """See that no client gets a ticket, with a name or without."""
        context = self.context(**more)
        for version in NAMES:
            for name in (NAME, None):
                theirs = client(version, proof)
                visit = Visit(context, theirs, None, name)
                self.assertEqual(visit.client.version(), NAMES[version])
                self.assertIsNone(visit.session)
                self.assertFalse(Visit(context, theirs, visit.client.session, name).resumed)

    def test_clients(self) -> None:
        """A client that has to prove itself does so each time: there are no tickets."""
        ca = write_private(self.path("ca.pem"), authority("clients").pem())
        proof = self.write("client.pem", issued("client", issuer="clients"))
        self.check_none(proof, tls_client_ca=ca)

    def test_names(self) -> None:
        """
        So it is where there are several certificates: a session of one name would be one
        of the other.
        """
        named = self.name("other.example.org", issued("other.example.org"))
        self.check_none(tls_names=(named,))

    def test_refused_names(self) -> None:
        """And where unknown names are refused: a ticket would let them in."""
        self.check_none(tls_unknown_name="refuse")
