"""
Tests for the protocols.
"""
