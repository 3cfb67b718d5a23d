"""Tests of L{socketd.net.tls.direct}."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from socketd.net.tls import direct
from socketd.net.tls.direct import MAX_READ, DirectConnection, fastest
from tests.support.certificates import client_context, issued

DATA = b"any" * 1000


def connect(kind: type[SSL.Connection]) -> tuple[SSL.Connection, SSL.Connection]:
    """Make a server of a class, and a client of pyOpenSSL's, and let them shake hands."""
    made, context = issued("www.example.org"), SSL.Context(SSL.TLS_METHOD)
    context.use_certificate(made.certificate)
    context.use_privatekey(made.key)
    server, client = kind(context), SSL.Connection(client_context())
    server.set_accept_state()
    client.set_connect_state()
    for one, other in [(client, server), (server, client)] * 2:
        try:
            one.do_handshake()
        except SSL.WantReadError:
            pass
        pass_on(one, other)
    return server, client


def pass_on(one: SSL.Connection, other: SSL.Connection) -> None:
    """Hand the output of one side to the other."""
    try:
        while True:
            other.bio_write(one.bio_read(1000))
    except SSL.WantReadError:
        pass


class DirectTests(SynchronousTestCase):
    """Tests for data that goes by OpenSSL's own functions, and that is all the same."""

    kind: type[SSL.Connection] = DirectConnection

    def setUp(self) -> None:
        self.server, self.client = connect(self.kind)

    def test_exchange(self) -> None:
        """Data goes both ways, in all kinds of buffers."""
        for data in (DATA, bytearray(DATA), memoryview(DATA)):
            self.assertEqual(self.client.send(data), len(DATA))
            pass_on(self.client, self.server)
            self.assertEqual(self.server.recv(10) + self.server.recv(MAX_READ), DATA)
            self.assertEqual(self.server.send(data), len(DATA))
            pass_on(self.server, self.client)
            self.assertEqual(self.client.recv(MAX_READ), DATA)

    def test_nothing(self) -> None:
        """Where there is nothing, pyOpenSSL says so."""
        self.assertRaises(SSL.WantReadError, self.server.recv, MAX_READ)
        self.assertRaises(SSL.WantReadError, self.server.bio_read, MAX_READ)

    def test_end(self) -> None:
        """So it is at the end, and with what is no TLS."""
        self.client.shutdown()
        pass_on(self.client, self.server)
        self.assertRaises(SSL.ZeroReturnError, self.server.recv, MAX_READ)
        server, _ = connect(self.kind)
        server.bio_write(b"no TLS")
        problem = self.assertRaises(SSL.Error, server.recv, MAX_READ)
        self.assertEqual(problem.args[0][-1][-1], "record layer failure")
        self.assertRaises(SSL.Error, server.send, b"any")


class PlainTests(DirectTests):
    """What this stands for: pyOpenSSL's own class."""

    kind = SSL.Connection


class ChoiceTests(SynchronousTestCase):
    """Tests for the choice between the two."""

    def test_known(self) -> None:
        """The pyOpenSSL that this was written for has all that is needed."""
        self.assertIs(fastest(), DirectConnection)

    def test_changed(self) -> None:
        """One that does not is used as it is."""
        self.patch(direct, "_USED", ("_ssl", "_else"))
        self.assertIs(fastest(), SSL.Connection)
