"""Tests for L{socketd.net.tls.certificates}."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import dsa, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.name import _ASN1Type
from twisted.trial.unittest import SynchronousTestCase

from socketd.net.tls.certificates import (
    MAX_FILE_SIZE,
    CertificateError,
    Identity,
    load_authorities,
    load_identity,
    names_of,
)
from socketd.settings.tls import PeerName
from tests.support.certificates import (
    END,
    FUTURE,
    PASSWORD,
    RSA,
    RSA_PSS,
    Key,
    Made,
    authority,
    authority_of,
    intermediate,
    issued,
    issued_below,
    issued_for,
    name_of,
    of_unknown_version,
    rsa_key,
    signed_again,
    write_private,
)


def key_pem_of(key: PrivateKeyTypes) -> bytes:
    """Write a key."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class FileCase(SynchronousTestCase):
    """A test with a certificate and a key that are right, in two files."""

    def setUp(self) -> None:
        self.made = issued("www.example.org", "*.EXAMPLE.net")
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.write_both(self.made)

    def write(self, name: str, data: bytes) -> str:
        """Write a file."""
        return write_private(os.path.join(self.directory, name), data)

    def write_both(self, made: Made) -> None:
        """Write the two files."""
        self.certificate = self.write("cert.pem", made.pem())
        self.key = self.write("key.pem", made.key_pem())

    def load(self) -> Identity:
        """Load what the two files hold."""
        return load_identity(self.certificate, self.key)

    def refusal(self, option: str) -> str:
        """Give the complaint about an option."""
        error = self.assertRaises(CertificateError, self.load)
        self.assertEqual(error.option, option)
        message: str = error.message
        self.assertEqual(message.splitlines(), [message])
        return message


class GoodTests(FileCase):
    """Tests for files that can be used."""

    def test_fields(self) -> None:
        """It has the names, the end and the fingerprint of the certificate."""
        found = self.load()
        self.assertEqual(found.certificate, self.made.certificate)
        self.assertEqual(found.chain, ())
        self.assertEqual(found.names, {"www.example.org", "*.example.net"})
        self.assertEqual(found.not_after, END.timestamp())
        self.assertEqual(len(found.fingerprint), 64)

    def test_one_file(self) -> None:
        """The key may stand in the certificate's file, before it or behind it."""
        pems = (self.made.pem(), self.made.key_pem())
        for data in (b"".join(pems), b"".join(reversed(pems))):
            self.key = self.certificate = self.write("both.pem", data)
            self.assertEqual(self.load().certificate, self.made.certificate)

    def test_chain(self) -> None:
        """Behind the certificate stand those who vouch for it."""
        made = issued_below("www.example.org")
        self.write_both(made)
        self.assertEqual(self.load().chain, (intermediate().certificate,))

    def test_first_to_expire(self) -> None:
        """Of a chain the certificate counts that expires first."""
        made = issued("short.example.org", end=FUTURE)
        self.write("cert.pem", made.pem() + authority().pem())
        self.write("key.pem", made.key_pem())
        self.assertEqual(self.load().not_after, FUTURE.timestamp())

    def test_group(self) -> None:
        """The group may read the key: so a daemon without privileges gets it."""
        os.chmod(self.key, 0o640)
        self.assertEqual(self.load().certificate, self.made.certificate)

    def test_key_is_not_shown(self) -> None:
        """The repr of an identity does not have the key."""
        found = self.load()
        self.assertEqual(repr(found), f"<Identity {found.fingerprint}>")


class RelativesTests(FileCase):
    """Tests for what is seldom, and taken all the same."""

    def test_spellings(self) -> None:
        """
        A file may begin with a byte order mark, have the lines of other systems, text
        around the blocks, and parameters of a curve.
        """
        mark, text = b"\xef\xbb\xbf", b"Certificate:\n    Data:\n"
        parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n"
        parameters += b"-----END EC PARAMETERS-----\n"
        for front in (b"", mark, text, parameters):
            for end in (b"\n", b"\r\n"):
                for name, pem in (("cert", self.made.pem()), ("key", self.made.key_pem())):
                    self.write(f"{name}.pem", (front + pem).replace(b"\n", end))
                self.assertEqual(self.load().certificate, self.made.certificate)

    def test_keys(self) -> None:
        """Keys of the usual kinds are taken."""
        keys: tuple[Key, ...] = (rsa_key(), ed25519.Ed25519PrivateKey.generate())
        for key in (*keys, ed448.Ed448PrivateKey.generate()):
            made = issued_for(key, "www.example.org")
            self.write_both(made)
            self.assertEqual(self.load().certificate, made.certificate)

    def test_names(self) -> None:
        """
        A certificate without names has none; one with the same name twice, or with a name
        that is longer than any host's, is served.
        """
        long = ".".join(["a" * 63] * 64)
        many = (long, *(f"{number}.example" for number in range(99)))
        for names in ((), ("a.example", "A.example"), many):
            made = issued(*names)
            self.write_both(made)
            self.assertEqual(self.load().names, {name.lower() for name in names})

    def test_serial_number(self) -> None:
        """A serial number that is not positive, as old tools made them, is nothing to speak of."""
        number = self.made.certificate.serial_number
        size = number.bit_length() // 8 + 1
        positive = number.to_bytes(size)
        negative = b"\x80" + positive[1:]
        self.write("cert.pem", signed_again(self.made, positive, negative))
        self.assertLess(self.load().certificate.serial_number, 0)
        self.flushWarnings()
        program = "import sys; from socketd.net.tls.certificates import load_identity; "
        program += "load_identity(*sys.argv[1:])"
        command = [sys.executable, "-c", program, self.certificate, self.key]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        self.assertEqual(done.stderr, "")


