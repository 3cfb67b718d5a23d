"""The master keys of NTS cookies, and the cookies made with them (RFC 8915, section 6)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

#: The length of a key of AEAD_AES_SIV_CMAC_256, of its tag and of the nonces used here (bytes; RFC
#: 5297).
KEY, TAG, NONCE = 32, 16, 16

#: The number of a master key, as cookies begin with it (bytes).
NUMBER = 4

#: A cookie: number, nonce, then tag and both keys of the client. All have the same length, as
#: clients ask for more of them with placeholders.
COOKIE = NUMBER + NONCE + TAG + 2 * KEY

#: How long cookies are made with one key (seconds). With a stolen key answers can be forged to the
#: clients that have its cookies, so it must not be good for long; but a client that asks once in
#: 36 h (2**17 s) must find its key.
ROTATION = 86400.0

#: Old keys that are kept: a client that was away for a week needs no new handshake.
OLD_KEYS = 7

#: Future keys, so that copies of the file need not be exact to the second.
FUTURE_KEYS = 1

MOST_KEYS = FUTURE_KEYS + 1 + OLD_KEYS

_FILE = re.compile(
    rb"socketd NTS keys 1\nsince (\d{1,12})\n((?:[0-9a-f]{8} [0-9a-f]{64}\n){2,9})end\n"
)

Random = Callable[[int], bytes]


@frozen
class MasterKey:
    """One key; C{aead}: kept, since making one costs four times as much as using it."""

    number: bytes
    secret: bytes = field(repr=False)
    aead: AESSIV = field(init=False, eq=False, repr=False)

    @aead.default
    def _make_aead(self) -> AESSIV:
        return AESSIV(self.secret)

    @classmethod
    def make(cls, used: Iterable[bytes], random: Random) -> MasterKey:
        """Make one whose number is none of those used."""
        taken = set(used)
        while (number := random(NUMBER)) in taken:
            pass
        return cls(number, random(KEY))


@frozen
class KeyRing:
    """
    The keys: the future one, the current one, then the old ones, the newest first.

    @ivar since: when the current one came into use (seconds since 1970).
    """

    keys: tuple[MasterKey, ...]
    since: int
    _by_number: dict[bytes, MasterKey] = field(init=False, eq=False, repr=False)

    @_by_number.default
    def _index(self) -> dict[bytes, MasterKey]:
        return {key.number: key for key in self.keys}

    @classmethod
    def make(cls, now: float, random: Random = os.urandom) -> KeyRing:
        """Make a future key and a current one."""
        future = MasterKey.make((), random)
        return cls((future, MasterKey.make([future.number], random)), int(now))

    def is_due(self, now: float) -> bool:
        """
        Whether it is time to rotate.

        After a step of the clock it is once, not once for each day, so no client is lost; also
        after a step back, or it would not be for years. The clocks of daemons that share a file
        may differ by less than that.
        """
        return abs(now - self.since) >= ROTATION

    def rotated(self, now: float, random: Random = os.urandom) -> KeyRing:
        """The ring with a new future key, the former one in use and the oldest gone."""
        new = MasterKey.make(self._by_number, random)
        return KeyRing((new, *self.keys)[:MOST_KEYS], int(now))

    def seal(self, to_server: bytes, to_client: bytes, random: Random = os.urandom) -> bytes:
        """Make a cookie that holds the two keys of a client."""
        current, nonce = self.keys[FUTURE_KEYS], random(NONCE)
        return current.number + nonce + current.aead.encrypt(to_server + to_client, [nonce])

    def open(self, cookie: bytes) -> tuple[bytes, bytes] | None:
        """
        Read a cookie.

        @return: the keys from the client and to it; C{None} for a cookie of another server, of a
            key that is gone, or none at all.
        """
        key = self._by_number.get(cookie[:NUMBER])
        if key is None or len(cookie) != COOKIE:
            return None
        nonce, sealed = cookie[NUMBER : NUMBER + NONCE], cookie[NUMBER + NONCE :]
        try:
            keys = key.aead.decrypt(sealed, [nonce])
        except InvalidTag:
            return None
        return keys[:KEY], keys[KEY:]

    def encode(self) -> bytes:
        """Return the content of a key file."""
        lines = [f"{key.number.hex()} {key.secret.hex()}\n" for key in self.keys]
        return f"socketd NTS keys 1\nsince {self.since}\n{''.join(lines)}end\n".encode()

    @classmethod
    def decode(cls, content: bytes) -> KeyRing:
        """Read the content of a key file; raise C{ValueError} if it is none."""
        match = _FILE.fullmatch(content)
        if match is None:
            raise ValueError("is no whole key file")
        pairs = [line.split() for line in match[2].splitlines()]
        keys = tuple(MasterKey(*(bytes.fromhex(part.decode()) for part in pair)) for pair in pairs)
        if len({key.number for key in keys}) < len(keys):
            raise ValueError("has two keys of one number")
        return cls(keys, int(match[1]))
