"""A daemon that answers sockets: one process, one reactor, one INI file."""
