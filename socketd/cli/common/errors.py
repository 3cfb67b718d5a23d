"""Exceptions that end a subcommand, and its exit statuses."""

from __future__ import annotations

GOOD = 0
FAILED = 1
USAGE = 2

#: C{EX_CONFIG} of sysexits.h: tells systemd that a restart will not help.
BAD_CONFIGURATION = 78
INTERRUPTED = 130
TERMINATED = 143

#: As L{INTERRUPTED} and L{TERMINATED}: 128 plus the signal's number (here SIGPIPE), which is the
#: status that the shell reports for a program killed by that signal.
OUTPUT_CLOSED = 141


class CommandError(Exception):
    """
    A failure that is explained to the user in one line.

    @ivar status: the exit status.
    """

    def __init__(self, message: str, status: int = FAILED) -> None:
        """
        Store the message and the status.

        @param message: the text after C{socketd SUBCOMMAND:} on standard error.
        @param status: the exit status.
        """
        super().__init__(message)
        self.status = status


class Terminated(Exception):
    """The reactor was stopped by a signal other than SIGINT."""
