"""Standard output of the subcommands that print a result and exit."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from socketd.common.errors import CommandError, reason_of


def emit(text: str) -> None:
    """
    Print lines and flush, so that errors are raised here (a broken pipe, or L{CommandError}); drop
    them if standard output is closed.
    """
    if sys.stdout is None:
        return
    try:
        # Flush here: at interpreter exit an error would print a traceback.
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # At exit the interpreter flushes the rest again, which must not fail.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
        raise explained(error) from error


def note(line: str) -> None:
    """Print a line on standard error, where that can be written."""
    if sys.stderr is not None:
        # The result is on standard output and is not affected.
        with suppress(OSError):
            print(line, file=sys.stderr, flush=True)


def explained(error: OSError) -> Exception:
    """Convert a write error of standard output to a L{CommandError}, except a broken pipe."""
    if isinstance(error, BrokenPipeError):
        return error
    return CommandError(f"standard output: {reason_of(error)}")
