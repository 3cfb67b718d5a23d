"""The sender of C{socketd ping --stamp}."""