class BadTests(FileCase):
    """Tests for files that cannot be used."""

    def test_missing(self) -> None:
        """A file that is not there is named, with the system's reason."""
        os.unlink(self.key)
        self.assertIn("key.pem cannot be read: No such file", self.refusal("tls_key"))
        os.unlink(self.certificate)
        self.assertIn("cert.pem cannot be read: No such", self.refusal("tls_certificate"))

    def test_no_file(self) -> None:
        """A directory and a FIFO are refused, and neither stops the daemon."""
        os.unlink(self.certificate)
        os.mkfifo(self.certificate)
        self.assertIn("is not a regular file", self.refusal("tls_certificate"))
        self.certificate = self.directory
        self.assertIn("Is a directory", self.refusal("tls_certificate"))

    def test_not_pem(self) -> None:
        """An empty file, binary and any other text are not PEM."""
        for data in (b"", self.made.certificate.public_bytes(Encoding.DER), b"secret = 1\n"):
            self.write("cert.pem", data)
            self.assertIn("is not PEM", self.refusal("tls_certificate"))

    def test_cut_off(self) -> None:
        """
        A file that is not written to its end is refused, wherever it was cut; even
        between two certificates, where it cannot be told, it is one or the other.
        """
        chain = issued_below("www.example.org").pem()
        for size in range(30, len(chain) - 26, 97):
            self.write("cert.pem", chain[:size])
            self.assertRaises(CertificateError, self.load)
        self.write("cert.pem", chain[:-60])
        self.assertIn("is cut off", self.refusal("tls_certificate"))
        self.write("cert.pem", self.made.pem())
        self.write("key.pem", self.made.key_pem()[:-40])
        self.assertIn("is cut off", self.refusal("tls_key"))

    def test_damaged(self) -> None:
        """A file whose inside is wrong is refused, and nothing of it is repeated."""
        self.write("cert.pem", self.made.pem().replace(b"MII", b"MAA"))
        self.assertIn("is damaged", self.refusal("tls_certificate"))
        self.write("cert.pem", self.made.pem())
        inside = self.made.key_pem().split(b"\n")[1]
        self.write("key.pem", self.made.key_pem().replace(b"MIG", b"MAA"))
        message = self.refusal("tls_key")
        self.assertIn("is damaged", message)
        self.assertNotIn(inside[3:20].decode(), message)

    def test_swapped(self) -> None:
        """A key where the certificate should be is named as that, and the other way."""
        self.key, self.certificate = self.certificate, self.key
        self.assertIn("has no certificate", self.refusal("tls_certificate"))
        self.certificate = self.key
        self.assertIn("has no private key", self.refusal("tls_key"))

    def test_other_key(self) -> None:
        """A key that belongs to another certificate is refused."""
        self.write("key.pem", issued("other.example.org").key_pem())
        self.assertIn("is not the key of", self.refusal("tls_key"))

    def test_open_to_everybody(self) -> None:
        """A key that all users may read is refused, with the command that ends it."""
        for mode in (0o644, 0o604, 0o602):
            os.chmod(self.key, mode)
            self.assertIn("chmod o= ", self.refusal("tls_key"))

    def test_encrypted(self) -> None:
        """A key with a password is refused; the password is not asked for or guessed."""
        self.write("key.pem", self.made.locked_pem())
        message = self.refusal("tls_key")
        self.assertIn("is encrypted", message)
        self.assertNotIn(PASSWORD.decode(), message)

    def test_weak(self) -> None:
        """A key that peers refuse is refused here."""
        for key in (rsa.generate_private_key(65537, 1024), dsa.generate_private_key(1024)):
            self.write("key.pem", key_pem_of(key))
            self.assertIn("a key that peers refuse", self.refusal("tls_key"))

    def test_pss(self) -> None:
        """A key that is for RSA-PSS only is refused, with those that are good."""
        made = issued_for(rsa_key(), "www.example.org")
        self.write("cert.pem", signed_again(made, RSA, RSA_PSS))
        self.write("key.pem", made.key_pem())
        message = self.refusal("tls_certificate")
        self.assertIn("public key of an unsupported type; use EC P-256", message)

    def test_strange(self) -> None:
        """A certificate of an unknown version is refused as a damaged one."""
        self.write("cert.pem", of_unknown_version(self.made) + self.made.key_pem())
        self.assertIn("is damaged", self.refusal("tls_certificate"))

    def test_order(self) -> None:
        """A chain in the wrong order, or with a stranger in it, is refused."""
        made = issued_below("www.example.org")
        self.write("cert.pem", intermediate().pem() + made.pem())
        self.assertIn("certificate 2 of ", self.refusal("tls_certificate"))
        self.write("cert.pem", made.pem() + authority("stranger").pem())
        self.assertIn("did not issue certificate 2;", self.refusal("tls_certificate"))
        made = issued("www.example.org", issuer="intermediate")
        self.write("cert.pem", made.pem() + intermediate().pem())
        self.assertIn("did not issue certificate 1;", self.refusal("tls_certificate"))

    def test_long(self) -> None:
        """A file that no certificate needs is not read to its end."""
        self.write("cert.pem", self.made.pem() + b"#" * MAX_FILE_SIZE)
        self.assertIn("is longer than 256 KiB", self.refusal("tls_certificate"))


