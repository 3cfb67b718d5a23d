"""Tests for L{socketd.protocols.measure}."""
