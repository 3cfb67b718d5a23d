"""Parses INI text into frozen settings and reports all errors at once; pure, no reactor."""
