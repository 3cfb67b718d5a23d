"""Tests for L{socketd.protocols.measure.keys}."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.measure.keys import Keys, parse_keys
from socketd.settings.diagnostics import Mistakes


class KeysTests(SynchronousTestCase):
    """Tests for L{parse_keys}."""

    def parse(self, text: str, mode: int = 0o600) -> Keys:
        """Parse a file with this text."""
        path = Path(self.mktemp())
        path.write_text(text)
        path.chmod(mode)
        return parse_keys(os.fspath(path))

    def test_keys(self) -> None:
        """Each number has its key, and all others that of the star."""
        found = self.parse("# SSID KEY\n\n7 correct-horse\n 8\thex:00fF\n; all others\n* rest\n")
        keys = [found.of(ssid) for ssid in (7, 8, 0, 65535)]
        self.assertEqual(keys, [b"correct-horse", b"\x00\xff", b"rest", b"rest"])
        self.assertIsNone(self.parse("0 a").of(1))
        longest = "k" * 64
        self.assertEqual(self.parse(f"65535 {longest}").of(65535), longest.encode())

    def test_secret(self) -> None:
        """The keys are in no text of it, and other keys are another value."""
        found = self.parse("1 secret-word\n* other-word")
        for text in (str(found), repr(found)):
            self.assertNotIn("word", text)
        path = Path(found.path)
        path.write_text("1 changed")
        self.assertNotEqual(parse_keys(found.path), found)

    def test_mistakes(self) -> None:
        """All lines that are wrong are named, without a key."""
        lines = ["1", "1 two words", "x key", "65536 key", "2 hex:0", "2 " + "k" * 65]
        lines += ["3 a", "03 b", "\u0664 key"]
        error = self.assertRaises(Mistakes, self.parse, "\n".join(lines))
        self.assertEqual([one.line for one in error.found], [1, 2, 3, 4, 5, 6, 8, 9])
        self.assertTrue(Path(error.file).is_file())
        for one in error.found:
            self.assertEqual(one.column, 1)
            self.assertRegex(one.message, "^(is|has) .*; (write|remove) ")
            self.assertNotIn("kkk", one.message)

    def test_useless(self) -> None:
        """A file without a key, or that all can read, is refused."""
        self.assertRaisesRegex(ValueError, "has no key; write", self.parse, "# nothing\n")
        self.assertRaisesRegex(
            ValueError, "^can be read .* run chmod o= on it$", self.parse, "1 key", 0o604
        )
        why = "cannot be read: .*; write the path of a file of keys$"
        self.assertRaisesRegex(ValueError, why, parse_keys, "/nonexistent/keys")
        self.assertRaisesRegex(ValueError, "names no file", parse_keys, "")
