"""
Many datagrams in one system call: recvmmsg(2) and sendmmsg(2), through ctypes.

The buffers are allocated once and shared by all ports, because no datagram stays in them
after the C{doRead} that received it.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from ctypes import POINTER, Structure, c_int, c_size_t, c_uint, c_void_p
from functools import cache
from typing import Any

#: Datagrams per call, including empty ones: a flood must not keep the reactor from its
#: timers (libuv uses the same number).
BATCH = 32

#: The largest UDP payload is 65507 bytes, so none is truncated.
MAX_SIZE = 65536

#: The size of struct sockaddr_storage, which holds an address of any family.
NAME_SIZE = 128

#: Bytes for the control messages of a timestamp (32), of pktinfo (40 for struct in6_pktinfo, the
#: larger one), of TTL and of TOS (24 each).
CONTROL_SIZE = 128

_MSG_DONTWAIT = int(socket.MSG_DONTWAIT)


class _Iovec(Structure):
    _fields_ = [("base", c_void_p), ("len", c_size_t)]


class _Msghdr(Structure):
    _fields_ = [
        ("name", c_void_p),
        ("namelen", c_uint),
        ("iov", POINTER(_Iovec)),
        ("iovlen", c_size_t),
        ("control", c_void_p),
        ("controllen", c_size_t),
        ("flags", c_int),
    ]


class _Mmsghdr(Structure):
    _fields_ = [("hdr", _Msghdr), ("len", c_uint)]


_HEADER_SIZE = ctypes.sizeof(_Mmsghdr)
_SIZE = struct.Struct("@N")
_NAMELEN = struct.Struct("@I")
_NAMELEN_AT = _Msghdr.namelen.offset
_CONTROLLEN_AT = _Msghdr.controllen.offset


def _repeated(one: str) -> list[struct.Struct]:
    """Make the formats that unpack 0 to L{BATCH} consecutive structures at once."""
    return [struct.Struct("@" + one * count) for count in range(BATCH + 1)]


@cache
def column(offset: int, size: int, stride: int) -> list[struct.Struct]:
    """
    Make the formats that unpack one field of 0 to L{BATCH} consecutive buffers at once.

    @param offset: the offset of the field within its buffer.
    @param stride: the size of a buffer.
    """
    return _repeated(f"{offset}x{size}s{stride - offset - size}x")


def _received_format() -> str:
    """Make the format that unpacks C{namelen controllen flags len} of one header."""
    parts, at = [], 0
    for field, code in (
        (_Msghdr.namelen, "I"),
        (_Msghdr.controllen, "N"),
        (_Msghdr.flags, "i"),
        (_Mmsghdr.len, "I"),
    ):
        parts.append(f"{field.offset - at}x{code}")
        at = field.offset + field.size
    return "".join(parts) + f"{_HEADER_SIZE - at}x"


_RECEIVED = _repeated(_received_format())


class Messages:
    """
    Headers and buffers for L{BATCH} datagrams.

    @ivar data: the payloads, L{MAX_SIZE} bytes for each.
    @ivar names: the addresses, L{NAME_SIZE} bytes for each.
    @ivar controls: the control messages, L{CONTROL_SIZE} bytes for each.
    """

    def __init__(self) -> None:
        self._data = (ctypes.c_char * (BATCH * MAX_SIZE))()
        self._names = (ctypes.c_char * (BATCH * NAME_SIZE))()
        self._controls = (ctypes.c_char * (BATCH * CONTROL_SIZE))()
        self._iovecs = (_Iovec * BATCH)()
        self._headers = (_Mmsghdr * BATCH)()
        self._lay_out()
        self.data = memoryview(self._data).cast("B")
        self.names = memoryview(self._names).cast("B")
        self.controls = memoryview(self._controls).cast("B")
        self._header_view = memoryview(self._headers).cast("B")
        self._iovec_view = memoryview(self._iovecs).cast("B")
        # The payload lengths (size_t): the second of the two words of each struct iovec.
        self._lengths = self._iovec_view.cast("L")[1::2]
        self._pristine = bytes(self._header_view), bytes(self._iovec_view)
        self._address = ctypes.addressof(self._headers)

    def _lay_out(self) -> None:
        for index in range(BATCH):
            self._iovecs[index].base = ctypes.addressof(self._data) + index * MAX_SIZE
            self._iovecs[index].len = MAX_SIZE
            header = self._headers[index].hdr
            header.name = ctypes.addressof(self._names) + index * NAME_SIZE
            header.namelen = NAME_SIZE
            header.iov = ctypes.pointer(self._iovecs[index])
            header.iovlen = 1
            header.control = ctypes.addressof(self._controls) + index * CONTROL_SIZE
            header.controllen = CONTROL_SIZE

    def receive(self, fd: int) -> tuple[int, ...]:
        """
        Receive up to L{BATCH} pending datagrams, without blocking.

        @return: four numbers for each datagram: the lengths of its address and
            of its control messages, its flags, and its own length.
        @raise OSError: when nothing is pending, or the socket has a pending error.
        """
        self._header_view[:], self._iovec_view[:] = self._pristine
        count = _recvmmsg(fd, self._address, BATCH, _MSG_DONTWAIT, None)
        if count < 0:
            raise _last_error()
        found: tuple[int, ...] = _RECEIVED[count].unpack_from(self._header_view)
        return found

    def copy_header(self, source: int, target: int, name_length: int, control_length: int) -> None:
        """Copy the address and the control messages of one header to another one."""
        at = target * _HEADER_SIZE
        _NAMELEN.pack_into(self._header_view, at + _NAMELEN_AT, name_length)
        _SIZE.pack_into(self._header_view, at + _CONTROLLEN_AT, control_length)
        for view, size in ((self.names, NAME_SIZE), (self.controls, CONTROL_SIZE)):
            view[target * size : (target + 1) * size] = view[source * size : (source + 1) * size]

    def fill(self, index: int, datagram: bytes) -> None:
        """Fill in the payload of one header; its address and control messages are set already."""
        length = len(datagram)
        start = index * MAX_SIZE
        self.data[start : start + length] = datagram
        self._lengths[index] = length

    def send(self, fd: int, count: int) -> tuple[int, int]:
        """
        Send the first C{count} messages.

        The kernel stops at the first message that it refuses; that one is skipped, and
        the rest is sent.

        @return: how many were sent, and their bytes.
        """
        sizes = self._lengths[:count].tolist()
        done, refused, size = 0, 0, sum(sizes)
        while done < count:
            address = self._address + done * _HEADER_SIZE
            sent = _sendmmsg(fd, address, count - done, _MSG_DONTWAIT)
            if sent <= 0:
                refused += 1
                size -= sizes[done]
                sent = 1
            done += sent
        return count - refused, size


def _load(name: str, *arguments: Any) -> Any:
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if function is not None:
        function.argtypes = arguments
        function.restype = c_int
    return function


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


_recvmmsg = _load("recvmmsg", c_int, c_void_p, c_uint, c_int, c_void_p)
_sendmmsg = _load("sendmmsg", c_int, c_void_p, c_uint, c_int)

#: Whether this system has both calls.
AVAILABLE = _recvmmsg is not None and _sendmmsg is not None
