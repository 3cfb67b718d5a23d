"""The C{socketd} command: one module per subcommand, none of which knows the daemon."""
