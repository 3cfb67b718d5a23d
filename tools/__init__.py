"""What is run to build socketd, and is not installed."""
