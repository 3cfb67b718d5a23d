"""
The value types of options: the syntax and the parser of each, and the files that they name.

A parser maps the text in the INI file to a value, or raises C{ValueError} with the error
and the remedy.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from attrs import frozen

from socketd.settings.ini import MAX_FILE_BYTES, IniValue

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_WORDS = {"yes": True, "on": True, "true": True, "1": True}
_WORDS |= {"no": False, "off": False, "false": False, "0": False}
_ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "\\": b"\\"}

_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)/([smh])", re.ASCII)
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d)", re.ASCII)
_SIZE = re.compile(r"(\d{1,15}) ?(B|KiB|MiB|GiB|)", re.ASCII)
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.|$)", re.DOTALL)


@frozen
class ValueType:
    """
    A value type.

    @ivar syntax: for the manual pages and diagnostics.
    @ivar files: lists the paths of the files that a value names.
    @ivar writes: whether a value is the path of a file that the daemon writes.
    @ivar verbatim: whether the value is parsed as it is in the file, with its comments, because
        what is in quotes is none.
    """

    syntax: str
    parse: Callable[[str], Any]
    files: Callable[[str], Iterable[str]] = lambda text: ()
    verbatim: bool = False
    writes: bool = False

    def text_of(self, entry: IniValue) -> str:
        """Return the text that it parses."""
        return entry.raw if self.verbatim else entry.value


def unquoted(text: str) -> str:
    """Remove enclosing quotes, which the INI dialect does not have."""
    return text[1:-1].strip() if re.fullmatch(r"'.*'|\".*\"", text) else text


def parse_yes_no(text: str) -> bool:
    """Parse C{yes} or C{no} (or C{on off true false 1 0}), case-insensitive."""
    try:
        return _WORDS[text.lower()]
    except KeyError:
        raise ValueError("is neither yes nor no") from None


def parse_duration(text: str) -> float:
    """Parse a duration such as C{250ms 10s 5m 1h} to seconds."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("is not a duration; write 250ms, 10s, 5m or 1h")
    return float(match[1]) * _SECONDS[match[2]]


def write_duration(seconds: float) -> str:
    """Format a duration as L{parse_duration} reads it."""
    milliseconds = 0 < seconds < 1
    return f"{write_number(seconds * 1000)}ms" if milliseconds else f"{write_number(seconds)}s"


def write_number(value: float) -> str:
    """Format a number without an exponent, as files have it."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def parse_rate(text: str) -> float:
    """Parse a rate such as C{50/s}, C{256/m} or C{10/h} to events per second."""
    match = _RATE.fullmatch(text)
    if match is None or not float(match[1]):
        raise ValueError("is not a rate; write 50/s, 256/m or 10/h")
    return float(match[1]) / _SECONDS[match[2]]


def parse_size(text: str) -> int:
    """Parse a size such as C{4096} or C{64KiB} to bytes."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("is not a size; write bytes as 4096, 64KiB or 1MiB")
    return int(match[1]) * _BYTES[match[2]]


def parse_text(text: str) -> bytes:
    r"""Parse a text with the escapes C{\n \r \t \xNN \\}; the rest is encoded as UTF-8."""
    parts, end = [], 0
    for match in _ESCAPE.finditer(text):
        parts += [text[end : match.start()].encode(), _unescaped(match[1])]
        end = match.end()
    return b"".join([*parts, text[end:].encode()])


def parse_list(text: str, between: str = r"[,\n]") -> tuple[str, ...]:
    """Parse a list: one item per line, or separated by commas."""
    return tuple(item for item in (part.strip() for part in re.split(between, text)) if item)


def parse_path(text: str) -> str:
    """Parse the path of a file or a socket; an empty text means none."""
    if "\n" in text or "\0" in text:
        raise ValueError("is not a path")
    if unquoted(text) != text:
        raise ValueError(f"has quotes, which would be part of it; write {unquoted(text)}")
    if text.startswith("~"):
        raise ValueError("has a ~, which is not expanded; write the whole path")
    if re.search(r"\s#", text):
        raise ValueError("has a #, which would be part of the path")
    return text


def one_file(text: str) -> tuple[str, ...]:
    """List the file of a path value; none if the path is empty."""
    return (text,) if text else ()


def parse_word(text: str) -> str:
    """Parse one word without whitespace, not empty."""
    if not text or re.search(r"\s", text):
        raise ValueError("is not one word")
    return text


def choice(*words: str) -> ValueType:
    """Make a value type whose values are these words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"is not known; write {' or '.join(words)}")
        return text

    return ValueType(" | ".join(words), parse)


def within(value_type: ValueType, low: float, high: float, why: str) -> ValueType:
    """Restrict a numeric value type to a range; C{why} is the remedy in words."""

    def parse(text: str) -> Any:
        try:
            value = value_type.parse(text)
        except ValueError as error:
            said = str(error)
            raise ValueError(said if "; " in said else f"{said}; {why}") from None
        if not low <= value <= high:
            raise ValueError(f"is out of range; {why}")
        return value

    return ValueType(value_type.syntax, parse)


def parse_number(text: str) -> int:
    """Parse a non-negative integer of ASCII digits."""
    if re.fullmatch(r"\d{1,9}", text, re.ASCII) is None:
        raise ValueError("is not a whole number")
    return int(text)


YES_NO = ValueType("yes | no", parse_yes_no)
DURATION = ValueType("duration (250ms 10s 5m 1h)", parse_duration)
RATE = ValueType("rate (50/s 256/m 10/h)", parse_rate)
SIZE = ValueType("size (4096 64KiB 1MiB)", parse_size)
NUMBER = ValueType("number", parse_number)
TEXT = ValueType(r"text (\n \r \t \xNN \\)", parse_text)
WORD = ValueType("word", parse_word)
SERVICE = ValueType("name of a service", lambda text: text and parse_word(text))
LIST = ValueType("list (one per line, or with commas)", parse_list)


def _unescaped(escape: str) -> bytes:
    if escape.startswith("x") and len(escape) == 3:
        return bytes([int(escape[1:], 16)])
    try:
        return _ESCAPES[escape]
    except KeyError:
        raise ValueError(
            rf"has the unknown escape \{escape}; known are \n \r \t \xNN and \\"
        ) from None


def read_text(path: str, content: str) -> str:
    """
    Read a regular file of at most L{MAX_FILE_BYTES}.

    @param content: what it has, in a word, for errors.
    @raise ValueError: with the error.
    """
    what = f"a file of {content}"
    if not parse_path(path):
        raise ValueError(f"names no file; write the path of {what}")
    found = read_file(path, MAX_FILE_BYTES, what, what)
    if b"\0" in found:
        line = found.count(b"\n", 0, found.index(0)) + 1
        raise ValueError(f"has a NUL byte at line {line}; write text in UTF-8")
    try:
        return found.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = found.count(b"\n", 0, error.start) + 1
        byte = f"0x{found[error.start]:02x}"
        raise ValueError(f"has the byte {byte} at line {line}; write text in UTF-8") from None


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
