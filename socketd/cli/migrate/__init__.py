"""C{socketd import}: convert configurations of inetd and xinetd."""
