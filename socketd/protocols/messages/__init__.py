"""Protocols that answer messages."""
