"""Tests for the settings."""
