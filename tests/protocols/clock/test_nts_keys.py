"""Tests for L{socketd.protocols.clock.nts_keys}."""

from __future__ import annotations

from random import Random

from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.clock.nts_keys import (
    COOKIE,
    MOST_KEYS,
    OLD_KEYS,
    ROTATION,
    KeyRing,
    MasterKey,
)
from tests.protocols.clock.nts_client import TO_CLIENT, TO_SERVER
from tests.settings.refusals import refusal

NOW = 1_795_000_000.0

#: The key and the nonce of the unit tests of chrony for AEAD_AES_SIV_CMAC_256.
CHRONY_KEY = "0123456789abcdeff0123456789abcdeef0123456789abcddef0123456789abc"
CHRONY_NONCE = bytes(range(0x10, 0x20))
CHRONY_AD = "4c9d4fcaed8ae2baad3f3ea6e93c8c8b"

#: Associated data, plain text, and the tag with the ciphertext.
CHRONY_VECTORS = (
    ("", "", "223eb594e0e0254b00258e219a1ca421"),
    (CHRONY_AD, "", "d7201989c6dbc6d661fc62bc865eeeef"),
    (
        CHRONY_AD,
        "ba997931237e3c53587ed49302abe4a7",
        "5c052365f4570aa0fb383ece9b7585eb688519360c7c481140cb9b579a0e6532",
    ),
)

#: RFC 5297, A.1 and A.2: key, strings (the nonce is the last), plain text, output.
RFC_VECTORS = (
    (
        "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
        ["101112131415161718191a1b1c1d1e1f2021222324252627"],
        "112233445566778899aabbccddee",
        "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c",
    ),
    (
        "7f7e7d7c7b7a79787776757473727170404142434445464748494a4b4c4d4e4f",
        [
            "00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100",
            "102030405060708090a0",
            "09f911029d74e35bd84156c5635688c0",
        ],
        "7468697320697320736f6d6520706c61696e7465787420746f20656e6372797074207573696e67205349562d"
        "414553",
        "7bdb6e3b432667eb06f4d14bff2fbd0fcb900f2fddbe404326601965c889bf17dba77ceb094fa663b7a3f748"
        "ba8af829ea64ad544a272e9c485b62a3fd5c0d",
    ),
)


def ring() -> KeyRing:
    """Make keys that are always the same."""
    return KeyRing.make(NOW, Random(1).randbytes)


class VectorTests(SynchronousTestCase):
    """The library is AEAD_AES_SIV_CMAC_256 as others have it."""

    def test_rfc_5297(self) -> None:
        """The examples of RFC 5297 come out, and back."""
        for key, strings, plain, expected in RFC_VECTORS:
            aead, given = AESSIV(bytes.fromhex(key)), list(map(bytes.fromhex, strings))
            self.assertEqual(aead.encrypt(bytes.fromhex(plain), given).hex(), expected)
            self.assertEqual(aead.decrypt(bytes.fromhex(expected), given).hex(), plain)

    def test_chrony(self) -> None:
        """So do those of chrony's unit tests, with the nonce behind the associated data."""
        aead = AESSIV(bytes.fromhex(CHRONY_KEY))
        for associated, plain, expected in CHRONY_VECTORS:
            strings = [bytes.fromhex(associated), CHRONY_NONCE]
            self.assertEqual(aead.encrypt(bytes.fromhex(plain), strings).hex(), expected)
            self.assertEqual(aead.decrypt(bytes.fromhex(expected), strings).hex(), plain)


