"""
The manual pages and the completions of shells, written from the code.
"""
