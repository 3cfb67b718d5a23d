"""The errors that end a command, and the exit statuses of C{socketd}."""

from __future__ import annotations

from collections.abc import Sequence

GOOD = 0
FAILED = 1
USAGE = 2

#: EX_CONFIG of sysexits.h; the systemd unit prevents a restart after this status.
BAD_CONFIGURATION = 78
INTERRUPTED = 130
TERMINATED = 143

#: As L{INTERRUPTED} and L{TERMINATED}: 128 plus the signal's number (here SIGPIPE), which is the
#: status that the shell reports for a program killed by that signal.
OUTPUT_CLOSED = 141


class CommandError(Exception):
    """
    A command failed; the text says why, in one line.

    @ivar status: the exit status of C{socketd}.
    @ivar details: more lines, for a configuration with several errors.
    """

    def __init__(self, text: str, status: int = FAILED, details: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.details = tuple(details)


class Terminated(Exception):
    """The reactor was stopped by a signal other than SIGINT."""


def reason_of(error: OSError | ValueError) -> str:
    """Describe why a file cannot be used; C{ValueError}: the path is invalid on every system."""
    return (getattr(error, "strerror", None) or str(error)).lower()
