"""Sockets before they become ports: options, descriptor limit, activation, local addresses."""
