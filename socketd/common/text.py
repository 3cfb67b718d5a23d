"""Makes text and bytes from outside safe to log, show or write: printable, one line, short."""

from __future__ import annotations

from unicodedata import combining, east_asian_width

#: Limit for the shown part of a message (bytes): enough for a line of text.
SHOWN_BYTES = 256

#: Control characters that L{printable} keeps: line end and tab cannot overwrite anything.
PLAIN_CONTROLS = "\n\t"


def one_line(text: str) -> str:
    """Escape all but printable characters as Python does, line ends and bidi overrides too."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def printable(text: str) -> str:
    """Escape as L{one_line} does, but keep line ends and tabs; CR LF becomes one line end."""
    text = text.replace("\r\n", "\n")
    return "".join(c if c.isprintable() or c in PLAIN_CONTROLS else _escape(c) for c in text)


def ascii_line(text: str) -> str:
    """Escape as L{one_line} does, and all that is not ASCII; a backslash stays one."""
    return text.encode("unicode_escape").decode("ascii").replace("\\\\", "\\")


def decoded(data: bytes) -> str:
    r"""Decode UTF-8 from a peer, whole; a byte that is none becomes C{\xNN}."""
    return data.decode("utf-8", "backslashreplace")


def escaped(data: bytes, limit: int = SHOWN_BYTES) -> str:
    """
    Make bytes from a peer safe for a log or a terminal: printable, one line, short.

    @param limit: the number of bytes to show; of a longer text the total is added.
    """
    text = data[:limit].replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    return one_line(text) + _total(data, limit)


def hexadecimal(data: bytes, limit: int = SHOWN_BYTES) -> str:
    """Format bytes from a peer as hexadecimal digits, up to the limit of L{escaped}."""
    return data[:limit].hex(" ") + _total(data, limit)


def columns(text: str) -> int:
    """Count the terminal columns of a printable text: wide East Asian 2, combining 0, else 1."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _total(data: bytes, limit: int) -> str:
    return f"... ({len(data)} bytes)" if len(data) > limit else ""
