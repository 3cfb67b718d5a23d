"""Tests for L{socketd.cli.common}."""
