"""Tests for L{socketd.protocols.messages}."""