class CookieTests(SynchronousTestCase):
    """Tests for cookies."""

    def test_there_and_back(self) -> None:
        """A cookie has a hundred bytes and returns both keys; no two are alike."""
        keys = ring()
        first, second = (keys.seal(TO_SERVER, TO_CLIENT) for _ in range(2))
        self.assertEqual((len(first), len(second)), (COOKIE, 100))
        self.assertNotEqual(first, second)
        self.assertEqual(keys.open(first), (TO_SERVER, TO_CLIENT))
        self.assertFalse(set(TO_SERVER[at : at + 8] in first for at in range(24)) - {False})

    def test_changed(self) -> None:
        """One with any other bit, or another length, is none."""
        keys = ring()
        cookie = keys.seal(TO_SERVER, TO_CLIENT)
        for at in range(len(cookie)):
            changed = bytearray(cookie)
            changed[at] ^= 1
            self.assertIsNone(keys.open(bytes(changed)))
            self.assertIsNone(keys.open(cookie[:at]))
        self.assertIsNone(keys.open(cookie + b"\0"))

    def test_rotation(self) -> None:
        """
        A cookie is good for the day that its key is in use and seven more rotations; a copy of the
        file before a rotation takes those made after it.
        """
        keys = ring()
        cookie = keys.seal(TO_SERVER, TO_CLIENT)
        later = keys.rotated(NOW + ROTATION)
        self.assertEqual(keys.open(later.seal(TO_SERVER, TO_CLIENT)), (TO_SERVER, TO_CLIENT))
        for _ in range(OLD_KEYS):
            keys = keys.rotated(NOW)
            self.assertEqual(keys.open(cookie), (TO_SERVER, TO_CLIENT))
        self.assertEqual(len(keys.keys), MOST_KEYS)
        self.assertIsNone(keys.rotated(NOW).open(cookie))

    def test_due(self) -> None:
        """Keys rotate after a day, and after a step of the clock by more, to either side."""
        keys = ring()
        for age, due in ((0, False), (ROTATION - 1, False), (ROTATION, True), (-5, False)):
            self.assertEqual(keys.is_due(NOW + age), due, age)
        for step in (-10 * ROTATION, 1000 * ROTATION):
            self.assertTrue(keys.is_due(NOW + step))
            self.assertFalse(keys.rotated(NOW + step).is_due(NOW + step))

    def test_numbers(self) -> None:
        """No two keys have one number."""
        numbers = iter([b"aaaa", b"aaaa", b"bbbb"])
        made = MasterKey.make([b"aaaa"], lambda size: next(numbers) if size == 4 else bytes(size))
        self.assertEqual(made.number, b"bbbb")
        numbers = iter([b"aaaa", b"aaaa", b"bbbb", b"aaaa", b"bbbb", b"cccc"])
        keys = KeyRing.make(NOW, lambda size: next(numbers) if size == 4 else bytes(size))
        self.assertEqual([key.number for key in keys.keys], [b"aaaa", b"bbbb"])
        keys = keys.rotated(NOW, lambda size: next(numbers) if size == 4 else bytes(size))
        self.assertEqual([key.number for key in keys.keys], [b"cccc", b"aaaa", b"bbbb"])

    def test_secret(self) -> None:
        """What is shown of keys has none."""
        for key in ring().keys:
            self.assertNotIn(repr(key.secret)[2:10], repr(ring()))


class FileTests(SynchronousTestCase):
    """Tests for what a file has."""

    def test_there_and_back(self) -> None:
        """What is written is read, with one old key and with all."""
        keys = ring()
        for _ in range(MOST_KEYS):
            self.assertEqual(KeyRing.decode(keys.encode()), keys)
            keys = keys.rotated(NOW)

    def test_damaged(self) -> None:
        """A file that is cut anywhere, has something behind or other bytes is refused."""
        content = ring().encode()
        for at in range(len(content)):
            self.assertRaises(ValueError, KeyRing.decode, content[:at])
        self.assertRaises(ValueError, KeyRing.decode, content + b"\n")
        self.assertRaises(ValueError, KeyRing.decode, b"\0" * len(content))
        first, second = (key.number.hex().encode() for key in ring().keys)
        twice = content.replace(first, second)
        self.assertEqual(refusal(KeyRing.decode, twice), "has two keys of one number")
