"""The control messages of what a port has received, for all datagrams at once."""

from __future__ import annotations

import socket
import sys
from array import array
from collections.abc import Sequence

from socketd.net.datagram.cmsg import (
    HEADER_SIZE,
    IPV4,
    IPV6,
    MAX_TTL,
    TIME_FIELDS,
    TIME_HEADER,
    IpHeader,
    Layout,
    Pktinfo,
    arrival,
    ask_for_arrival,
    ask_for_destination,
    ask_for_ip_header,
    disable_ancillary,
    ip_header,
)
from socketd.net.datagram.mmsg import BATCH, CONTROL_SIZE, Messages, ints, rows

#: The sizes of struct sockaddr_in, sockaddr_in6 and sockaddr_un.
NAME_SIZES: dict[int, int] = {socket.AF_INET: 16, socket.AF_INET6: 28, socket.AF_UNIX: 110}

_NO_INTERFACES = array("i", bytes(4 * BATCH))
_SECOND = 10**9

# The first byte of a link-local address (RFC 4291, 2.4).
_LINK_LOCAL = 0xFE

# Stands for a destination that the kernel did not tell, 0.0.0.0: no rule refuses it.
_UNICAST = bytes(4)


class Controls:
    """
    The control messages that a socket is asked for.

    They are read and changed where the kernel has written them. Where they are not all as they
    should be, they are sought in each datagram, and no batch is answered.

    @ivar pktinfo: that of a wildcard socket; C{None} for others.
    @ivar size: the bytes of all of them.
    @ivar is_regular: whether what was received has all of them, and no other ones.
    @ivar headers: those of answers; C{marked_headers}: with TTL and TOS.
    """

    def __init__(
        self, messages: Messages, sock: socket.socket, timestamped: bool, has_ip_header: bool
    ) -> None:
        self._messages = messages
        disable_ancillary(sock)
        self.pktinfo = ask_for_destination(sock)
        if timestamped:
            ask_for_arrival(sock)
        self._has_ip_header = timestamped and has_ip_header and sock.family != socket.AF_UNIX
        if self._has_ip_header:
            ask_for_ip_header(sock)
        self._layout = Layout.of(self.pktinfo, timestamped, self._has_ip_header)
        self.size, self.is_regular = self._layout.size, True
        self._lay_out(sock.family, self._layout, self.pktinfo)

    def _lay_out(self, family: int, laid: Layout, pktinfo: Pktinfo | None) -> None:
        view, name_length = self._messages.controls, NAME_SIZES[family]
        self.headers = self._messages.headers(name_length, slice(laid.pktinfo, laid.ttl))
        self.marked_headers = self._messages.headers(name_length, slice(laid.pktinfo, laid.size))
        self._times = rows(TIME_FIELDS, HEADER_SIZE, CONTROL_SIZE)
        self._ttls = ints(view, laid.ttl + HEADER_SIZE)
        # Of an int the lowest byte.
        last = 3 if family == socket.AF_INET6 and sys.byteorder == "big" else 0
        self._toses = view[laid.tos + HEADER_SIZE + last :: CONTROL_SIZE]
        if pktinfo is not None:
            at = laid.pktinfo + HEADER_SIZE
            size = pktinfo.address.stop - pktinfo.address.start
            self._destinations = rows(f"{size}s", at + pktinfo.address.start, CONTROL_SIZE)
            self._interfaces = ints(view, at + pktinfo.index)

    def check(self, count: int) -> None:
        """See whether so many datagrams have what was asked for."""
        self.is_regular = self._messages.control_lengths(count).count(self.size) == count

    def destinations(self, count: int) -> Sequence[bytes]:
        """Give the packed addresses that so many datagrams were sent to, on a wildcard socket."""
        pktinfo = self.pktinfo
        if pktinfo is None:
            return ()
        if self.is_regular:
            return self._destinations[count].unpack_from(self._messages.controls)
        found = [pktinfo.find(self._messages.control(number)) for number in range(count)]
        return [pktinfo.destination(info) if info else _UNICAST for info in found]

    def arrivals(self, numbers: Sequence[int]) -> Sequence[int | None]:
        """Give the kernel's times of arrival of these datagrams, in nanoseconds since 1970."""
        count = len(self._messages.lengths)
        view = self._messages.controls
        if not self.is_regular or view[:HEADER_SIZE] != TIME_HEADER:
            return [arrival(self._messages.control(number)) for number in numbers]
        found = self._times[count].unpack_from(view)
        times = [seconds * _SECOND + rest for seconds, rest in zip(found[0::2], found[1::2])]
        return times if len(numbers) == count else [times[number] for number in numbers]

    def ttls(self, numbers: Sequence[int]) -> Sequence[int]:
        """Give their TTLs."""
        return [self._ttls[number] for number in numbers]

    def ip_header(self, number: int) -> IpHeader:
        """Give both of a datagram."""
        if not self.is_regular or not self._has_ip_header:
            return ip_header(self._messages.control(number))
        return IpHeader(self._ttls[number], self._toses[number])

    def toses(self, numbers: Sequence[int]) -> Sequence[int]:
        """Give their TOS."""
        return [self._toses[number] for number in numbers]

    def mark(self, numbers: Sequence[int], tos: Sequence[int]) -> None:
        """Have the answers to these datagrams leave with L{MAX_TTL} and these TOS."""
        for number, value in zip(numbers, tos):
            self._ttls[number], self._toses[number] = MAX_TTL, value

    def answer_from(self) -> None:
        """
        Reuse pktinfo of all datagrams for their answers, as L{Pktinfo.answer_from} does for one.
        """
        controls, at = self._messages.controls, self._layout.pktinfo + HEADER_SIZE
        if self.pktinfo is IPV4 or _LINK_LOCAL not in controls[at::CONTROL_SIZE].tobytes():
            self._interfaces[:] = _NO_INTERFACES
            return
        for number in range(BATCH):
            IPV6.answer_from(controls, number * CONTROL_SIZE + at)
