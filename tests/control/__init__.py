"""Tests for the commands and the console."""
