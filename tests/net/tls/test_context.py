"""Tests for L{socketd.net.tls.context}."""

from __future__ import annotations

import gc
import os
from typing import Any
from unittest.mock import Mock

import attrs
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import CertificateOptions
from zope.interface.verify import verifyClass, verifyObject

from socketd.net.tls.context import ServerContext
from socketd.net.tls.handshake import (
    NoCommonProtocol,
    ServerConnection,
    UnknownServerName,
    reason_of,
)
from socketd.settings.tls import NamedCertificate, PeerName, TlsOptions
from tests.net.tls.handshakes import (
    ContextCase,
    advance,
    make_client,
    meet,
    problems_of,
    pump,
)
from tests.support.certificates import (
    END,
    FUTURE,
    NOW,
    PAST,
    Made,
    authority,
    client_context,
    issued,
    issued_below,
    issued_for,
    rsa_key,
    write_private,
)

#: How often contexts are swapped to see whether anything is left of the old ones.
SWAPS = 200

#: Objects that may come and go between two counts.
SLACK = 50


class AgreementTests(ContextCase):
    """Tests for what a handshake agrees on."""

    def test_interface(self) -> None:
        """It is what Twisted's TLS wants of a server."""
        verifyClass(IOpenSSLServerConnectionCreator, ServerContext)
        verifyObject(IOpenSSLServerConnectionCreator, self.context())

    def test_not_loaded(self) -> None:
        """Nothing is served without a certificate."""
        context = ServerContext(TlsOptions(), lambda: NOW)
        self.assertRaises(RuntimeError, context.serverConnectionForTLS, None)
        self.assertEqual(context.not_after, 0.0)

    def version(self, minimum: str, newest: int) -> str:
        """Say which version a client and the server agree on; empty for none."""
        client = make_client(client_context(newest=newest))
        failed = meet(client, self.context(tls_minimum=minimum).serverConnectionForTLS(None))
        return "" if failed[1] else client.get_protocol_version_name()

    def test_minimum(self) -> None:
        """The newest common version is spoken, and none below the minimum."""
        old, middle, new = SSL.TLS1_1_VERSION, SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION
        found = [self.version("1.2", newest) for newest in (old, middle, new)]
        self.assertEqual(found, ["", "TLSv1.2", "TLSv1.3"])
        found = [self.version("1.3", newest) for newest in (old, middle, new)]
        self.assertEqual(found, ["", "", "TLSv1.3"])

    def test_ciphers(self) -> None:
        """
        Every cipher of TLS 1.2 that is listed can be agreed on, with the one kind of key or
        the other; none of them is a DHE one, for which there are no parameters.
        """
        made = {"ECDSA": self.made, "RSA": issued_for(rsa_key(), "www.example.org")}
        for kind, one in made.items():
            self.write("cert.pem", one)
            context = self.context()
            listed = context.serverConnectionForTLS(None).get_cipher_list()
            for cipher in (name for name in listed if f"-{kind}-" in name):
                self.assertTrue(cipher.startswith("ECDHE-"), cipher)
                theirs = client_context(newest=SSL.TLS1_2_VERSION)
                theirs.set_cipher_list(cipher.encode())
                failed = meet(make_client(theirs), context.serverConnectionForTLS(None))
                self.assertEqual(failed, (None, None), cipher)
            self.assertEqual(sum("TLS_" not in name for name in listed), 6)

    def test_alpn(self) -> None:
        """
        Of the common protocols the server's first is spoken; a client that offers
        none is served, too.
        """
        context = self.context(tls_alpn=(b"b", b"a"))
        for offered, agreed in (([b"a", b"b"], b"b"), ([b"x", b"a"], b"a"), ([], b"")):
            client = make_client(client_context(), alpn=offered)
            self.assertEqual(meet(client, context.serverConnectionForTLS(None)), (None, None))
            self.assertEqual(client.get_alpn_proto_negotiated(), agreed)

    def test_alpn_refused(self) -> None:
        """A client that offers others only is told so (RFC 7301, 3.2)."""
        context = self.context(tls_alpn=(b"a",))
        client = make_client(client_context(), alpn=[b"x"])
        theirs, ours = meet(client, context.serverConnectionForTLS(None))
        self.assertIsInstance(ours, NoCommonProtocol)
        self.assertIn("no application protocol", str(theirs))

    def test_chain(self) -> None:
        """The chain is sent: a client that knows only the root trusts the server."""
        self.made = issued_below("www.example.org")
        self.write("cert.pem", self.made)
        self.assertIs(self.served(self.context()), self.made)

    def test_alpn_not_asked(self) -> None:
        """Without protocols of ours, whatever a client offers is left open."""
        client = make_client(client_context(), alpn=[b"x"])
        failed = meet(client, self.context().serverConnectionForTLS(None))
        self.assertEqual((failed, client.get_alpn_proto_negotiated()), ((None, None), b""))


