"""Code shared by the subcommands: addresses, arguments, errors, output."""
