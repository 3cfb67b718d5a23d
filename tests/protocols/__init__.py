"""Tests for the protocols."""
