"""Twisted transports with access policies and deadlines: ports, connections and their sockets."""
