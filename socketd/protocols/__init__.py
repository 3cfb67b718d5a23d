"""The wire protocols, one per module."""
