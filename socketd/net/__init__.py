"""
Twisted's transports, made careful: ports, connections and their sockets.
"""
