"""Tests for L{socketd.net.proxy}."""
