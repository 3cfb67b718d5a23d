"""Tests of the master and its workers."""
