"""
What ends a subcommand early, and the statuses that it then leaves to the shell.
"""

from __future__ import annotations

GOOD = 0
FAILED = 1
USAGE = 2
BAD_CONFIGURATION = 78
"""
C{EX_CONFIG} of sysexits, by which systemd can tell that a restart will not help.
"""
INTERRUPTED = 130
TERMINATED = 143
OUTPUT_CLOSED = 141
"""
As for L{INTERRUPTED} and L{TERMINATED}: 128 and the number of the signal (here SIGPIPE), which is
what the shell shows for a program that lets the signal end it.
"""


class CommandError(Exception):
    """
    A failure that the user can understand from one line.

    @ivar status: the exit status to leave.
    """

    def __init__(self, message: str, status: int = FAILED) -> None:
        """
        Say what failed.

        @param message: what stands after C{socketd SUBCOMMAND:} on standard error.
        @param status: the exit status to leave.
        """
        super().__init__(message)
        self.status = status


class Terminated(Exception):
    """
    The reactor was stopped by a signal other than the one that Ctrl-C sends.
    """