class ClientTests(ContextCase):
    """Tests for clients that have to prove themselves."""

    def failure(self, client: Made | None, newest: int = SSL.TLS1_3_VERSION) -> str:
        """Say what a client's handshake failed with on the server's side."""
        ca = write_private(self.path("ca.pem"), authority("clients").pem())
        server = self.context(tls_client_ca=ca).serverConnectionForTLS(None)
        theirs, ours = meet(make_client(client_context(client, newest=newest)), server)
        self.assertEqual(theirs is None, ours is None)
        return reason_of(ours) if ours else ""

    def test_vouched_for(self) -> None:
        """A client that the authority vouches for is served, in each version."""
        client = issued("client", issuer="clients")
        for newest in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            self.assertEqual(self.failure(client, newest), "")

    def test_refused(self) -> None:
        """One without certificate, with that of a stranger's or with an old one is not."""
        for newest in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            self.assertIn("did not return a certificate", self.failure(None, newest))
            for wrong in (issued("client"), issued("client", issuer="clients", end=PAST)):
                self.assertEqual(self.failure(wrong, newest), "certificate verify failed")

    def test_expired_authority(self) -> None:
        """
        Of several authorities in a file one may have expired: its clients are refused, and
        those of the others are served.
        """
        good, old = authority("clients"), authority("old", PAST)
        ca = write_private(self.path("ca.pem"), old.pem() + good.pem())
        context = self.context(tls_client_ca=ca)
        for client, served in (
            (issued("client", issuer="clients"), True),
            (issued_for(rsa_key(), "client", above=old), False),
        ):
            theirs = make_client(client_context(client))
            failed = meet(theirs, context.serverConnectionForTLS(None))
            self.assertEqual(failed == (None, None), served)
        ((option, text),) = context.invalid()
        self.assertEqual(option, "tls_client_ca")
        self.assertIn(f"certificate 1 of {ca} expired", text)

    def test_with_names(self) -> None:
        """For another server name the client has to prove itself as well."""
        named = self.name("other.example.org", issued("other.example.org"))
        ca = write_private(self.path("ca.pem"), authority("clients").pem())
        context = self.context(tls_client_ca=ca, tls_names=(named,))
        client = issued("client", issuer="clients")
        for proof, good in ((client, True), (None, False), (issued("client"), False)):
            one = make_client(client_context(proof), b"other.example.org")
            failed = meet(one, context.serverConnectionForTLS(None))
            self.assertEqual(failed == (None, None), good)


