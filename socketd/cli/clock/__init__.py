"""C{socketd time}: clients of time servers."""
