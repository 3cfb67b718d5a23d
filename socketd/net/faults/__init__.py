"""What misbehaves on purpose: the faults of a profile, applied to streams and datagrams."""
