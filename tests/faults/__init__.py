"""Tests for L{socketd.faults}."""
