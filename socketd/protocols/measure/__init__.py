"""Protocols that test and measure a path."""
