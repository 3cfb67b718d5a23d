"""Tests for L{socketd.daemon}."""
