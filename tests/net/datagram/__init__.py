"""Tests for L{socketd.net.datagram}."""
