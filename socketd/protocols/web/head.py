"""Checks of a request's head, where Twisted would say 400 or nothing."""

from __future__ import annotations

import re
from urllib.parse import quote_from_bytes

from socketd.protocols.web.answers import BadRequest

#: The most headers of a request: twice what the busiest browsers send.
MAX_HEADERS = 100

#: The longest C{Content-Length} (digits) that is read as a number.
MAX_DIGITS = 15

#: The headers that HTTPChannel reads.
READ = (b"connection", b"content-length", b"expect", b"transfer-encoding")

#: A header (RFC 9112, 5); one that was folded has its line ends no more.
_HEADER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\0\r\n]*")
_ASCII = "".join(map(chr, range(0x80)))
_VERSIONS = (b"HTTP/1.0", b"HTTP/1.1")
_VERSION = re.compile(rb"HTTP/(\d)\.(\d)")


def request_line(line: bytes) -> bytes:
    """
    Check a request line, and write it as HTTPChannel reads it.

    @raise BadRequest: if it is none.
    """
    method, _, rest = line.partition(b" ")
    target, _, version = rest.rpartition(b" ")
    found = _VERSION.fullmatch(version)
    if found is None or not method or not target or b" " in target:
        raise BadRequest(400, "syntax", "write METHOD TARGET HTTP/1.1 in the first line")
    if found[1] != b"1":
        raise BadRequest(505, "version", "write HTTP/1.1 or HTTP/1.0")
    if not target.isascii():
        # Twisted takes no bytes above 0xB0, though clients send UTF-8 as it is.
        target = quote_from_bytes(target, _ASCII).encode()
    return b" ".join((method, target, version if version in _VERSIONS else _VERSIONS[-1]))


def check_header(name: bytes, line: bytes, count: int, max_body: int) -> None:
    """
    Check a header.

    @param name: its name in lower case.
    @param count: its number in the head.
    @raise BadRequest: if it is wrong, or asks for what there is not.
    """
    if count > MAX_HEADERS:
        raise BadRequest(431, "header_size", f"up to {MAX_HEADERS} headers")
    if _HEADER.fullmatch(line) is None:
        raise BadRequest(400, "syntax", "write each header as Name: value")
    if name not in READ:
        return
    value = line.partition(b":")[2].strip(b" \t").lower()
    if name == b"content-length" and value.isdigit():
        if len(value) > MAX_DIGITS or int(value) > max_body:
            raise long_body(max_body)
    if name == b"transfer-encoding" and value not in (b"chunked", b"identity"):
        raise BadRequest(501, "encoding", "the only transfer coding is chunked")
    if name == b"expect" and value != b"100-continue":
        raise BadRequest(417, "expectation", "the only expectation is 100-continue")


def long_body(max_body: int) -> BadRequest:
    """Make the complaint of a body that is too long."""
    return BadRequest(413, "body_size", f"the body is too long; up to {max_body} bytes")
