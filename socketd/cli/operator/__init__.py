"""
The commands of an operator, and the console of a running daemon.
"""
