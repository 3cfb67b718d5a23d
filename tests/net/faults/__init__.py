"""Tests for L{socketd.net.faults}."""
