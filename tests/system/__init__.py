"""The real daemon as a child process, spoken to over real sockets."""
