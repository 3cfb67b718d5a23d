"""Datagram ports, and the system calls that batch datagrams."""
