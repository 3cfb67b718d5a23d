"""
What is typed and shown at a terminal, by the daemon's console and by a client's.
"""
