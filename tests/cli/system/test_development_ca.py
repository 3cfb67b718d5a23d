"""
Tests for L{socketd.cli.system.development_ca}, by the verification of C{cryptography}, which is
as strict as that of a browser.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.system.development_ca import (
    AUTHORITY_DAYS,
    BACKDATED,
    CLIENT,
    Issued,
    issue,
    load_authority,
    make_authority,
    utc,
)
from socketd.common.errors import CommandError
from tests.support.certificates import days_from_now, self_signed, write_pems


def today() -> datetime:
    return days_from_now(0)


@cache
def authority() -> Issued:
    """Return the authority that the tests trust."""
    return make_authority(today())


@cache
def stranger() -> Issued:
    return make_authority(today())


@cache
def server() -> Issued:
    return issue(authority(), ["localhost"], today(), 30)


def verify(
    issued: Issued, by: Issued, name: str, at: datetime | None = None
) -> list[x509.Certificate]:
    """Verify a server's certificate at a time, now by default, and return the chain."""
    subject: x509.DNSName | x509.IPAddress
    try:
        subject = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        subject = x509.DNSName(name)
    builder = PolicyBuilder().store(Store([by.certificate])).time(at or today())
    return builder.build_server_verifier(subject).verify(issued.certificate, [])


def foreign(key: Any, algorithm: hashes.SHA256 | None) -> Issued:
    """Make an authority of another program: without a key identifier."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "other")])
    begin, end = (today() + timedelta(days=days) for days in (-1, 1))
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, end)
    builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    return Issued(builder.sign(key, algorithm), key)


class ServerTests(SynchronousTestCase):
    """Tests for L{issue}."""

    def test_names(self) -> None:
        """A server is trusted under each of its names, whatever the kind, and under no other."""
        names = ["localhost", "127.0.0.1", "::1", "*.example.com"]
        issued = issue(authority(), names, today(), 30)
        for name in ("localhost", "127.0.0.1", "::1", "a.example.com"):
            self.assertEqual(len(verify(issued, authority(), name)), 2)
        for name in ("example.com", "a.b.example.com", "127.0.0.2", "::2", "other"):
            self.assertRaises(VerificationError, verify, issued, authority(), name)

    def test_other_authority(self) -> None:
        """It is not trusted with another authority."""
        self.assertRaises(VerificationError, verify, server(), stranger(), "localhost")

    def test_days(self) -> None:
        """It is good from a little before now for as many days as are asked for."""
        issued = issue(authority(), ["localhost"], today(), 30)
        end = issued.certificate.not_valid_after_utc
        self.assertEqual(end - issued.certificate.not_valid_before_utc,
                         timedelta(days=30) + BACKDATED)
        for good in (end - timedelta(days=30), end):
            verify(issued, authority(), "localhost", good)
        self.assertRaises(
            VerificationError, verify, issued, authority(), "localhost", end + timedelta(seconds=1)
        )

    def test_within_authority(self) -> None:
        """It begins not before its authority does, and ends not after it."""
        soon = authority().certificate.not_valid_after_utc - timedelta(days=2)
        issued = issue(authority(), ["localhost"], soon, 30).certificate
        self.assertEqual(issued.not_valid_after_utc, authority().certificate.not_valid_after_utc)
        early = authority().certificate.not_valid_before_utc
        issued = issue(authority(), ["localhost"], early, 30).certificate
        self.assertEqual(issued.not_valid_before_utc, early)

    def test_extensions(self) -> None:
        """It has what RFC 5280 wants of a server, and a key on P-256."""
        certificate = server().certificate
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        self.assertIsInstance(key.curve, ec.SECP256R1)
        found = {one.oid._name: one.critical for one in certificate.extensions}
        self.assertEqual(found, {
            "basicConstraints": True,
            "keyUsage": True,
            "extendedKeyUsage": False,
            "subjectAltName": False,
            "subjectKeyIdentifier": False,
            "authorityKeyIdentifier": False,
        })

    def test_long_name(self) -> None:
        """A name that is too long for a common name is an alternative name all the same."""
        name = ".".join(["a" * 60] * 3)
        issued = issue(authority(), [name], today(), 30)
        verify(issued, authority(), name)
        common = issued.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        self.assertEqual(common[0].value, "socketd development server")


class ClientTests(SynchronousTestCase):
    """Tests for L{issue}."""

    def test_client(self) -> None:
        """A client is trusted as a client, and as no server."""
        issued = issue(authority(), [CLIENT], today(), 30, is_client=True)
        verifier = (
            PolicyBuilder().store(Store([authority().certificate])).time(today())
            .build_client_verifier()
        )
        verified = verifier.verify(issued.certificate, [])
        self.assertEqual(verified.subjects, [x509.DNSName(CLIENT)])
        self.assertRaises(VerificationError, verify, issued, authority(), CLIENT)
        self.assertRaises(VerificationError, verifier.verify, server().certificate, [])


class AuthorityTests(SynchronousTestCase):
    """Tests for L{make_authority} and L{load_authority}."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())

    def load(self, certificate: bytes, key: bytes, now: datetime | None = None) -> Issued:
        paths = write_pems(self.directory, pem=certificate, key=key)
        return load_authority(paths["pem"], paths["key"], now or today())

    def test_loaded(self) -> None:
        """An authority that was written and read again issues what the first is trusted for."""
        loaded = self.load(authority().certificate_pem, authority().key_pem)
        issued = issue(loaded, ["localhost"], today(), 30)
        verify(issued, authority(), "localhost")

    def test_unlike(self) -> None:
        """No two authorities have the same name, by which one could be taken for the other."""
        names = {make_authority(today()).certificate.subject for _ in range(3)}
        self.assertEqual(len(names), 3)

    def test_no_authority(self) -> None:
        """A server's certificate does not issue others, nor does a key of another."""
        alone = Issued(self_signed().certificate, self_signed().key)
        for certificate, key, why in (
            (server(), server(), "not that of an authority"),
            (alone, alone, "not that of an authority"),
            (authority(), stranger(), "the key is not that of the certificate"),
        ):
            pems = certificate.certificate_pem, key.key_pem
            self.assertIn(why, str(self.assertRaises(CommandError, self.load, *pems)))

    def test_expired(self) -> None:
        """An authority issues nothing before or after its time."""
        pems = authority().certificate_pem, authority().key_pem
        for days in (-1, AUTHORITY_DAYS + 1):
            now = today() + timedelta(days=days)
            error = self.assertRaises(CommandError, self.load, *pems, now)
            self.assertIn("not valid now", str(error))

    def test_other_keys(self) -> None:
        """A kind of key that signs in another way is refused."""
        other = foreign(ed25519.Ed25519PrivateKey.generate(), None)
        error = self.assertRaises(CommandError, self.load, other.certificate_pem, other.key_pem)
        self.assertIn("EC or RSA", str(error))

    def test_identifier(self) -> None:
        """What it issues points to the authority by the identifier that this one has."""
        above = authority().certificate.extensions
        below = issue(authority(), [CLIENT], today(), 30, is_client=True).certificate.extensions
        own = above.get_extension_for_class(x509.SubjectKeyIdentifier).value
        named = below.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        self.assertEqual(named.key_identifier, own.digest)

    def test_authority_of_others(self) -> None:
        """An authority of other make, with an RSA key and without an identifier, issues too."""
        key = rsa.generate_private_key(65537, 2048)
        other = foreign(key, hashes.SHA256())
        loaded = self.load(other.certificate_pem, other.key_pem)
        issued = issue(loaded, ["localhost"], today(), 30).certificate
        issued.verify_directly_issued_by(other.certificate)
        named = issued.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        computed = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        self.assertEqual(named.key_identifier, computed.digest)

    def test_utc(self) -> None:
        """A certificate knows whole seconds only."""
        self.assertEqual(utc(0.9).isoformat(), "1970-01-01T00:00:00+00:00")
