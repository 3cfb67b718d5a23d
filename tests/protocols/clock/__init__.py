"""Tests for L{socketd.protocols.clock}."""
