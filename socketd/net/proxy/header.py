"""
The header of the PROXY protocol, versions 1 and 2: the client of a proxied connection.

The protocol is HAProxy's; section numbers here refer to its C{doc/proxy-protocol.txt}. Any
peer can forge a header, so it is accepted only from the proxies in the configuration.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from functools import cache

from attrs import frozen

#: The longest valid line of version 1, CRLF included (bytes, section 2.1).
MAX_V1 = 107

#: The longest accepted header of version 2 (bytes). The format allows 64 KiB, but requires
#: that a header fits in a TCP segment (section 2.2), usually 1460 bytes. This limit also
#: fits a client certificate, and is that of nginx.
MAX_V2 = 4096

#: One endpoint in a header: host and port; or the name of a UNIX socket as returned by
#: getpeername(2), str for a path and bytes for an abstract name.
ProxyAddress = tuple[str, int] | str | bytes

_START_V1 = b"PROXY "
_CRLF = b"\r\n"
_FAMILIES_V1 = {b"TCP4": socket.AF_INET, b"TCP6": socket.AF_INET6}
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED_V2 = struct.Struct("!12sBBH")
_VERSION_2 = 2
_LOCAL, _PROXY = 0, 1
_UNSPEC, _STREAM, _DATAGRAM = 0, 1, 2
_LAST_FAMILY = 3

#: Bytes of a UNIX name, padded with NUL (section 2.2).
_UNIX = struct.Struct("!108s108s")
_IPV4 = struct.Struct("!4s4sHH")
_IPV6 = struct.Struct("!16s16sHH")
_LAYOUTS = {1: _IPV4, 2: _IPV6, 3: _UNIX}
_FAMILIES_V2 = {1: socket.AF_INET, 2: socket.AF_INET6, 3: socket.AF_UNIX}

_TLV = struct.Struct("!BH")
_CHECKSUM = 3
_CHECKSUM_SIZE = 4

#: Castagnoli's polynomial, bits reversed (RFC 4960, appendix B).
_POLYNOMIAL = 0x82F63B78


class HeaderError(ValueError):
    """Not a valid PROXY header; the text says why in a few words, without bytes of the peer."""


@frozen
class Header:
    """
    A parsed header.

    @ivar family: that of the addresses.
    @ivar source: the client's address; C{None}: use that of the connection itself, which may be
        the proxy's own (C{LOCAL}).
    @ivar destination: the address that the client connected to; C{None} likewise.
    """

    family: int = socket.AF_UNSPEC
    source: ProxyAddress | None = None
    destination: ProxyAddress | None = None


class HeaderParser:
    """
    An incremental parser for the header of one connection.

    The cost is linear in the size of the header, however its bytes are segmented.

    @ivar rest: the bytes after the header, once it is complete.
    """

    def __init__(self) -> None:
        self.rest = b""
        self._buffer = bytearray()
        self._size = 0

    def feed(self, data: bytes) -> Header | None:
        """
        Parse received bytes.

        @return: the header; C{None} while it is incomplete.
        @raise HeaderError: if the header is invalid, detected as early as possible: at
            the first wrong byte of the signature, else after the line (version 1), or
            after the fixed part or the whole header (version 2).
        """
        before = len(self._buffer)
        self._buffer += data[: MAX_V2 - before]
        self._size = self._size or self._find_size(before)
        if not self._size or len(self._buffer) < self._size:
            return None
        return self._finish(data[self._size - before :])

    def _find_size(self, before: int) -> int:
        """Find the length of the header (bytes); 0 while it is not known."""
        start = bytes(self._buffer[: len(_SIGNATURE)])
        if _SIGNATURE.startswith(start):
            return _size_v2(self._buffer)
        if start.startswith(_START_V1) or _START_V1.startswith(start):
            return _size_v1(self._buffer, before)
        raise HeaderError("no PROXY protocol header")

    def _finish(self, rest: bytes) -> Header:
        header = bytes(self._buffer[: self._size])
        self._buffer.clear()
        parsed = _parse_v1(header) if header.startswith(_START_V1) else _parse_v2(header)
        self.rest = rest
        return parsed


def _size_v1(buffer: bytearray, before: int) -> int:
    # The CR may be the last byte of the previous segment.
    end = buffer.find(_CRLF, max(0, before - 1), MAX_V1)
    if end < 0 and len(buffer) >= MAX_V1:
        raise HeaderError("line too long")
    return end + len(_CRLF) if end >= 0 else 0


def _parse_v1(header: bytes) -> Header:
    """Parse a header of version 1, CRLF included (section 2.1)."""
    fields = header[: -len(_CRLF)].split(b" ")
    if fields[1] == b"UNKNOWN":
        # The rest of the line must be ignored (section 2.1).
        return Header()
    if fields[1] not in _FAMILIES_V1:
        raise HeaderError("unknown protocol")
    if len(fields) != 6:
        raise HeaderError("not two addresses and two ports")
    family = _FAMILIES_V1[fields[1]]
    hosts = [_host(family, text) for text in fields[2:4]]
    ports = [_port(text) for text in fields[4:6]]
    return Header(family, (hosts[0], ports[0]), (hosts[1], ports[1]))


def _host(family: socket.AddressFamily, text: bytes) -> str:
    """
    Normalise an address to the kernel's spelling: two spellings would be counted as two
    sources.
    """
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, text.decode("ascii")))
    except (OSError, ValueError):
        raise HeaderError("bad address") from None


def _port(text: bytes) -> int:
    if _PORT.fullmatch(text) is None or int(text) > 0xFFFF:
        raise HeaderError("bad port")
    return int(text)


def _size_v2(buffer: bytearray) -> int:
    """Check the fixed part, once it is complete, and find the length of the header."""
    if len(buffer) < _FIXED_V2.size:
        return 0
    _, version_and_command, protocol, length = _FIXED_V2.unpack_from(buffer)
    if version_and_command >> 4 != _VERSION_2:
        raise HeaderError("unknown version")
    command = version_and_command & 0xF
    if command not in (_LOCAL, _PROXY):
        raise HeaderError("unknown command")
    if command == _PROXY:
        _check_protocol(protocol >> 4, protocol & 0xF, length)
    if _FIXED_V2.size + length > MAX_V2:
        raise HeaderError("header too long")
    return _FIXED_V2.size + length  # type: ignore[no-any-return]


def _check_protocol(family: int, transport: int, length: int) -> None:
    if family > _LAST_FAMILY or transport > _DATAGRAM:
        raise HeaderError("unknown protocol")
    if transport == _DATAGRAM:
        # Section 2.2 allows treating it as unknown, or rejecting it: a proxy that sends
        # this on a stream is misconfigured.
        raise HeaderError("datagrams announced on a stream")
    if _UNSPEC not in (family, transport) and length < _LAYOUTS[family].size:
        raise HeaderError("too short for its addresses")


def _parse_v2(header: bytes) -> Header:
    """Parse a header of version 2 whose fixed part is checked (section 2.2)."""
    _, version_and_command, protocol, _ = _FIXED_V2.unpack_from(header)
    if version_and_command & 0xF == _LOCAL:
        return Header()
    if _UNSPEC in (protocol >> 4, protocol & 0xF):
        # The size of its addresses is unknown, so the TLVs cannot be checked.
        return Header()
    layout, family = _LAYOUTS[protocol >> 4], _FAMILIES_V2[protocol >> 4]
    fields = layout.unpack_from(header, _FIXED_V2.size)
    _check_tlvs(header, _FIXED_V2.size + layout.size)
    if layout is _UNIX:
        return Header(family, _unix_name(fields[0]), _unix_name(fields[1]))
    source, destination = (socket.inet_ntop(family, packed) for packed in fields[:2])
    return Header(family, (source, fields[2]), (destination, fields[3]))


def _unix_name(padded: bytes) -> str | bytes:
    """
    Read the name of a UNIX socket (unix(7)): a path ends at its first NUL, an abstract
    name begins with NUL, and an unnamed socket has the empty path.
    """
    if padded.startswith(b"\0") and padded.strip(b"\0"):
        return padded.rstrip(b"\0")
    return os.fsdecode(padded.partition(b"\0")[0])


def _check_tlvs(header: bytes, start: int) -> None:
    """
    Check the lengths of the TLVs after the addresses (section 2.2), and the checksum if there
    is one (section 2.2.3: a receiver that can verify it must, and must reject the connection
    if it is wrong).
    """
    checksums = []
    while start < len(header):
        value = start + _TLV.size
        if value > len(header):
            raise HeaderError("cut TLV")
        type_, length = _TLV.unpack_from(header, start)
        start = value + length
        if start > len(header):
            raise HeaderError("cut TLV")
        if type_ == _CHECKSUM:
            checksums.append((value, start))
    if not checksums:
        return
    low, high = checksums[0]
    # No sender writes two; computing one for each would be quadratic.
    if len(checksums) > 1 or high - low != _CHECKSUM_SIZE:
        raise HeaderError("bad checksum")
    computed = crc32c(header[:low] + bytes(_CHECKSUM_SIZE) + header[high:])
    if computed != int.from_bytes(header[low:high], "big"):
        raise HeaderError("wrong checksum")


def crc32c(data: bytes) -> int:
    """Compute the CRC32c (RFC 4960, appendix B)."""
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@cache
def _crc_table() -> tuple[int, ...]:
    return tuple(map(_crc_of_byte, range(256)))


def _crc_of_byte(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc
