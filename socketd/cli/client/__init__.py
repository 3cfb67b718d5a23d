"""The client subcommands: send, chat, ping, whoami."""
