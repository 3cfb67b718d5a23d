"""
Tests that what users write or parse stays: options with their defaults, events, metrics,
commands, JSON and exit statuses.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.surface import FILE, missing, stored, surface, write


class SurfaceTests(SynchronousTestCase):
    """Tests for the code against C{tests/support/surface.json}."""

    def test_nothing_is_gone(self) -> None:
        """Each name that was there is still there, with the same default, type or number."""
        self.assertEqual(missing(stored(), surface()), [])

    def test_file_is_complete(self) -> None:
        """What was added is in the file: C{python -m tests.support.surface} writes it."""
        self.assertEqual(FILE.read_text(), write(surface()))


class MissingTests(SynchronousTestCase):
    """Tests for L{tests.support.surface.missing}."""

    def test_removed(self) -> None:
        """A key that is gone is named with the keys above it."""
        found = missing({"options": {"echo": {"listen": ""}}}, {"options": {"echo": {}}})
        self.assertEqual(found, ["options.echo.listen was '' and is None"])

    def test_changed(self) -> None:
        """So is one with another value."""
        self.assertEqual(missing({"statuses": {"USAGE": 2}}, {"statuses": {"USAGE": 3}}), [
            "statuses.USAGE was 2 and is 3"
        ])

    def test_added(self) -> None:
        """One more key is no change."""
        self.assertEqual(missing({"events": {}}, {"events": {"listening": {"service": True}}}), [])
