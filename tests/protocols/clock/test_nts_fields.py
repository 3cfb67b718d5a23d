"""Tests for L{socketd.protocols.clock.nts_fields}: octets, and what is read from them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.clock.nts_fields import (
    MIN_FIELD,
    Field,
    FieldError,
    Type,
    authenticator,
    field,
    fields_of,
    read_answer,
)
from tests.protocols.clock.nts_client import HEADER


class WrittenTests(SynchronousTestCase):
    """Tests for fields as on the wire (RFC 7822, 7.5; RFC 8915, 5.6)."""

    def test_field(self) -> None:
        """A body is padded with zeros to four octets, and the length counts them and the head."""
        found = [field(Type.IDENTIFIER, body).hex() for body in (b"", b"a", b"abcd")]
        self.assertEqual(found, ["01040004", "0104000861000000", "0104000861626364"])

    def test_authenticator(self) -> None:
        """Nonce and ciphertext are padded with zeros, each behind it; more padding is behind."""
        self.assertEqual(
            authenticator(b"abcde", b"xyz").hex(),
            "0404" "0014" "0005" "0003" "6162636465000000" "78797a00",
        )
        self.assertEqual(
            authenticator(b"abcd", b"xy", 24).hex(),
            "0404" "0018" "0004" "0002" "61626364" "78790000" "00000000" "00000000",
        )


class ReadTests(SynchronousTestCase):
    """Tests for what fields are taken for."""

    def test_there_and_back(self) -> None:
        """What is written is read, whatever its lengths, with what it vouches for."""
        for nonce, sealed in ((b"abcde", b"x" * 17), (b"a" * 16, b"")):
            begin = HEADER + field(Type.IDENTIFIER, b"i" * 32)
            found = read_answer(begin + authenticator(nonce, sealed, 64) + b"rest")
            self.assertEqual(found, (b"i" * 32, nonce, sealed, begin))

    def test_answer(self) -> None:
        """Of an answer without proof there is its identifier; with one it is the last field."""
        identifier, cookie = field(Type.IDENTIFIER, b"i" * 32), field(Type.COOKIE, b"c" * 32)
        more = HEADER + identifier + cookie
        for unproved in (HEADER + identifier, more):
            self.assertEqual(read_answer(unproved), b"i" * 32)
        found = read_answer(more + authenticator(b"a" * 16, b"x"))
        self.assertEqual(found, (b"i" * 32, b"a" * 16, b"x", more))
        for wrong in (b"", identifier * 2, cookie):
            self.assertRaises(FieldError, read_answer, HEADER + wrong)

    def test_bounds(self) -> None:
        """The shortest field is taken, at the very end; none is shorter or ends behind it."""
        least = field(Type.COOKIE, b"c" * (MIN_FIELD - 4))
        self.assertEqual(list(fields_of(least, 0)), [Field(Type.COOKIE, least[4:], 0)])
        short = field(Type.COOKIE, b"c" * (MIN_FIELD - 8))
        for wrong in (short, least[:-1], least + b"\0", least + b"\0\0\0", short[:3]):
            self.assertRaises(FieldError, list, fields_of(wrong, 0))
        self.assertEqual(len(list(fields_of(short, 0, len(short)))), 1)
