"""Tests for L{socketd.net.stream}."""
