"""Tests for L{socketd.common.answers}."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from socketd.common.answers import text_of

MOMENT = "2026-11-29T10:00:01.500Z"


class AnswerTests(SynchronousTestCase):
    """Tests for the text of answers."""

    def test_table(self) -> None:
        """A table stands above the sentence; nothing acts on the terminal, no line is empty."""
        rows = [{"a": "\x1b", "in": 2048}, {"a": True, "in": 0}, {"a": None, "in": 1}]
        table = {"columns": ["a", "in"], "rows": rows, "units": {"in": "bytes"}}
        expected = "A          IN\n\\x1b  2.0 KiB\nyes       0 B\n-         1 B\nmore\n\\x1b"
        self.assertEqual(text_of({"text": "more\n\n\x1b", **table}), expected)

    def test_error(self) -> None:
        """An error has its details below."""
        answer = {"ok": False, "status": 78, "error": "bad\x1b", "details": ["x:1", "x:2"]}
        self.assertEqual(text_of(answer), "bad\\x1b\nx:1\nx:2")

    def test_nothing(self) -> None:
        """An answer may have nothing to show."""
        self.assertEqual(text_of({"ok": True}), "")


class EventTests(SynchronousTestCase):
    """Tests for the text of events."""

    def test_time(self) -> None:
        """An event has the local time, if it says when it was."""
        event = {"event": "stopping", "line": "stopping\x1b"}
        clock = time.strftime("%H:%M:%S", time.localtime(1796032801))
        self.assertEqual(text_of(event | {"time": MOMENT}), f"{clock} stopping\\x1b")
        for moment in (None, "", "soon", [1]):
            self.assertEqual(text_of(event | {"time": moment}), "stopping\\x1b")

    def test_queue(self) -> None:
        """The queue is told by its oldest connection."""
        oldest = [{"service": "ack", "id": 7, "peer": "\x1b"}, {}]
        text = text_of({"event": "waiting", "count": 2, "oldest": oldest})
        self.assertEqual(text, "2 waiting; the oldest is ack 7 (\\x1b): answer 7 TEXT")
        text = text_of({"event": "waiting", "count": 0, "oldest": []})
        self.assertEqual(text, "no connection waits for the operator")
