"""
Standard output of the subcommands that print what they know, and end.
"""

from __future__ import annotations

import os
import sys

from socketd.cli.common.errors import CommandError


def emit(text: str) -> None:
    """
    Print, and see to it that it was printed.

    @param text: lines; nothing is written when standard output is closed.
    @raise BrokenPipeError: when nobody reads it.
    @raise CommandError: when it cannot be written.
    """
    if sys.stdout is None:
        return
    try:
        # Here, not when the interpreter ends: it could only complain with a traceback.
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        _give_up()
        raise explained(error) from error


def note(line: str) -> None:
    """
    Tell something on standard error, beside what the subcommand prints.

    @param line: a line without its end; dropped where nobody can read it.
    """
    if sys.stderr is None:
        return
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        # What is asked for is on standard output; that goes on.
        pass


def explained(error: OSError) -> Exception:
    """
    Say what an error of standard output means.

    @param error: what a write raised.
    @return: the same, where nobody reads; else words.
    """
    if isinstance(error, BrokenPipeError):
        return error
    return CommandError(f"standard output: {(error.strerror or str(error)).lower()}")


def _give_up() -> None:
    # The interpreter will try once more to write what is left, and must not fail then.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
