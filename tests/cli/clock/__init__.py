"""Tests for L{socketd.cli.clock}."""
