"""Rules of C{reply}: what answers which message."""
