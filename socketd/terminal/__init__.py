"""Terminal input and output, shared by the daemon's console and the clients."""
