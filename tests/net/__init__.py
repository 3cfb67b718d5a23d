"""Tests of C{socketd.net}."""
