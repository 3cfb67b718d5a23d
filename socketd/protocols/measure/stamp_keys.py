"""The keys of C{stamp}: a file with a line for each session."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from socketd.protocols.text_file import read_text
from socketd.settings.diagnostics import Mistake, Mistakes
from socketd.settings.value_types import ValueType, one_file

#: The largest SSID (RFC 8972, section 3); 0 is that of a sender without one.
MAX_SSID = 0xFFFF

#: Stands for every SSID without a line of its own.
ALL = "*"

#: Octets of the longest key: HMAC takes a hash of one that is longer than its block (RFC 2104).
MAX_KEY = 64

_HOW = "write SSID KEY: 7 correct-horse, 8 hex:00ff.. or * KEY for all others"
_HEX = re.compile(r"hex:((?:[0-9A-Fa-f]{2})+)")


@frozen
class Keys:
    """
    The keys by SSID.

    @ivar path: their file; the text of the option.
    """

    path: str
    _by_ssid: Mapping[int, bytes] = field(repr=False)
    _other: bytes | None = field(default=None, repr=False)

    def of(self, ssid: int) -> bytes | None:
        """Find the key of a session."""
        return self._by_ssid.get(ssid, self._other)

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
    by_ssid: dict[str, bytes] = {}
    mistakes = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith(("#", ";")):
            continue
        try:
            ssid, key = _parse_line(words)
            if ssid in by_ssid:
                raise ValueError("has a key already; remove one of them")
            by_ssid[ssid] = key
        except ValueError as error:
            # Without what it says, which may be a key.
            mistakes.append(Mistake(number, 1, str(error)))
    if mistakes:
        raise Mistakes(mistakes, path)
    if not by_ssid:
        raise ValueError(f"has no key; {_HOW}")
    other = by_ssid.pop(ALL, None)
    return Keys(path, {int(ssid): key for ssid, key in by_ssid.items()}, other)


def _parse_line(words: list[str]) -> tuple[str, bytes]:
    if len(words) != 2:
        raise ValueError(f"is not an SSID and a key; {_HOW}")
    ssid, text = words
    if ssid != ALL:
        if re.fullmatch(r"\d{1,5}", ssid, re.ASCII) is None or int(ssid) > MAX_SSID:
            raise ValueError(f"has no SSID in front; write 0 to {MAX_SSID}, or * for all others")
        ssid = str(int(ssid))
    return ssid, parse_key(text)


def parse_key(text: str) -> bytes:
    """Parse a key: a word, or C{hex:} and its octets."""
    match = _HEX.fullmatch(text)
    if match is None and text.startswith("hex:"):
        raise ValueError("has a key that is not hexadecimal; write two digits for each octet")
    key = bytes.fromhex(match[1]) if match else text.encode()
    if len(key) > MAX_KEY:
        raise ValueError(f"has a key that is too long; write up to {MAX_KEY} octets")
    return key


KEYS = ValueType("file of keys (SSID KEY, one per line)", parse_keys, one_file)
