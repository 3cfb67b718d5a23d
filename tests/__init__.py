"""
The tests of socketd, in the same tree as the code: one module for each module.
"""
