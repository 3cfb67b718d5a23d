"""Access control: networks, rate limits, capacity, bans, and the datagram guard."""
