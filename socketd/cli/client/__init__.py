"""The client subcommands: send, chat, time, ping."""
