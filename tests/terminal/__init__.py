"""Tests for L{socketd.terminal}."""
