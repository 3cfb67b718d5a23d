"""Tests for L{socketd.net.reactor}."""
