"""
Tests for the benchmark.
"""
