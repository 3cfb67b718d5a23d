"""Tests for L{socketd.terminal.device}."""

from __future__ import annotations

import os
import pty
import termios

from twisted.trial.unittest import SynchronousTestCase

from socketd.terminal.device import CbreakMode, takes_escape_codes, terminal_size


class CbreakModeTests(SynchronousTestCase):
    """Tests for L{CbreakMode}."""

    def setUp(self) -> None:
        self.keyboard, self.screen = pty.openpty()
        self.addCleanup(os.close, self.keyboard)

    def test_mode(self) -> None:
        """The terminal hands over keys and shows none, and is then as it was; twice is as once."""
        keys = CbreakMode(self.screen)
        before = termios.tcgetattr(self.screen)
        for _ in range(2):
            keys.enter()
        local = termios.tcgetattr(self.screen)[3]
        self.assertFalse(local & (termios.ECHO | termios.ICANON))
        self.assertTrue(local & termios.ISIG)
        for _ in range(2):
            keys.restore()
        self.assertEqual(termios.tcgetattr(self.screen), before)
        os.close(self.screen)

    def test_gone(self) -> None:
        """A terminal that is gone meanwhile needs nothing."""
        keys = CbreakMode(self.screen)
        keys.enter()
        os.close(self.screen)
        keys.restore()


class SizeTests(SynchronousTestCase):
    """Tests for what is known of a terminal."""

    def test_unknown_size(self) -> None:
        """
        A terminal that does not know its size, as a serial line, has 80 columns and 24 lines.
        """
        keyboard, screen = pty.openpty()
        self.addCleanup(os.close, keyboard)
        self.addCleanup(os.close, screen)
        self.assertEqual(terminal_size(screen), (80, 24))
        with open(os.devnull, "rb") as none:
            self.assertEqual(terminal_size(none.fileno()), (80, 24))

    def test_dumb(self) -> None:
        """Escape codes are written only where C{TERM} names a terminal that takes them."""
        expected = {"xterm": True, "linux": True, "dumb": False, "": False, "unknown": False}
        found = {term: takes_escape_codes({"TERM": term}) for term in expected}
        self.assertEqual(found, expected)
        self.assertFalse(takes_escape_codes({}))
