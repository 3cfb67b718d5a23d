"""Operator commands, the console and the control socket."""
