"""The datagram port that serves a batch with two system calls: recvmmsg and sendmmsg."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from socketd.access.datagram_guard import DESTINATION
from socketd.net.addresses import from_pair, to_pair
from socketd.net.datagram import mmsg
from socketd.net.datagram.cmsg import (
    answer_from,
    arrival,
    ask_for_arrival,
    ask_for_destination,
    destination,
    disable_ancillary,
    packet_info,
)
from socketd.net.datagram.mmsg import BATCH, CONTROL_SIZE, MAX_SIZE, NAME_SIZE, Messages
from socketd.net.datagram.port import OPEN, DatagramPort, DatagramTerms
from socketd.net.service_state import ServiceState

#: Entries of each address cache of a port; a full cache is cleared.
MAX_KNOWN = 1024

_NAME_SIZES = {socket.AF_INET: 16, socket.AF_INET6: 28, socket.AF_UNIX: 110}

# Offsets within the first control message, its header included: the interface index of
# struct in_pktinfo and in6_pktinfo, the prefix that marks a link-local address, and the
# destination address.
_IPV4_INDEX = slice(16, 20)
_IPV6_INDEX = slice(32, 36)
_IPV6_PREFIX = slice(16, 18)
_IPV4_DESTINATION = slice(24, 28)
_IPV6_DESTINATION = slice(16, 32)

# A plain int: the operators of the enum cost more than a system call.
_TRUNCATED = int(socket.MSG_TRUNC)

#: The reason to drop a truncated datagram: only those of UNIX sockets can exceed the
#: buffer.
TOO_LONG = "too_long"

# Sentinel: unknown or rejected source.
_UNKNOWN = object()


class BatchedDatagramPort(DatagramPort):
    """
    A port that receives and answers many datagrams in two system calls.

    The source address of a reply is the destination address of the datagram, also on a
    wildcard socket (IP_PKTINFO, ip(7); RFC 3542, section 6).
    """

    _shared: Messages | None = None

    def __init__(
        self,
        reactor: Any,
        sock: socket.socket,
        protocol: DatagramProtocol,
        service_state: ServiceState,
        terms: DatagramTerms = OPEN,
    ) -> None:
        super().__init__(reactor, sock, protocol, service_state, terms)
        if BatchedDatagramPort._shared is None:
            BatchedDatagramPort._shared = Messages()
        self._messages = BatchedDatagramPort._shared
        # Caches by raw address: trusted sources, and static verdicts on the others.
        self._known: dict[bytes, Any] = {}
        self._verdicts: dict[bytes, tuple[Any, str | None]] = {}
        self._destinations: dict[bytes, bool] = {}
        self._names = _name_formats(_NAME_SIZES[sock.family])
        self._is_unix = sock.family == socket.AF_UNIX
        disable_ancillary(sock)
        self._asks_for_destination = ask_for_destination(sock)
        self._timestamped = terms.timestamped
        if terms.timestamped:
            ask_for_arrival(sock)
        self._found: Sequence[int] = ()
        self._index = self._queued = self._queued_bytes = 0

    def forget(self) -> None:
        """Clear the cached verdicts."""
        self._known.clear()
        self._verdicts.clear()
        self._destinations.clear()

    def doRead(self) -> None:
        """Receive one batch of pending datagrams, and send the replies."""
        messages = self._messages
        try:
            found = messages.receive(self._socket.fileno())
        except OSError as problem:
            self._stop_reading(problem)
            return
        lengths: Sequence[int] = found[3::4]
        received = sum(lengths)
        names: Sequence[bytes] = self._names[len(lengths)].unpack_from(messages.names)
        if self._is_unix:
            names, lengths = self._cut(names, lengths, found)
        counters = self._service_state.counters
        counters.datagrams_received += len(lengths)
        counters.datagram_bytes_received += received
        self._found, self._queued = found, 0
        try:
            self._deliver_all(names, lengths)
        except MemoryError as problem:
            self._stop_reading(problem)
        self._current = None
        self._flush()

    def _deliver_all(self, names: Sequence[bytes], lengths: Sequence[int]) -> None:
        """Deliver each datagram to the protocol; this loop is the hot path."""
        known, data, floor = self._known, self._messages.data, self._floor
        observed, deliver = self._service_state.observed, self._protocol.datagramReceived
        checked = self._timestamped or (self._asks_for_destination and self._guard is not None)
        for self._index, (name, length) in enumerate(zip(names, lengths)):
            if length < 0 or (checked and not self._check_controls()):
                continue
            start = self._index * MAX_SIZE
            datagram = bytes(data[start : start + length]) if length else b""
            source = known.get(name, _UNKNOWN)
            if source is _UNKNOWN:
                source = self._classify(name)
                if source is _UNKNOWN:
                    continue
            self._current = source
            self._allowance = length if length > floor else floor
            if observed:
                self._show(datagram, source)
            try:
                deliver(datagram, source)
            except Exception as problem:
                self._report(problem, source)

    def _classify(self, name: bytes) -> Any:
        """
        Apply the guard to a source that is not in the cache of trusted ones.

        @return: its address, or C{_UNKNOWN} to drop the datagram.
        """
        if self._is_unix:
            return _unix_address(name[2:])
        found = self._verdicts.get(name)
        if found is None:
            address = self._decode(name)
            found = (address, self._check_static(address))
            if found[1] is None and (self._guard is None or self._guard.is_exempt(address[0])):
                _remember(self._known, name, address)
                return address
            _remember(self._verdicts, name, found)
        address, reason = found
        reason = reason or self._ask(address)
        if reason is None:
            return address
        self._service_state.counters.datagrams_dropped[reason] += 1
        return _UNKNOWN

    def _check_controls(self) -> bool:
        """
        Record the arrival time of a datagram, and say whether its destination is
        acceptable, which multicast and broadcast are not.
        """
        if self._timestamped:
            controls = self._controls()
            self.received_at = arrival(controls)
            info = packet_info(controls) if self._asks_for_destination else None
            sent_to = destination(info) if info else b""
        else:
            start = self._index * CONTROL_SIZE
            where = _IPV4_DESTINATION if self._family == socket.AF_INET else _IPV6_DESTINATION
            sent_to = bytes(self._messages.controls[start : start + CONTROL_SIZE][where])
        if self._guard is None or not sent_to:
            return True
        refused = self._destinations.get(sent_to)
        if refused is None:
            refused = self._guard.refuses_destination(sent_to)
            _remember(self._destinations, sent_to, refused)
        if refused:
            self._service_state.counters.datagrams_dropped[DESTINATION] += 1
        return not refused

    def _controls(self) -> memoryview:
        """The control messages of the current datagram."""
        start = self._index * CONTROL_SIZE
        return self._messages.controls[start : start + self._found[4 * self._index + 1]]

    def _cut(
        self, names: Sequence[bytes], lengths: Sequence[int], found: Sequence[int]
    ) -> tuple[list[bytes], list[int]]:
        """
        Cut the paths to their lengths, and mark truncated datagrams with length -1: only
        those of UNIX sockets can exceed the buffer.
        """
        fits = [not flags & _TRUNCATED for flags in found[2::4]]
        if not all(fits):
            self._service_state.counters.datagrams_dropped[TOO_LONG] += fits.count(False)
        cut = [name[:size] for name, size in zip(names, found[0::4])]
        return cut, [length if fit else -1 for length, fit in zip(lengths, fits)]

    def write(self, datagram: bytes, addr: Any = None) -> None:
        """Send a datagram; a reply to the current datagram is queued until the batch is done."""
        size = len(datagram)
        if addr is None or size > MAX_SIZE or not (
            addr is self._current or addr == self._current
        ):
            super().write(datagram, addr)
            return
        if not self._may_send(size):
            return
        if self._timestamped:
            self._answer_now(datagram, addr)
            return
        index = self._index
        if self._queued > index:
            # More replies than datagrams: the next header is not free yet.
            self._flush()
        queued = self._queued
        if queued != index:
            name_length, control_length = self._found[4 * index : 4 * index + 2]
            self._messages.move(index, queued, name_length, control_length)
        if self._asks_for_destination:
            self._answer_from(queued * CONTROL_SIZE)
        self._messages.put(queued, datagram)
        self._queued = queued + 1
        self._queued_bytes += size

    def _flush(self) -> None:
        count, self._queued = self._queued, 0
        size, self._queued_bytes = self._queued_bytes, 0
        if count:
            refused, refused_bytes = self._messages.send(self._socket.fileno(), count)
            counters = self._service_state.counters
            counters.datagrams_sent += count - refused
            counters.datagrams_unsent += refused
            counters.datagram_bytes_sent += size - refused_bytes

    def _answer_from(self, start: int) -> None:
        """Do as L{answer_from} does, at fixed offsets: pktinfo is the only control message."""
        control = self._messages.controls[start : start + CONTROL_SIZE]
        if self._family == socket.AF_INET:
            control[_IPV4_INDEX] = bytes(4)
        elif int.from_bytes(control[_IPV6_PREFIX], "big") & 0xFFC0 != 0xFE80:
            control[_IPV6_INDEX] = bytes(4)

    def _answer_now(self, datagram: bytes, addr: Any) -> None:
        """Send immediately: a reply with a timestamp must not wait for the batch."""
        info = packet_info(self._controls()) if self._asks_for_destination else None
        ancillary = []
        if info is not None:
            answer_from(info)
            ancillary.append((info.level, info.type, bytes(info.data)))
        try:
            self._socket.sendmsg([datagram], ancillary, 0, from_pair(self._family, addr))
        except OSError:
            self._service_state.counters.datagrams_unsent += 1
        else:
            self._service_state.counters.datagrams_sent += 1
            self._service_state.counters.datagram_bytes_sent += len(datagram)

    def _decode(self, name: bytes) -> Any:
        """Convert a raw socket address to the form that protocols use."""
        family = self._family
        port = int.from_bytes(name[2:4], "big")
        if family == socket.AF_INET:
            return socket.inet_ntop(family, name[4:8]), port
        scope = int.from_bytes(name[24:28], sys.byteorder)
        return to_pair(family, (socket.inet_ntop(family, name[8:24]), port, 0, scope))


def _remember(table: dict[bytes, Any], key: bytes, value: Any) -> None:
    if len(table) >= MAX_KNOWN:
        table.clear()
    table[key] = value


def datagram_port(
    reactor: Any,
    sock: socket.socket,
    protocol: DatagramProtocol,
    service_state: ServiceState,
    terms: DatagramTerms = OPEN,
) -> DatagramPort:
    """Make the fastest port that the system supports."""
    port = BatchedDatagramPort if mmsg.AVAILABLE else DatagramPort
    return port(reactor, sock, protocol, service_state, terms)


def _unix_address(path: bytes) -> str | bytes | None:
    """
    Convert a raw UNIX address: a path becomes str, an abstract name (unix(7)) stays bytes, and
    an unnamed socket is C{None}.
    """
    if path[:1] == b"\0":
        return path
    return os.fsdecode(path.rstrip(b"\0")) or None


def _name_formats(size: int) -> list[struct.Struct]:
    """Make the formats that unpack the addresses of 0 to L{BATCH} headers at once."""
    one = f"{size}s{NAME_SIZE - size}x"
    return [struct.Struct(one * count) for count in range(BATCH + 1)]