class NamesOfIssuersTests(FileCase):
    """Tests for issuers that a certificate names in another spelling than their own."""

    def chain(self, above: Made, spelling: str, kind: _ASN1Type = _ASN1Type.UTF8String) -> None:
        """Write a chain whose certificate names its issuer so."""
        issuer = name_of(spelling, kind)
        made = issued_for(rsa_key(), "www.example.org", above=above, issuer=issuer)
        self.write_both(made)

    def test_same(self) -> None:
        """
        As OpenSSL compares them, neither the type of a string counts, nor its case, nor its
        spaces.
        """
        above = authority("One  authority")
        for spelling, kind in (
            ("One  authority", _ASN1Type.PrintableString),
            ("one authority", _ASN1Type.UTF8String),
            (" One AUTHORITY ", _ASN1Type.BMPString),
        ):
            self.chain(above, spelling, kind)
            self.assertEqual(self.load().chain, (above.certificate,))

    def test_other(self) -> None:
        """Other letters are another name, though the key is the issuer's."""
        self.chain(authority("One authority"), "Oneauthority", _ASN1Type.PrintableString)
        self.assertIn("did not issue certificate 1;", self.refusal("tls_certificate"))

    def test_keys(self) -> None:
        """Issuers sign with RSA, Ed25519 or elliptic curves."""
        keys: tuple[Key, ...] = (rsa_key(), ed25519.Ed25519PrivateKey.generate())
        for key in (*keys, ed448.Ed448PrivateKey.generate(), authority().key):
            self.chain(authority_of(key, "above"), "above", _ASN1Type.PrintableString)
            self.assertEqual(len(self.load().chain), 1)


class AuthorityTests(SynchronousTestCase):
    """Tests for L{load_authorities}."""

    def load(self, data: bytes) -> int:
        """Load authorities, and count them."""
        path = self.mktemp()
        Path(path).write_bytes(data)
        return len(load_authorities(path, "tls_client_ca"))

    def test_several(self) -> None:
        """A file may have several, in any order; it may be readable by every user."""
        self.assertEqual(self.load(intermediate().pem() + authority().pem()), 2)

    def test_no_authority(self) -> None:
        """A certificate that may not vouch for others is refused, with its place."""
        data = authority().pem() + issued("www.example.org").pem()
        error = self.assertRaises(CertificateError, self.load, data)
        self.assertEqual(error.option, "tls_client_ca")
        self.assertIn("certificate 2 of", error.message)
        self.assertIn("is not that of an authority", error.message)


class NameTests(SynchronousTestCase):
    """Tests for L{names_of}."""

    def test_kinds(self) -> None:
        """Hosts, URIs, addresses and mail addresses are found, each as what it is."""
        made = issued("A.Example.org", "spiffe://org/a", "2001:db8:0::1", "a@example.org")
        self.assertEqual(
            names_of(made.certificate),
            {
                PeerName("dns", "a.example.org"),
                PeerName("uri", "spiffe://org/a"),
                PeerName("ip", "2001:db8::1"),
                PeerName("email", "a@example.org"),
            },
        )

    def test_none(self) -> None:
        """The subject's common name is no name."""
        self.assertEqual(names_of(issued().certificate), frozenset())
