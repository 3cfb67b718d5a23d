"""
What is said on the wire: one file, one protocol.
"""
