"""
The datagram port that serves a batch with two system calls.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from socketd.net import mmsg
from socketd.net.datagram import DatagramPort
from socketd.net.mmsg import BATCH, CONTROL_SIZE, MAX_SIZE, NAME_SIZE, Messages
from socketd.net.site import Site

#: Addresses that a port remembers in both forms; then it starts anew.
MAX_KNOWN = 1024

# The socket module does not have these two of linux/in.h and linux/in6.h.
_IP_PKTINFO = 8
_IPV6_RECVPKTINFO = 49

# Where struct in_pktinfo and in6_pktinfo have the interface, behind the header of
# the control message; and the first bits of a link-local address.
_IPV4_INDEX = slice(16, 20)
_IPV6_INDEX = slice(32, 36)
_IPV6_PREFIX = slice(16, 18)

_NAME_SIZES = {socket.AF_INET: 16, socket.AF_INET6: 28, socket.AF_UNIX: 110}

# A plain number: the enumeration's operators cost more than a system call.
_TRUNCATED = int(socket.MSG_TRUNC)


class BatchedDatagramPort(DatagramPort):
    """
    A port that receives and answers many datagrams in two system calls.

    The answer to a datagram leaves from the address that the datagram was sent
    to, also where the socket is bound to all addresses (IP_PKTINFO, ip(7); RFC
    3542, section 6).
    """

    _shared: Messages | None = None

    def __init__(
        self, reactor: Any, sock: socket.socket, protocol: DatagramProtocol, site: Site
    ) -> None:
        super().__init__(reactor, sock, protocol, site)
        if BatchedDatagramPort._shared is None:
            BatchedDatagramPort._shared = Messages()
        self._messages = BatchedDatagramPort._shared
        self._known: dict[bytes, Any] = {}
        self._names = _name_formats(_NAME_SIZES[sock.family])
        self._is_unix = sock.family == socket.AF_UNIX
        self._asks_for_destination = _ask_for_destination(sock)
        self._found: Sequence[int] = ()
        self._index = self._queued = 0
        self._current: Any = None

    def doRead(self) -> None:
        """
        Receive what waits, as far as one turn goes, and send the answers.
        """
        messages = self._messages
        try:
            found = messages.receive(self._socket.fileno())
        except OSError:
            # Nothing is left, or an earlier answer did not arrive.
            return
        lengths: Sequence[int] = found[3::4]
        names: Sequence[bytes] = self._names[len(lengths)].unpack_from(messages.names)
        if self._is_unix:
            names, lengths = self._cut(names, lengths, found)
        self._site.tally.datagrams_received += len(lengths)
        self._found, self._queued = found, 0
        self._deliver_all(names, lengths)
        self._current = None
        self._flush()

    def _deliver_all(self, names: Sequence[bytes], lengths: Sequence[int]) -> None:
        """
        Hand each datagram to the protocol; this loop is what a datagram costs.
        """
        known, data = self._known, self._messages.data
        observed, deliver = self._site.observed, self._protocol.datagramReceived
        for self._index, (name, length) in enumerate(zip(names, lengths)):
            if length < 0:
                continue
            self._current = source = known.get(name) or self._decode(name)
            start = self._index * MAX_SIZE
            datagram = bytes(data[start : start + length]) if length else b""
            if observed:
                self._show(datagram, source)
            try:
                deliver(datagram, source)
            except Exception as problem:
                self._report(problem, source)

    def _cut(
        self, names: Sequence[bytes], lengths: Sequence[int], found: Sequence[int]
    ) -> tuple[list[bytes], list[int]]:
        """
        Cut the paths to their lengths, and mark the datagrams that did not fit:
        only those of UNIX sockets can be so long.
        """
        fits = [not flags & _TRUNCATED for flags in found[2::4]]
        self._site.tally.datagrams_dropped += fits.count(False)
        cut = [name[:size] for name, size in zip(names, found[0::4])]
        return cut, [length if fit else -1 for length, fit in zip(lengths, fits)]

    def write(self, datagram: bytes, addr: Any = None) -> None:
        """
        Send a datagram; the answer to the one that is being served waits for
        the other answers.
        """
        if addr is None or addr is not self._current or len(datagram) > MAX_SIZE:
            super().write(datagram, addr)
            return
        index = self._index
        if self._queued > index:
            # More answers than datagrams: the next header is not free yet.
            self._flush()
        queued = self._queued
        if queued != index:
            name_length, control_length = self._found[4 * index : 4 * index + 2]
            self._messages.move(index, queued, name_length, control_length)
        if self._asks_for_destination:
            self._answer_from(queued * CONTROL_SIZE)
        self._messages.put(queued, datagram)
        self._queued = queued + 1

    def _flush(self) -> None:
        count, self._queued = self._queued, 0
        if count:
            refused = self._messages.send(self._socket.fileno(), count)
            self._site.tally.datagrams_sent += count - refused
            self._site.tally.datagrams_unsent += refused

    def _answer_from(self, start: int) -> None:
        """
        Turn "came to this address" into "send from this address".

        The way back is the routing table's choice, unless the address has a
        meaning on its own interface only.
        """
        control = self._messages.controls[start : start + CONTROL_SIZE]
        if self._family == socket.AF_INET:
            control[_IPV4_INDEX] = bytes(4)
        elif int.from_bytes(control[_IPV6_PREFIX], "big") & 0xFFC0 != 0xFE80:
            control[_IPV6_INDEX] = bytes(4)

    def _decode(self, name: bytes) -> Any:
        """
        Make an address as the socket module has it; the IPv6 scope is kept.
        """
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        family = self._family
        if family == socket.AF_UNIX:
            return _unix_address(name[2:])
        port = int.from_bytes(name[2:4], "big")
        if family == socket.AF_INET:
            address: Any = (socket.inet_ntop(family, name[4:8]), port)
        else:
            flow = int.from_bytes(name[4:8], "big")
            scope = int.from_bytes(name[24:28], sys.byteorder)
            address = (socket.inet_ntop(family, name[8:24]), port, flow, scope)
        self._known[name] = address
        return address


def datagram_port(
    reactor: Any, sock: socket.socket, protocol: DatagramProtocol, site: Site
) -> DatagramPort:
    """
    Make the best port that the system has.
    """
    port = BatchedDatagramPort if mmsg.AVAILABLE else DatagramPort
    return port(reactor, sock, protocol, site)


def _unix_address(path: bytes) -> str | bytes | None:
    """
    Tell a path from an abstract name, which begins with a NUL byte (unix(7)).
    """
    if path[:1] == b"\0":
        return path
    return os.fsdecode(path.rstrip(b"\0")) or None


def _ask_for_destination(sock: socket.socket) -> bool:
    """
    Have the kernel tell which address a datagram was sent to, where it may be
    one of several.

    @return: whether it may.
    """
    name = sock.getsockname()
    if sock.family == socket.AF_INET and name[0] == "0.0.0.0":
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        return True
    if sock.family == socket.AF_INET6 and name[0] == "::":
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        return True
    return False


def _name_formats(size: int) -> list[struct.Struct]:
    """
    Make the formats that read the addresses of so many headers at once.
    """
    one = f"{size}s{NAME_SIZE - size}x"
    return [struct.Struct(one * count) for count in range(BATCH + 1)]
