"""Tests for L{socketd.terminal.view}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.terminal.view import MAX_LINE, PlainView


class PlainViewTests(SynchronousTestCase):
    """Tests for L{PlainView}."""

    def setUp(self) -> None:
        self.written: list[str] = []
        self.view = PlainView(self.written.append)

    def test_lines(self) -> None:
        """Bytes that are no text come back as they were; a line may come in pieces."""
        self.assertEqual(list(self.view.feed(b"one\r\n\xff \ntw")), ["one", "\udcff "])
        self.assertTrue(self.view.is_begun)
        self.assertEqual(list(self.view.feed_eof()), ["tw"])
        self.assertFalse(self.view.is_begun)
        self.assertEqual(list(self.view.feed_eof()), [])

    def test_too_long(self) -> None:
        """A line that is too long is not used, which is said once."""
        self.assertEqual(list(self.view.feed(b"x" * MAX_LINE + b"\n")), ["x" * MAX_LINE])
        for piece in (b"x" * MAX_LINE, b"x" * MAX_LINE):
            self.assertEqual(list(self.view.feed(piece)), [])
        self.assertEqual(list(self.view.feed(b"\nnext\n")), ["next"])
        self.assertEqual(len(self.written), 1)

    def test_held(self) -> None:
        """What takes nothing gets nothing; the prompt comes later."""
        self.view.is_held = True
        self.view.prompt = "go:"
        self.view.show("event")
        self.view.is_held = False
        self.view.draw()
        self.view.show("event")
        self.assertEqual("".join(self.written), "go:\nevent\ngo:")
