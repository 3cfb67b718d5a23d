"""Tests for what is written about socketd: pages, manual, completions, tutorial."""
