"""Tests for L{socketd.cli.system}."""
