"""
What every part of socketd may use; it knows none of them.
"""
