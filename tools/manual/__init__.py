"""Generates the manual pages and the shell completions from the code."""
