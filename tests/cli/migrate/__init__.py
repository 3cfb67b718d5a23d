"""Tests for L{socketd.cli.migrate}."""
