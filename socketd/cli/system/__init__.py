"""The subcommands of the daemon and its setup: run, check, certificates, units, socket options."""
