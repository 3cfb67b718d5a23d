"""Tests for the C{socketd} command."""
