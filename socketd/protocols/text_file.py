"""Reads the files that options of protocols name."""

from __future__ import annotations

import stat
from pathlib import Path

from socketd.settings.value_types import parse_path

#: Thousands of quotes or rules. Bound, in case the path names some other large file.
MAX_FILE_BYTES = 1024 * 1024


def read_text(path: str, content: str) -> str:
    """
    Read a regular file of at most L{MAX_FILE_BYTES}.

    @param content: what it has, in a word, for errors.
    @raise ValueError: with the error.
    """
    what = f"a file of {content}"
    if not parse_path(path):
        raise ValueError(f"names no file; write the path of {what}")
    return _decoded(read_file(path, MAX_FILE_BYTES, what, what))


def read_file(path: str, limit: int, what: str, kind: str) -> bytes:
    """
    Read a regular file.

    @param limit: the largest size (bytes).
    @param what: what it is, for the error that asks for its path.
    @param kind: the same, for the error that tells the limit.
    @raise ValueError: with the error.
    """
    remedy = f"write the path of {what}"
    try:
        # Checked before open(2), which would block on a FIFO.
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise ValueError(f"is no file; {remedy}")
        with Path(path).open("rb") as stream:
            found = stream.read(limit + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}; {remedy}") from None
    if len(found) > limit:
        raise ValueError(f"is too large; {kind} has up to {limit} bytes")
    return found


def _decoded(content: bytes) -> str:
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(0)) + 1
        raise ValueError(f"has a NUL byte at line {line}; write text in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"0x{content[error.start]:02x}"
        raise ValueError(f"has the byte {byte} at line {line}; write text in UTF-8") from None
