"""Tests for L{socketd.web}."""
