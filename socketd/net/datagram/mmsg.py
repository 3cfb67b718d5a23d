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
from array import array
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_int, c_size_t, c_uint, c_void_p
from functools import cache, lru_cache
from itertools import accumulate
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

#: Sizes of answers of which the headers are kept (512 bytes each): most protocols have few.
MAX_KEPT = 64

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

# The fields of the headers and of struct iovec that are written in one step for many, as size_t
# and as int: the place of the first one, and how far it is to the next.
_WORD, _INT = ctypes.sizeof(c_size_t), ctypes.sizeof(c_int)
_POINTERS = slice(_Msghdr.iov.offset // _WORD, None, _HEADER_SIZE // _WORD)
_NAME_LENGTHS = slice(_Msghdr.namelen.offset // _INT, None, _HEADER_SIZE // _INT)
_BASES, _SIZES = slice(0, None, 2), slice(1, None, 2)
_PIECE = struct.Struct("@NN")


def _repeated(one: str) -> list[struct.Struct]:
    """Make the formats that unpack 0 to L{BATCH} consecutive structures at once."""
    return [struct.Struct("@" + one * count) for count in range(BATCH + 1)]


@cache
def rows(fields: str, at: int, stride: int) -> list[struct.Struct]:
    """
    Make the formats that unpack fields of 0 to L{BATCH} consecutive buffers at once.

    @param at: the offset of the fields within their buffer.
    @param stride: the size of a buffer.
    """
    return _repeated(f"{at}x{fields}{stride - at - struct.calcsize('@' + fields)}x")


def ints(view: memoryview, at: int) -> memoryview:
    """Give one int of each L{CONTROL_SIZE} bytes of control messages."""
    return view.cast("i")[at // _INT :: CONTROL_SIZE // _INT]


def _field(field: Any, code: str) -> list[struct.Struct]:
    """Make the formats that unpack one field of each header."""
    return rows(code, field.offset, _HEADER_SIZE)


# What the kernel says of each datagram: the lengths of its address, of its control messages and
# of itself, and its flags.
_NAME_LENGTH = _field(_Msghdr.namelen, "I")
_CONTROL_LENGTH = _field(_Msghdr.controllen, "N")
_LENGTH = _field(_Mmsghdr.len, "I")
_FLAGS = _field(_Msghdr.flags, "i")


#: The numbers of so many datagrams, from the first one on.
ORDER = [tuple(range(count)) for count in range(BATCH + 1)]


class Messages:
    """
    Headers and buffers for L{BATCH} datagrams, and for as many answers.

    Answers have headers of their own, which point to the addresses and the control messages of
    what they answer: these stay where they were received.

    @ivar lengths: those of what was received last.
    @ivar data: the payloads, L{MAX_SIZE} bytes for each.
    @ivar names: the addresses, L{NAME_SIZE} bytes for each.
    @ivar controls: the control messages, L{CONTROL_SIZE} bytes for each.
    """

    lengths: tuple[int, ...] = ()

    def __init__(self) -> None:
        self._data = (ctypes.c_char * (BATCH * MAX_SIZE))()
        self._names = (ctypes.c_char * (BATCH * NAME_SIZE))()
        self._controls = (ctypes.c_char * (BATCH * CONTROL_SIZE))()
        # The system gives memory only for the pages of these that are written to.
        self._answers = (ctypes.c_char * (BATCH * MAX_SIZE))()
        self._room, self._pieces = (_Iovec * BATCH)(), (_Iovec * BATCH)()
        self._headers, self._outgoing = (_Mmsghdr * BATCH)(), (_Mmsghdr * BATCH)()
        self._lay_out()
        self.data = memoryview(self._data).cast("B")
        self.names = memoryview(self._names).cast("B")
        self.controls = memoryview(self._controls).cast("B")
        self._header_view = memoryview(self._headers).cast("B")
        self._pristine = bytes(self._header_view)
        self._answer_view = memoryview(self._answers).cast("B")
        self._piece_view = memoryview(self._pieces).cast("B")
        self._outgoing_view = memoryview(self._outgoing).cast("B")
        words = self._piece_view.cast("L")
        self._bases, self._sizes = words[_BASES], words[_SIZES]
        self._pointers = self._outgoing_view.cast("L")[_POINTERS]
        self._name_lengths = self._outgoing_view.cast("I")[_NAME_LENGTHS]
        self._own_pieces = _steps(self._pieces, ctypes.sizeof(_Iovec))
        self._own_data = _steps(self._data, MAX_SIZE)
        self._laid_out: list[bytes] | None = None
        self._address = ctypes.addressof(self._headers)
        self._outgoing_address = ctypes.addressof(self._outgoing)
        self._answer_address = ctypes.addressof(self._answers)

    def _lay_out(self) -> None:
        for index in range(BATCH):
            self._room[index].base = ctypes.addressof(self._data) + index * MAX_SIZE
            self._room[index].len = MAX_SIZE
            header = self._headers[index].hdr
            header.name = ctypes.addressof(self._names) + index * NAME_SIZE
            header.namelen = NAME_SIZE
            header.iov = ctypes.pointer(self._room[index])
            header.iovlen = 1
            header.control = ctypes.addressof(self._controls) + index * CONTROL_SIZE
            header.controllen = CONTROL_SIZE

    def receive(self, fd: int) -> tuple[int, ...]:
        """
        Receive up to L{BATCH} pending datagrams, without blocking.

        @return: their lengths.
        @raise OSError: when nothing is pending, or the socket has a pending error.
        """
        self._header_view[:] = self._pristine
        count = _recvmmsg(fd, self._address, BATCH, _MSG_DONTWAIT, None)
        if count < 0:
            raise _last_error()
        self.lengths = _LENGTH[count].unpack_from(self._header_view)
        return self.lengths

    def name_lengths(self, count: int) -> tuple[int, ...]:
        """The lengths of the addresses of what was received."""
        return _NAME_LENGTH[count].unpack_from(self._header_view)

    def control_lengths(self, count: int) -> tuple[int, ...]:
        """Those of its control messages."""
        return _CONTROL_LENGTH[count].unpack_from(self._header_view)

    def flags(self, count: int) -> tuple[int, ...]:
        """Its flags."""
        return _FLAGS[count].unpack_from(self._header_view)

    def control(self, index: int) -> memoryview:
        """The control messages of one datagram."""
        size = _CONTROL_LENGTH[1].unpack_from(self._header_view, index * _HEADER_SIZE)[0]
        start = index * CONTROL_SIZE
        return self.controls[start : start + size]

    def headers(self, name_length: int, controls: slice) -> list[bytes]:
        """
        Make the headers of answers to each datagram that is received.

        @param controls: the part of its control messages that goes with its answer.
        """
        made = []
        for index in range(BATCH):
            one = _Mmsghdr()
            one.hdr.name = ctypes.addressof(self._names) + index * NAME_SIZE
            one.hdr.namelen = name_length
            one.hdr.iov, one.hdr.iovlen = ctypes.pointer(self._pieces[index]), 1
            if controls.stop > controls.start:
                start = index * CONTROL_SIZE + controls.start
                one.hdr.control = ctypes.addressof(self._controls) + start
                one.hdr.controllen = controls.stop - controls.start
            made.append(bytes(one))
        return made

    def fill(self, answers: Sequence[bytes]) -> int:
        """Give each answer its payload; return how many bytes these are."""
        count = len(answers)
        if count == 1:
            return self.fill_all(answers[0], 1)
        joined = b"".join(answers)
        self._answer_view[: len(joined)] = joined
        sizes = [*map(len, answers)]
        if sizes.count(sizes[0]) == count:
            pieces = _pieces(self._answer_address, sizes[0])
            self._piece_view[: count * _PIECE.size] = pieces[: count * _PIECE.size]
        else:
            starts = accumulate(sizes[:-1], initial=self._answer_address)
            self._bases[:count], self._sizes[:count] = array("L", starts), array("L", sizes)
        return len(joined)

    def fill_all(self, answer: bytes, count: int) -> int:
        """Give so many answers the same payload."""
        size = len(answer)
        self._answer_view[:size] = answer
        pieces = _PIECE.pack(self._answer_address, size) * count
        self._piece_view[: len(pieces)] = pieces
        return size * count

    def fill_back(self, numbers: Sequence[int], lengths: Sequence[int]) -> int:
        """Give the answers to these datagrams the payloads that they came with."""
        count = len(numbers)
        self._bases[:count] = array("L", [self._own_data[number] for number in numbers])
        self._sizes[:count] = array("L", lengths)
        return sum(lengths)

    def send(
        self,
        fd: int,
        headers: list[bytes],
        numbers: Sequence[int],
        name_lengths: Sequence[int] = (),
    ) -> tuple[int, int]:
        """
        Send answers whose payloads are filled in.

        The kernel stops at the first message that it refuses; that one is skipped, and
        the rest is sent.

        @param headers: those that L{headers} made.
        @param numbers: which datagrams are answered.
        @param name_lengths: those of the addresses, if they differ.
        @return: how many were refused, and their bytes.
        """
        count = len(numbers)
        if numbers != ORDER[count] or name_lengths:
            self._lay_out_for(headers, numbers, name_lengths)
        elif self._laid_out is not headers:
            self._outgoing_view[:] = b"".join(headers)
            self._laid_out = headers
        done = refused = size = 0
        while done < count:
            address = self._outgoing_address + done * _HEADER_SIZE
            sent = _sendmmsg(fd, address, count - done, _MSG_DONTWAIT)
            if sent <= 0:
                refused += 1
                size += self._sizes[done]
                sent = 1
            done += sent
        return refused, size

    def _lay_out_for(
        self, headers: list[bytes], numbers: Sequence[int], name_lengths: Sequence[int]
    ) -> None:
        """Choose headers; their payloads are one behind another all the same."""
        self._laid_out = None
        chosen, count = b"".join([headers[number] for number in numbers]), len(numbers)
        self._outgoing_view[: len(chosen)] = chosen
        self._pointers[:count] = self._own_pieces[:count]
        if name_lengths:
            self._name_lengths[:count] = array("I", name_lengths)


@lru_cache(maxsize=MAX_KEPT)
def _pieces(address: int, size: int) -> bytes:
    """Make C{struct iovec} for L{BATCH} payloads of one size, one behind another."""
    return b"".join(_PIECE.pack(address + index * size, size) for index in range(BATCH))


def _steps(buffer: Any, size: int) -> array[int]:
    """Give the addresses of the parts of a buffer."""
    start = ctypes.addressof(buffer)
    return array("L", range(start, start + BATCH * size, size))


def _load(name: str, *arguments: Any) -> Any:
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    function.argtypes, function.restype = arguments, c_int
    return function


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


_recvmmsg = _load("recvmmsg", c_int, c_void_p, c_uint, c_int, c_void_p)
_sendmmsg = _load("sendmmsg", c_int, c_void_p, c_uint, c_int)
