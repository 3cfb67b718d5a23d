"""Stream listeners and their connections (TCP and UNIX)."""