class ServerNameTests(ContextCase):
    """Tests for several certificates on one port (RFC 6066, 3)."""

    def setUp(self) -> None:
        super().setUp()
        self.exact = issued("a.example.org")
        self.wild = issued("*.example.org")

    def others(self) -> list[Made]:
        """List both others."""
        return [self.exact, self.wild]

    def named(self, **more: Any) -> ServerContext:
        """Make a context with both others."""
        names = {"a.example.org": self.exact, "*.example.org": self.wild}
        found = [self.name(name, made) for name, made in names.items()]
        return self.context(tls_names=tuple(found), **more)

    def test_exact(self) -> None:
        """A full name comes before a wildcard, in upper case too."""
        context = self.named()
        self.assertIs(self.served(context, b"a.example.org"), self.exact)
        self.assertIs(self.served(context, b"A.Example.ORG"), self.exact)

    def test_wildcard(self) -> None:
        """A wildcard matches one label, not none and not two."""
        context = self.named()
        self.assertIs(self.served(context, b"b.example.org"), self.wild)
        for name in (b"example.org", b"b.a.example.org", b"bexample.org", b"x.a.example.org"):
            self.assertIs(self.served(context, name), self.made, name)

    def test_unknown(self) -> None:
        """
        A client that asks for an unknown name, or for none, gets the default; so
        does one whose name is no text at all.
        """
        context = self.named()
        for name in (b"unknown.test", None, b"\xff\xfe\x80", b"b\xc3\xbc.example", b"*"):
            self.assertIs(self.served(context, name), self.made, name)

    def test_refused(self) -> None:
        """
        Where unknown names are refused, the alert says why (RFC 6066, 3), in each
        version; nothing of ours is shown.
        """
        context = self.named(tls_unknown_name="refuse")
        for newest in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            for name in (b"unknown.test", b"\xff\xfe\x80", b"*", b"*.example.com"):
                client = make_client(client_context(newest=newest), name)
                theirs, ours = meet(client, context.serverConnectionForTLS(None))
                self.assertIsInstance(ours, UnknownServerName)
                self.assertIn("unrecognized name", str(theirs))
                self.assertIs(client.get_peer_certificate(as_cryptography=True), None)

    def test_own_names(self) -> None:
        """
        Where unknown names are refused, those of the default certificate are known,
        and so is a client that asks for no name.
        """
        context = self.named(tls_unknown_name="refuse")
        for name in (b"www.example.org", b"x.own.example.org", None):
            expected = self.wild if name == b"www.example.org" else self.made
            self.assertIs(self.served(context, name), expected, name)
        self.assertIs(self.served(context, b"x.y.own.example.org"), None)

    def test_alpn(self) -> None:
        """Application protocols are agreed on with each name."""
        context = self.named(tls_alpn=(b"p",))
        client = make_client(client_context(), b"a.example.org", [b"p"])
        self.assertEqual(meet(client, context.serverConnectionForTLS(None)), (None, None))
        self.assertEqual(client.get_alpn_proto_negotiated(), b"p")

    def test_failing_choice(self) -> None:
        """
        If the choice itself fails, the handshake raises what it failed with, and the
        client sees no certificate.
        """
        server = self.named().serverConnectionForTLS(None)
        broken: Any = {}.__getitem__
        server = ServerConnection(attrs.evolve(server._contexts, named=broken))
        client = make_client(client_context(), b"a.example.org")
        theirs, ours = meet(client, server)
        self.assertIsInstance(ours, AttributeError)
        self.assertIn("handshake failure", str(theirs))
        self.assertIs(client.get_peer_certificate(as_cryptography=True), None)


