"""Tests for C{socketd record}."""
