"""The control subcommands and the console of a running daemon."""
