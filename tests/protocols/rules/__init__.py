"""Tests for L{socketd.protocols.rules}."""
