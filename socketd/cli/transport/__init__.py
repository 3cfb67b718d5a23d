"""The transports of clients: streams, datagrams, TLS, and how to connect one."""
