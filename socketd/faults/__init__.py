"""Faults on purpose: what is drawn for each connection and datagram; no sockets, no clock."""
