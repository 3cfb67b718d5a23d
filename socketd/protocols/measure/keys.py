"""The keys of C{stamp} and C{ipsla}: a file with a line for each SSID or key ID."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from socketd.settings.diagnostics import Mistake, Mistakes
from socketd.settings.value_types import ValueType, one_file, read_text

#: The largest number: an SSID (RFC 8972, section 3; 0 is that of a sender without one) and a key
#: ID (RFC 6812, section 3.1.1.2.1) have 16 bits.
MAX_NUMBER = 0xFFFF

#: Stands for every number without a line of its own.
ALL = "*"

#: Octets of the longest key: HMAC takes a hash of one that is longer than its block (RFC 2104).
MAX_KEY = 64

_HOW = "write NUMBER KEY: 7 correct-horse, 8 hex:00ff.. or * KEY for all others"
_HEX = re.compile(r"hex:((?:[0-9A-Fa-f]{2})+)")


@frozen
class Keys:
    """The keys by number; C{path}: their file; the text of the option."""

    path: str
    _by_number: Mapping[int, bytes] = field(repr=False)
    _other: bytes | None = field(default=None, repr=False)

    def of(self, number: int) -> bytes | None:
        """Find the key of an SSID or key ID."""
        return self._by_number.get(number, self._other)

    def __str__(self) -> str:
        return self.path


def parse_keys(path: str) -> Keys:
    """
    Read a file of keys.

    @raise Mistakes: with all that is wrong in its lines.
    @raise ValueError: if it cannot be read, or all users of the machine can.
    """
    text = read_text(path, "keys")
    if Path(path).stat().st_mode & stat.S_IROTH:
        raise ValueError("can be read by all users of this machine; run chmod o= on it")
    by_number: dict[str, bytes] = {}
    mistakes = []
    for line_number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith(("#", ";")):
            continue
        try:
            number, key = _parse_line(words)
            if number in by_number:
                raise ValueError("has a key already; remove one of them")
            by_number[number] = key
        except ValueError as error:
            # Without what it says, which may be a key.
            mistakes.append(Mistake(line_number, 1, str(error)))
    if mistakes:
        raise Mistakes(mistakes, path)
    if not by_number:
        raise ValueError(f"has no key; {_HOW}")
    other = by_number.pop(ALL, None)
    return Keys(path, {int(number): key for number, key in by_number.items()}, other)


def _parse_line(words: list[str]) -> tuple[str, bytes]:
    if len(words) != 2:
        raise ValueError(f"is not a number and a key; {_HOW}")
    number, text = words
    if number != ALL:
        if re.fullmatch(r"\d{1,5}", number, re.ASCII) is None or int(number) > MAX_NUMBER:
            raise ValueError(f"has no number in front; write 0 to {MAX_NUMBER}, or * for others")
        number = str(int(number))
    match = _HEX.fullmatch(text)
    if match is None and text.startswith("hex:"):
        raise ValueError("has a key that is not hexadecimal; write two digits for each octet")
    key = bytes.fromhex(match[1]) if match else text.encode()
    if len(key) > MAX_KEY:
        raise ValueError(f"has a key that is too long; write up to {MAX_KEY} octets")
    return number, key


KEYS = ValueType("file of keys (NUMBER KEY, one per line)", parse_keys, one_file)
