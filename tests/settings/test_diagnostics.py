"""Tests for L{socketd.settings.diagnostics}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.settings.diagnostics import (
    MOST_NAMES,
    SHOWN_VALUE,
    Diagnostic,
    SettingsError,
    nearest,
)

#: A diagnostic, and how it is written.
WRITTEN = [
    (Diagnostic("/etc/s.ini", 3, "is wrong; write right", "echo", "listen", "tcp:x"),
     "/etc/s.ini:3: [echo] listen = tcp:x: is wrong; write right"),
    (Diagnostic("s.ini", 12, "is not an option here", "echo", "lisen"),
     "s.ini:12: [echo] lisen: is not an option here"),
    (Diagnostic("s.ini", 1, "stands twice", "echo"), "s.ini:1: [echo]: stands twice"),
    (Diagnostic("s.ini", 7, "is no text"), "s.ini:7: is no text"),
    (Diagnostic("s.ini", 0, "cannot be read"), "s.ini: cannot be read"),
    (Diagnostic("s.ini", 2, "is empty", "echo", "listen", ""),
     "s.ini:2: [echo] listen =: is empty"),
    (Diagnostic("s.ini", 2, "is wrong", "echo", "listen", "\ntcp:1\ntcp:2"),
     r"s.ini:2: [echo] listen = \ntcp:1\ntcp:2: is wrong"),
    (Diagnostic("s.ini", 2, "is wrong", "echo", "reply", "a\\q\x1b[2J\u202e"),
     r"s.ini:2: [echo] reply = a\q\x1b[2J\u202e: is wrong"),
]  # fmt: skip


class DiagnosticTests(SynchronousTestCase):
    """Tests for L{Diagnostic} and L{SettingsError}."""

    def test_written(self) -> None:
        """
        A diagnostic is C{FILE:LINE: [section] option = value: message}, without
        the parts that it does not have.
        """
        self.assertEqual([(found, str(found)) for found, _ in WRITTEN], WRITTEN)

    def test_long_value(self) -> None:
        """A long value is cut."""
        line = str(Diagnostic("s.ini", 1, "is wrong", "echo", "reply", "x" * (SHOWN_VALUE + 1)))
        self.assertEqual(line, f"s.ini:1: [echo] reply = {'x' * SHOWN_VALUE}...: is wrong")
        line = str(Diagnostic("s.ini", 1, "is wrong", "echo", "reply", "x" * SHOWN_VALUE))
        self.assertEqual(line, f"s.ini:1: [echo] reply = {'x' * SHOWN_VALUE}: is wrong")

    def test_unprintable_names(self) -> None:
        """
        Names are made printable like values: the wrong file may hold anything,
        and a terminal must not act on it.
        """
        line = str(Diagnostic("s.ini", 1, "is wrong", "a\x1b[2J", "b\x07", "c\x00"))
        self.assertEqual(line, r"s.ini:1: [a\x1b[2J] b\x07 = c\x00: is wrong")

    def test_error(self) -> None:
        """The error is all diagnostics, one per line, in the order given."""
        found = [Diagnostic("s.ini", 2, "is wrong"), Diagnostic("s.ini", 1, "is worse")]
        error = SettingsError(found)
        self.assertEqual(str(error), "s.ini:2: is wrong\ns.ini:1: is worse")
        self.assertEqual(error.diagnostics, tuple(found))


class NearestTests(SynchronousTestCase):
    """Tests for L{nearest}."""

    def test_near(self) -> None:
        """A typing error is answered with the name that was probably meant."""
        known = ["listen", "log_messages", "protocol"]
        expected = {
            "lisen": "did you mean listen?",
            "Listen": "did you mean listen?",
            "log-messages": "did you mean log_messages?",
            "protocoll": "did you mean protocol?",
        }
        self.assertEqual({name: nearest(name, known) for name in expected}, expected)

    def test_far(self) -> None:
        """Where nothing is near, all known names are listed, sorted."""
        self.assertEqual(nearest("xyz", ["b", "a"]), "known are a, b")
        self.assertEqual(nearest("operater", ["udp_rate"]), "known are udp_rate")
        self.assertEqual(nearest("max_message", ["log_messages"]), "known are log_messages")

    def test_turned(self) -> None:
        """
        Two letters that have changed places are as near as can be, in a short name too; and
        case is none of the letters.
        """
        self.assertEqual(nearest("tpc", ["tls", "tcp"]), "did you mean tcp?")
        self.assertEqual(nearest("UPD", ["tcp", "udp"]), "did you mean udp?")

    def test_many(self) -> None:
        """More names than fit a sentence are not listed."""
        names = [f"name{number:02}" for number in range(MOST_NAMES)]
        self.assertEqual(nearest("xyz", names), f"known are {', '.join(names)}")
        self.assertEqual(nearest("xyz", [*names, "z"]), "docs/options.md has the list")
