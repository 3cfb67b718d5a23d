"""Tests for L{socketd.net.sockets}."""
