"""Standard output of the subcommands that print a result and exit."""

from __future__ import annotations

import os
import sys

from socketd.common.errors import CommandError


def emit(text: str) -> None:
    """
    Print and flush, so that errors are raised here.

    @param text: lines; dropped if standard output is closed.
    @raise BrokenPipeError: if the reader has closed the pipe.
    @raise CommandError: on any other write error.
    """
    if sys.stdout is None:
        return
    try:
        # Flush here: at interpreter exit an error would print a traceback.
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        _give_up()
        raise explained(error) from error


def note(line: str) -> None:
    """
    Print a line on standard error.

    @param line: a line without its end; dropped if it cannot be written.
    """
    if sys.stderr is None:
        return
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        # The result is on standard output and is not affected.
        pass


def explained(error: OSError) -> Exception:
    """
    Convert a write error of standard output.

    @param error: the error of the write.
    @return: the same for a broken pipe, else a L{CommandError}.
    """
    if isinstance(error, BrokenPipeError):
        return error
    return CommandError(f"standard output: {(error.strerror or str(error)).lower()}")


def _give_up() -> None:
    # At exit the interpreter flushes the rest again, which must not fail.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