class SwapTests(ContextCase):
    """Tests for files that are renewed while the daemon serves."""

    def others(self) -> list[Made]:
        """List what replaces the certificate."""
        return [self.renewed]

    def setUp(self) -> None:
        super().setUp()
        self.renewed = issued("www.example.org", end=FUTURE)

    def test_swap(self) -> None:
        """New connections have the new certificate."""
        context = self.context()
        self.assertEqual(context.not_after, END.timestamp())
        self.write("cert.pem", self.renewed)
        self.assertIs(self.served(context), self.made)
        self.assertEqual(context.load(), [])
        self.assertIs(self.served(context), self.renewed)
        self.assertEqual((context.loads, context.failures), (2, 0))
        self.assertEqual(context.not_after, FUTURE.timestamp())

    def test_living(self) -> None:
        """
        A connection that was there before is served on; so is one whose handshake was
        half done, with the certificate that it began with.
        """
        context = self.context()
        living, ours = make_client(client_context()), context.serverConnectionForTLS(None)
        self.assertEqual(meet(living, ours), (None, None))
        begun, half = make_client(client_context()), context.serverConnectionForTLS(None)
        begun.set_connect_state()
        half.set_accept_state()
        advance(begun)
        self.write("cert.pem", self.renewed)
        context.load()
        gc.collect()
        ours.send(b"hello")
        pump(ours, living)
        self.assertEqual(living.recv(10), b"hello")
        self.assertEqual(meet(begun, half, begun=True), (None, None))
        certificate = begun.get_peer_certificate(as_cryptography=True)
        self.assertEqual(certificate, self.made.certificate)

    def test_bad_file(self) -> None:
        """With a file that cannot be used the old certificate stays, and it is said why."""
        context = self.context()
        bad = {
            "is not PEM": b"",
            "is cut off": self.made.pem()[:-30],
            "has no private key": self.made.pem(),
            "is not the key of": self.made.pem() + self.renewed.key_pem(),
            "is encrypted": self.made.pem() + self.made.locked_pem(),
        }
        for number, (message, data) in enumerate(bad.items(), 1):
            write_private(self.path("cert.pem"), data)
            self.assertIn(message, context.load()[0][1])
            self.assertIn(message, context.last_error)
            self.assertEqual((context.loads, context.failures), (1, number))
            self.assertIs(self.served(context), self.made)
        self.write("cert.pem", self.renewed)
        self.assertEqual(context.load(), [])
        self.assertEqual(context.last_error, "")

    def test_keys_are_not_told(self) -> None:
        """No complaint has a part of a key."""
        context = self.context()
        secret = self.made.key_pem().split(b"\n")[1].decode()
        for size in range(0, len(self.made.key_pem()), 20):
            data = self.made.pem() + self.made.key_pem()[:size]
            write_private(self.path("cert.pem"), data)
            context.load()
            for start in range(0, len(secret) - 8, 8):
                self.assertNotIn(secret[start : start + 8], context.last_error)
        self.assertNotIn(secret[:8], repr(context) + repr(vars(context)))

    def test_half_written(self) -> None:
        """A file that is half written is tried once, and again when it is whole."""
        context = self.context()
        self.assertFalse(context.changed())
        whole = self.renewed.pem() + self.renewed.key_pem()
        write_private(self.path("cert.pem"), whole[:-50])
        self.assertTrue(context.changed())
        self.assertNotEqual(context.load(), [])
        self.assertFalse(context.changed())
        with open(self.path("cert.pem"), "ab") as file:
            file.write(whole[-50:])
        self.assertTrue(context.changed())
        self.assertEqual(context.load(), [])
        self.assertFalse(context.changed())
        self.assertIs(self.served(context), self.renewed)

    def test_missing(self) -> None:
        """A file that goes away, and one that comes back, is a change."""
        context = self.context()
        os.unlink(self.path("cert.pem"))
        self.assertTrue(context.changed())
        self.assertNotEqual(context.load(), [])
        self.assertFalse(context.changed())
        self.write("cert.pem", self.renewed)
        self.assertTrue(context.changed())

    def invalid(self, context: ServerContext, now: float) -> list[str]:
        """Say what is not valid at a time, by the options."""
        self.now = now
        self.assertFalse(context.changed())
        return [option for option, _ in context.invalid()]

    def test_expired(self) -> None:
        """
        A certificate that expires while it is in use is served on, and said to be invalid;
        a clock that is set back makes it good again.
        """
        context = self.context()
        for now, expected in ((END.timestamp(), 0), (END.timestamp() + 1.0, 1), (NOW, 0)):
            self.assertEqual(self.invalid(context, now), ["tls_certificate"] * expected)
            self.assertIs(self.served(context), self.made)

    def test_taken(self) -> None:
        """
        So is one that has expired, or that is not valid yet, when it is read: one rule,
        whenever that is.
        """
        for when in ({"end": PAST}, {"begin": FUTURE}):
            self.made = issued("www.example.org", **when)
            self.write("cert.pem", self.made)
            context = self.context()
            theirs = client_context()
            theirs.set_verify(SSL.VERIFY_NONE)
            client = make_client(theirs)
            meet(client, context.serverConnectionForTLS(None))
            certificate = client.get_peer_certificate(as_cryptography=True)
            self.assertEqual(certificate, self.made.certificate)
            ((option, text),) = context.invalid()
            self.assertEqual(option, "tls_certificate")
            self.assertIn(f"certificate 1 of {self.path('cert.pem')} ", text)

    def test_each_is_judged(self) -> None:
        """The certificates of a chain, of names and of authorities are judged, too."""
        old = authority("old", PAST).pem()
        ca = write_private(self.path("ca.pem"), authority().pem() + old)
        named = self.name("old.example.org", issued("old.example.org", end=PAST))
        context = self.context(tls_names=(named,), tls_client_ca=ca)
        found = context.invalid()
        self.assertEqual([option for option, _ in found], ["tls_names", "tls_client_ca"])
        self.assertIn("certificate 2 of", found[1][1])
        self.assertEqual(context.not_after, PAST.timestamp())

    def test_no_battery(self) -> None:
        """
        While the clock cannot be right any certificate will do; it is judged when the
        clock is set.
        """
        context = self.context()
        for now, expected in ((100.0, 0), (NOW, 0), (200.0, 0), (END.timestamp() + 1.0, 1)):
            self.assertEqual(self.invalid(context, now), ["tls_certificate"] * expected)

    def test_nothing_in_use(self) -> None:
        """What was never loaded is not invalid."""
        self.assertEqual(ServerContext(TlsOptions(), lambda: NOW).invalid(), [])

    def test_every_file(self) -> None:
        """The key, the authorities and the files of each name are checked, too."""
        self.write("named.pem", self.made)
        for name in ("key", "named-key"):
            write_private(self.path(f"{name}.pem"), self.made.key_pem())
        write_private(self.path("ca.pem"), authority().pem())
        named = NamedCertificate("a.b", self.path("named.pem"), self.path("named-key.pem"))
        key, ca = self.path("key.pem"), self.path("ca.pem")
        context = self.context(tls_key=key, tls_client_ca=ca, tls_names=(named,))
        for name in ("cert", "key", "ca", "named", "named-key"):
            self.assertFalse(context.changed())
            os.utime(self.path(f"{name}.pem"), ns=(0, 0))
            self.assertTrue(context.changed(), name)
            context.load()

    def test_nothing_is_left(self) -> None:
        """Of unused contexts nothing is left: no object and no descriptor, served or not."""
        named = self.name("other.example.org", issued("other.example.org"))
        ca = write_private(self.path("ca.pem"), authority().pem())
        more = {"tls_names": (named,), "tls_client_ca": ca, "tls_alpn": (b"p",)}
        context = self.context(**more, tls_unknown_name="refuse")
        self.swap(context, SWAPS // 10)
        before = self.census()
        self.swap(context, SWAPS)
        after = self.census()
        self.assertLess(after[0] - before[0], SLACK)
        self.assertEqual(after[1:], before[1:])

    def swap(self, context: ServerContext, times: int) -> None:
        """Load the files again, and refuse and serve a client in between."""
        for number in range(times):
            self.assertEqual(context.load(), [])
            if number % 20 == 0:
                self.served(context, b"other.example.org")
                self.served(context, b"unknown.test")

    def census(self) -> tuple[int, int, int]:
        """Count the objects, the descriptors and the contexts of OpenSSL."""
        gc.collect()
        objects = gc.get_objects()
        contexts = sum(type(found) is SSL.Context for found in objects)
        return len(objects), len(os.listdir("/proc/self/fd")), contexts


class TrialTests(ContextCase):
    """Tests for what the check of a configuration says."""

    def test_good(self) -> None:
        """There is nothing to say of what is right."""
        self.assertEqual(problems_of(self.options), [])

    def test_not_given(self) -> None:
        """A certificate has to be given."""
        expected = ("tls_certificate", "is not given; write the path of a PEM file")
        self.assertEqual(problems_of(TlsOptions()), [expected])

    def test_names_of_nobody(self) -> None:
        """Names of clients are of no use where none has to prove itself."""
        option, message = self.complaint(tls_client_names=frozenset({PeerName("dns", "a")}))
        self.assertEqual(option, "tls_client_names")
        self.assertIn("needs tls_client_ca", message)

    def test_all_at_once(self) -> None:
        """All files are checked, and each problem has its option."""
        named = NamedCertificate("a.b", self.path("none"), self.path("none"))
        options = attrs.evolve(
            self.options,
            tls_key=self.path("no-key.pem"),
            tls_client_ca=self.path("no-ca.pem"),
            tls_names=(named, attrs.evolve(named, name="c.d")),
        )
        found = [option for option, _ in problems_of(options)]
        self.assertEqual(found, ["tls_key", "tls_names", "tls_client_ca"])

    def test_handshake_fails(self) -> None:
        """Files that parse, but fail a handshake, are found."""
        problem = SSL.Error([("SSL routines", "", "bad idea")])
        self.patch(ServerConnection, "do_handshake", Mock(side_effect=problem))
        expected = ("tls_certificate", "a trial with it failed: bad idea")
        self.assertEqual(self.complaint(), expected)

    def test_no_end(self) -> None:
        """A trial ends."""
        self.patch(ServerConnection, "do_handshake", Mock(side_effect=SSL.WantReadError))
        self.assertIn("it does not end", self.complaint()[1])

    def test_refused_by_openssl(self) -> None:
        """What OpenSSL does not take is told in its words."""
        problem = SSL.Error([("SSL routines", "", "ee key too small")])
        self.patch(CertificateOptions, "getContext", Mock(side_effect=problem))
        expected = ("tls_certificate", "OpenSSL refuses it: ee key too small")
        self.assertEqual(self.complaint(), expected)

    def test_no_callbacks(self) -> None:
        """Where no memory may be written and executed, it is said which directive to leave out."""
        self.patch(CertificateOptions, "getContext", Mock(side_effect=MemoryError))
        self.assertIn("without MemoryDenyWriteExecute", self.complaint()[1])
