"""Tests for L{socketd.cli.client}."""
