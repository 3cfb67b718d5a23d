"""Tests for L{socketd.cli.common.pem}."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.common.pem import MAX_FILE, load_certificates, load_key
from socketd.common.errors import CommandError
from tests.support.certificates import (
    RSA,
    RSA_PSS,
    Made,
    authority,
    issued,
    issued_for,
    of_unknown_version,
    rsa_key,
    signed_again,
    write_pems,
)


def server() -> Made:
    return issued("localhost")


class PemTests(SynchronousTestCase):
    """Tests for L{load_certificates} and L{load_key}."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())

    def write(self, data: bytes) -> str:
        return write_pems(self.directory, file=data)["file"]

    def test_certificates(self) -> None:
        """All certificates of a file are read, in their order, whatever else is in it."""
        path = self.write(server().key_pem() + server().pem() + authority().pem())
        expected = [server().certificate, authority().certificate]
        self.assertEqual(load_certificates(path), expected)

    def test_key(self) -> None:
        """A key is read from a file of its own, or from behind the certificate."""
        for data in (server().key_pem(), server().pem() + server().key_pem()):
            key = load_key(self.write(data), server().certificate)
            self.assertEqual(key.public_key(), server().key.public_key())

    def test_bad_certificates(self) -> None:
        """A file without a good certificate is refused by its name."""
        broken = server().pem().replace(b"\nM", b"\nA", 1)
        strange = of_unknown_version(issued("a.example"))
        for data in (b"", b"text", server().key_pem(), broken, strange):
            path = self.write(data)
            error = self.assertRaises(CommandError, load_certificates, path)
            self.assertEqual(str(error), f"{path}: no valid PEM certificate in it")

    def test_bad_keys(self) -> None:
        """A key that is none, is encrypted, or is that of another certificate, is refused."""
        encrypted = server().key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
        cases = {
            b"text": "no valid PEM key in it",
            server().pem(): "no valid PEM key in it",
            encrypted: "the key is encrypted",
            authority().key_pem(): "the key is not that of the certificate",
        }
        for data, part in cases.items():
            error = self.assertRaises(
                CommandError, load_key, self.write(data), server().certificate
            )
            self.assertIn(part, str(error))

    def test_key_of_other_kind(self) -> None:
        """A certificate whose key is of a kind that cannot be used is refused."""
        made = issued_for(rsa_key(), "a.example")
        path = self.write(signed_again(made, RSA, RSA_PSS) + made.key_pem())
        (certificate,) = load_certificates(path)
        error = self.assertRaises(CommandError, load_key, path, certificate)
        self.assertIn("key type is not supported", str(error))

    def test_unreadable(self) -> None:
        """A file that is missing, is no file or has no end is refused by its name."""
        cases = {
            str(self.directory / "missing"): "no such file or directory",
            "/": "is a directory",
            "a\0b": "embedded null byte",
            "/dev/zero": f"more than {MAX_FILE} bytes",
        }
        for path, part in cases.items():
            error = self.assertRaises(CommandError, load_certificates, path)
            self.assertIn(part, str(error))
