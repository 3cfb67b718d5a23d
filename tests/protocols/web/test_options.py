"""Tests for L{socketd.protocols.web.options}."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.web.options import (
    MAX_FILE,
    FixedResponse,
    parse_health,
    parse_origins,
    parse_subprotocols,
    read_response,
)


class OptionTests(SynchronousTestCase):
    """Tests for the values of options."""

    def test_response(self) -> None:
        """A file is read with its configuration; its ending is its type."""
        directory = Path(self.mktemp())
        directory.mkdir()
        for name, media_type in (
            ("a.html", "text/html; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.png", "image/png"),
            ("a", "application/octet-stream"),
        ):
            (directory / name).write_bytes(b"\xff")
            found = read_response(str(directory / name))
            self.assertEqual(found, FixedResponse(b"\xff", media_type))
        self.assertIsNone(read_response(""))

    def test_wrong_response(self) -> None:
        """What cannot be read is complained of, and nothing waits for it."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "large").write_bytes(bytes(MAX_FILE + 1))
        os.mkfifo(directory / "fifo")
        for name, said in (
            ("none", "cannot be read: No such file or directory"),
            ("fifo", "is no file"),
            ("large", f"is too large; such a file has up to {MAX_FILE} bytes"),
            ("large\n", "is not a path"),
        ):
            with self.assertRaises(ValueError) as caught:
                read_response(str(directory / name))
            self.assertIn(said, str(caught.exception))

    def test_health(self) -> None:
        """A health check is a path, or none."""
        for text in ("", "/", "/healthz", "/a/b;c"):
            self.assertEqual(parse_health(text), text)
        for text in ("healthz", "/a b", "/a?b", "/\xe9", "/" + "x" * 256):
            self.assertRaises(ValueError, parse_health, text)

    def test_lists(self) -> None:
        """An origin or a subprotocol that no client could send is complained of."""
        for text in ("https://a.org, http://[::1]:8080", "null", "chrome-extension://abc", ""):
            self.assertEqual(", ".join(parse_origins(text)), text)
        for text in ("a.org", "https://a.org/", "HTTPS://a.org", "*", "null, http://A"):
            with self.assertRaisesRegex(ValueError, "is no origin; write https://example.org"):
                parse_origins(text)
        self.assertEqual(parse_subprotocols("chat.v2\nx_1"), ("chat.v2", "x_1"))
        with self.assertRaisesRegex(ValueError, "has a b, which is no subprotocol"):
            parse_subprotocols("c, a b")
