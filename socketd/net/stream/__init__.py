"""
Ports that accept streams, and their connections.
"""
