"""What may go wrong around a daemon, made to go wrong: see C{docs/RELIABILITY.md}."""
