"""Tests for the benchmark."""
