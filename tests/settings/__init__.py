"""
Tests for the settings.
"""
