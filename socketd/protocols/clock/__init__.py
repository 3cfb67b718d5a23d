"""Protocols that tell the time."""
