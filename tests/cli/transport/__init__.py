"""Tests for L{socketd.cli.transport}."""
