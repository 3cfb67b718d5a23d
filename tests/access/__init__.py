"""Tests for L{socketd.access}."""
