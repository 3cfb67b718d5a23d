"""
Sockets before they are ports: options, limits, activation, local addresses.
"""
