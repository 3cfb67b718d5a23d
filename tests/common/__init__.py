"""Tests for L{socketd.common}."""
