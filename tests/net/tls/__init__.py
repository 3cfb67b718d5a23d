"""Tests for L{socketd.net.tls}."""
