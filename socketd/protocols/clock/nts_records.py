"""The records of NTS key establishment: one request, one response (RFC 8915, section 4)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum

from attrs import define, field, frozen

from socketd.protocols.clock.nts_keys import KEY

#: The application protocol (section 4).
ALPN = "ntske/1"

#: The longest request or response (bytes). Servers take at least 1024 (section 4); clients with
#: many algorithms send a few hundred, and eight cookies are hardly longer than 1024.
MAX_MESSAGE = 16 * 1024

#: The next protocol: NTPv4 (section 7.7).
NTPV4 = 0

#: The only algorithm offered, which every client has: AEAD_AES_SIV_CMAC_256 (section 5.1).
AES_SIV_CMAC_256 = 15

#: Cookies of one response: as many as a client keeps (section 4.1.6).
COOKIES = 8

_LABEL = b"EXPORTER-network-time-security"
_CRITICAL = 0x8000
_HEADER = struct.Struct("!HH")


class Type(IntEnum):
    """The types of records (section 7.6)."""

    END = 0
    NEXT_PROTOCOL = 1
    ERROR = 2
    WARNING = 3
    AEAD = 4
    COOKIE = 5
    SERVER = 6
    PORT = 7


class Code(IntEnum):
    """The codes of an error record (section 4.1.3)."""

    UNRECOGNIZED_CRITICAL = 0
    BAD_REQUEST = 1
    INTERNAL_ERROR = 2


#: What comes of a connection, as it is counted: cookies, an answer without, or an error.
ESTABLISHED = "established"
NOTHING_IN_COMMON = "nothing_in_common"
TIMED_OUT = "timed_out"
NO_ALPN = "no_alpn"
REASONS = {
    Code.UNRECOGNIZED_CRITICAL: "unrecognized_critical",
    Code.BAD_REQUEST: "bad_request",
    Code.INTERNAL_ERROR: "internal_error",
}
RESULTS = (ESTABLISHED, NOTHING_IN_COMMON, *REASONS.values(), TIMED_OUT, NO_ALPN)


@define(eq=False)
class RecordError(Exception):
    """Records that break a rule; the code is that of the answer to such a request."""

    code: Code


@frozen
class Record:
    """One record."""

    type: int
    critical: bool
    body: bytes

    def encode(self) -> bytes:
        """Return it as on the wire."""
        head = _HEADER.pack(self.type | _CRITICAL * self.critical, len(self.body))
        return head + self.body

    def numbers(self) -> tuple[int, ...]:
        """
        Read the body as a list of 16-bit numbers.

        @raise RecordError: if it is empty, or ends within a number.
        """
        if not self.body or len(self.body) % 2:
            raise RecordError(Code.BAD_REQUEST)
        return struct.unpack(f"!{len(self.body) // 2}H", self.body)


@define(eq=False)
class RecordReader:
    """Takes the records of a message from a stream; each byte is looked at once."""

    _records: list[Record] = field(factory=list, init=False)
    _buffer: bytearray = field(factory=bytearray, init=False)
    _at: int = field(default=0, init=False)

    def feed(self, data: bytes) -> list[Record] | None:
        """
        Take more bytes.

        @return: all records, End of Message left out, once that one is there.
        @raise RecordError: if something stands behind it, or the message is too long.
        """
        self._buffer += data
        while len(self._buffer) - self._at >= _HEADER.size:
            first, length = _HEADER.unpack_from(self._buffer, self._at)
            begin = self._at + _HEADER.size
            if begin + length > len(self._buffer):
                break
            body = bytes(self._buffer[begin : begin + length])
            record = Record(first & ~_CRITICAL, bool(first & _CRITICAL), body)
            self._at = begin + length
            if record.type == Type.END:
                if record.body or not record.critical or self._at < len(self._buffer):
                    raise RecordError(Code.BAD_REQUEST)
                return self._records
            self._records.append(record)
        if len(self._buffer) > MAX_MESSAGE:
            raise RecordError(Code.BAD_REQUEST)
        return None


@frozen
class Agreement:
    """
    What a request and this server have in common.

    @ivar ntp: whether the client speaks NTPv4.
    @ivar aead: whether it has the algorithm, too; then it gets cookies.
    """

    ntp: bool
    aead: bool


def agree(records: Iterable[Record]) -> Agreement:
    """
    Check a request and choose (sections 4.1.2 to 4.1.8).

    @raise RecordError: if it breaks a rule.
    """
    found: dict[int, list[Record]] = {}
    for record in records:
        _check_type(record)
        found.setdefault(record.type, []).append(record)
    if any(len(found.get(kind, ())) > 1 for kind in (*_ONCE, Type.SERVER, Type.PORT)):
        raise RecordError(Code.BAD_REQUEST)
    protocols = _listed(found.get(Type.NEXT_PROTOCOL, ()))
    algorithms = _listed(found.get(Type.AEAD, ()))
    ntp = NTPV4 in protocols
    if not protocols or (ntp and not algorithms):
        raise RecordError(Code.BAD_REQUEST)
    return Agreement(ntp, ntp and AES_SIV_CMAC_256 in algorithms)


_ONCE = (Type.NEXT_PROTOCOL, Type.AEAD)
_FROM_SERVERS = (Type.ERROR, Type.WARNING, Type.COOKIE)


def _check_type(record: Record) -> None:
    if record.type in _FROM_SERVERS:
        raise RecordError(Code.BAD_REQUEST)
    if record.type == Type.NEXT_PROTOCOL and not record.critical:
        raise RecordError(Code.BAD_REQUEST)
    if record.critical and record.type not in Type._value2member_map_:
        raise RecordError(Code.UNRECOGNIZED_CRITICAL)


def _listed(records: Sequence[Record]) -> tuple[int, ...]:
    return records[0].numbers() if records else ()


def response(
    agreement: Agreement, cookies: Iterable[bytes], server: str = "", port: int = 0
) -> bytes:
    """
    Encode the response to a good request.

    @param cookies: used only if algorithm and protocol are agreed.
    @param server: the NTP server to ask; empty: at the same address.
    @param port: its port; 0: the usual one.
    """
    protocols = struct.pack("!H", NTPV4) if agreement.ntp else b""
    records = [Record(Type.NEXT_PROTOCOL, True, protocols)]
    if agreement.ntp:
        algorithms = struct.pack("!H", AES_SIV_CMAC_256) if agreement.aead else b""
        records.append(Record(Type.AEAD, True, algorithms))
    if agreement.aead:
        if server:
            records.append(Record(Type.SERVER, True, server.encode("ascii")))
        if port:
            records.append(Record(Type.PORT, True, struct.pack("!H", port)))
        records += (Record(Type.COOKIE, False, cookie) for cookie in cookies)
    return message(records)


def error_response(code: Code) -> bytes:
    """Encode an error."""
    return message([Record(Type.ERROR, True, struct.pack("!H", code))])


def message(records: Iterable[Record]) -> bytes:
    """Encode records, and the end."""
    return b"".join(one.encode() for one in [*records, Record(Type.END, True, b"")])


def session_keys(export: Callable[[bytes, int, bytes], bytes]) -> tuple[bytes, bytes]:
    """
    Derive the keys from the client and to it (sections 4.3 and 5.1).

    @param export: exports keying material of a TLS session, by label, length and context.
    """
    begin = NTPV4.to_bytes(2) + AES_SIV_CMAC_256.to_bytes(2)
    return export(_LABEL, KEY, begin + b"\0"), export(_LABEL, KEY, begin + b"\1")
