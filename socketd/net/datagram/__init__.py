"""
Ports that serve datagrams.
"""
