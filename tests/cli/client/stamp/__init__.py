"""Tests for the sender of C{socketd ping --stamp}."""
