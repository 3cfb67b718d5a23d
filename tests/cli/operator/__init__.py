"""Tests for L{socketd.cli.operator}."""
