"""Tests for L{socketd.protocols.web}."""
