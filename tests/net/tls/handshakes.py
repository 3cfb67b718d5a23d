"""Handshakes with L{ServerContext} in memory, and a test with the files of one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import attrs
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from socketd.net.tls.builder import Problems
from socketd.net.tls.context import ServerContext
from socketd.net.tls.handshake import MAX_FLIGHTS
from socketd.settings.tls import NamedCertificate, TlsOptions
from tests.support.certificates import NOW, Made, client_context, issued


def problems_of(options: TlsOptions) -> Problems:
    """Load the files of options, and list what is wrong."""
    return ServerContext(options, lambda: NOW).load()


def pump(one: SSL.Connection, other: SSL.Connection) -> None:
    """Hand over what one side has to send."""
    while True:
        try:
            other.bio_write(one.bio_read(65536))
        except SSL.WantReadError:
            return


def advance(one: SSL.Connection) -> Exception | None:
    """
    Go on with a handshake.

    @return: what it failed with.
    """
    try:
        one.do_handshake()
    except SSL.WantReadError:
        return None
    except Exception as problem:
        return problem
    return None


def meet(
    client: SSL.Connection, server: SSL.Connection, begun: bool = False
) -> tuple[Exception | None, Exception | None]:
    """
    Let a client and a server shake hands.

    @param begun: whether they have begun already.
    @return: what each failed with.
    """
    if not begun:
        client.set_connect_state()
        server.set_accept_state()
    failed: list[Exception | None] = [None, None]
    for _ in range(MAX_FLIGHTS):
        for index, (one, other) in enumerate(((client, server), (server, client))):
            failed[index] = failed[index] or advance(one)
            pump(one, other)
    # What comes after its own handshake a client of TLS 1.3 sees when it reads.
    try:
        client.recv(1)
    except SSL.WantReadError:
        pass
    except SSL.Error as problem:
        failed[0] = failed[0] or problem
    return failed[0], failed[1]


def make_client(
    context: SSL.Context, name: bytes | None = None, alpn: Sequence[bytes] = ()
) -> SSL.Connection:
    """Make a client that asks for a name and offers protocols."""
    client = SSL.Connection(context)
    if name is not None:
        client.set_tlsext_host_name(name)
    if alpn:
        client.set_alpn_protos(list(alpn))
    return client


class ContextCase(SynchronousTestCase):
    """A test with files, and a context that is made from them."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.made = issued("www.example.org", "*.own.example.org")
        self.write("cert.pem", self.made)
        self.options = TlsOptions(tls_certificate=self.path("cert.pem"))
        self.now = NOW

    def path(self, name: str) -> str:
        """Name a file."""
        return os.path.join(self.directory, name)

    def write(self, name: str, made: Made) -> str:
        """Write a certificate with its key."""
        return made.write(self.path(name))

    def name(self, name: str, made: Made) -> NamedCertificate:
        """Write a certificate with its key for a server name."""
        path = self.write(f"{name}.pem", made)
        return NamedCertificate(name, path, path)

    def context(self, **more: Any) -> ServerContext:
        """Make a context and load the files."""
        self.options = attrs.evolve(self.options, **more)
        context = ServerContext(self.options, lambda: self.now)
        self.assertEqual(context.load(), [])
        return context

    def complaint(self, **more: Any) -> tuple[str, str]:
        """Give the only complaint about options and files."""
        found = problems_of(attrs.evolve(self.options, **more))
        self.assertEqual(len(found), 1, found)
        return found[0]

    def served(self, context: ServerContext, name: bytes | None = None) -> Made | None:
        """
        Find whose certificate a client gets that asks for a name.

        @return: C{None} for none.
        """
        client = make_client(client_context(), name)
        meet(client, context.serverConnectionForTLS(None))
        certificate = client.get_peer_certificate(as_cryptography=True)
        known = [self.made, *self.others()]
        return next((made for made in known if made.certificate == certificate), None)

    def others(self) -> list[Made]:
        """List the certificates beside the default."""
        return []
