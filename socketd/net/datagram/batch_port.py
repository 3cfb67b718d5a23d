"""The datagram port that serves a batch with two system calls: recvmmsg and sendmmsg."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from socketd.access.addresses import canonical
from socketd.access.datagram_guard import DESTINATION, REPLY_SIZE
from socketd.common.counters import TOO_LONG
from socketd.net.addresses import to_address, to_pair
from socketd.net.datagram import mmsg
from socketd.net.datagram.cmsg import (
    HEADER_SIZE,
    IpHeader,
    answer_header,
    arrival,
    ask_for_arrival,
    ask_for_destination,
    ask_for_ip_header,
    disable_ancillary,
    ip_header,
)
from socketd.net.datagram.mmsg import BATCH, CONTROL_SIZE, MAX_SIZE, NAME_SIZE, Messages, column
from socketd.net.datagram.port import OPEN, Ancillary, DatagramPort, DatagramTerms
from socketd.net.service_state import ServiceState

#: Entries of each address cache of a port; a full cache is cleared.
MAX_CACHED = 1024

#: The sizes of struct sockaddr_in, sockaddr_in6 and sockaddr_un.
_NAME_SIZES = {socket.AF_INET: 16, socket.AF_INET6: 28, socket.AF_UNIX: 110}

# A plain int: the operators of the enum cost more than a system call.
_TRUNCATED = int(socket.MSG_TRUNC)

_NO_DESTINATIONS = (b"",) * BATCH

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
        # Caches: by raw address, the trusted sources and the static verdicts on others; by
        # packed address, the verdicts on destinations.
        self._trusted: dict[bytes, Any] = {}
        self._verdicts: dict[bytes, tuple[Any, tuple[bytes, bytes], str | None]] = {}
        self._destinations: dict[bytes, bool] = {}
        self._is_unix = sock.family == socket.AF_UNIX
        self._names = column(0, _NAME_SIZES[sock.family], NAME_SIZE)
        disable_ancillary(sock)
        self._pktinfo = ask_for_destination(sock)
        if self._pktinfo is not None:
            # At a fixed offset, where pktinfo is the only control message.
            field = self._pktinfo.address
            at, size = HEADER_SIZE + field.start, field.stop - field.start
            self._destination_column = column(at, size, CONTROL_SIZE)
        self._timestamped = terms.timestamped
        if terms.timestamped:
            ask_for_arrival(sock)
            if terms.ip_header:
                ask_for_ip_header(sock)
        self._mark: Ancillary = ()
        self._found: Sequence[int] = ()
        self._index = self._queued = 0

    @property
    def destination(self) -> Any:
        """The address that the current datagram was sent to, also on a wildcard socket."""
        pktinfo, host = self._pktinfo, self.getHost()
        if pktinfo is None or self._current is None:
            return host
        info = pktinfo.find(self._controls(self._index))
        if info is None:
            return host
        address = socket.inet_ntop(self._family, pktinfo.destination(info))
        name = address, host.port, 0, pktinfo.scope(info)
        return to_address(self._family, socket.SOCK_DGRAM, name)

    @property
    def ip_header(self) -> IpHeader:
        return ip_header(self._controls(self._index))

    def mark(self, tos: int) -> None:
        self._mark = self.marked(tos)

    def marked(self, tos: int) -> Ancillary:
        return answer_header(self._family, tos)

    def forget(self) -> None:
        self._trusted.clear()
        self._verdicts.clear()
        self._destinations.clear()

    def doRead(self) -> None:
        messages = self._messages
        try:
            found = messages.receive(self._socket.fileno())
        except OSError as problem:
            self._stop_reading(problem)
            return
        lengths: Sequence[int] = found[3::4]
        counters = self._counters
        counters.datagrams_received += len(lengths)
        counters.datagram_bytes_received += sum(lengths)
        names: Sequence[bytes] = self._names[len(lengths)].unpack_from(messages.names)
        if self._is_unix:
            names, lengths = self._cut(names, lengths, found)
        self._found, self._queued = found, 0
        try:
            self._deliver_all(names, lengths)
        except MemoryError as problem:
            self._stop_reading(problem)
        self._current = None
        self._flush()

    def _deliver_all(self, names: Sequence[bytes], lengths: Sequence[int]) -> None:
        """Deliver each datagram to the protocol; this loop is the hot path."""
        trusted, data, floor = self._trusted, self._messages.data, self._floor
        observed, deliver = self._service_state.observed, self._protocol.datagramReceived
        timestamped, sent_to = self._timestamped, self._sent_to(len(lengths))
        for self._index, (name, length, destination) in enumerate(zip(names, lengths, sent_to)):
            if length < 0 or (destination and self._refuses(destination)):
                continue
            source = trusted.get(name, _UNKNOWN)
            if source is _UNKNOWN:
                source = self._classify(name)
                if source is _UNKNOWN:
                    continue
            if timestamped:
                self.received_at = arrival(self._controls(self._index))
            start = self._index * MAX_SIZE
            datagram = data[start : start + length].tobytes()
            self._current = source
            self._allowance = length if length > floor else floor
            if observed:
                self._show(datagram, source)
            try:
                deliver(datagram, source)
            except Exception as problem:
                self._report(problem, source)

    def _sent_to(self, count: int) -> Sequence[bytes]:
        """The destinations of the datagrams, as far as the guard must know them."""
        pktinfo = self._pktinfo
        if pktinfo is None or self._guard is None:
            return _NO_DESTINATIONS
        if self._timestamped:
            found = [pktinfo.find(self._controls(index)) for index in range(count)]
            return [pktinfo.destination(info) if info else b"" for info in found]
        return self._destination_column[count].unpack_from(self._messages.controls)

    def _classify(self, name: bytes) -> Any:
        """
        Apply the guard to a source that is not in the cache of trusted ones.

        @return: its address, or C{_UNKNOWN} to drop the datagram.
        """
        if self._is_unix:
            return _unix_address(name[2:])
        guard, verdict = self._guard, self._verdicts.get(name)
        if verdict is None:
            source, address = self._decode(name)
            reason = None if guard is None else guard.check_static(address, source[1])
            if guard is None or reason is None and guard.is_exempt(address):
                _remember(self._trusted, name, source)
                return source
            verdict = source, guard.rate_keys(address), reason
            _remember(self._verdicts, name, verdict)
        source, keys, reason = verdict
        if reason is None and guard is not None:
            reason = guard.check_rate(keys)
        if reason is None:
            return source
        self.drop(reason)
        return _UNKNOWN

    def _refuses(self, destination: bytes) -> bool:
        """Say whether the guard refuses a destination: multicast or broadcast."""
        refused = self._destinations.get(destination)
        if refused is None:
            refused = self._guard is not None and self._guard.refuses_destination(destination)
            _remember(self._destinations, destination, refused)
        if refused:
            self.drop(DESTINATION)
        return refused

    def _controls(self, index: int) -> memoryview:
        """The control messages of a datagram."""
        start = index * CONTROL_SIZE
        return self._messages.controls[start : start + self._found[4 * index + 1]]

    def _cut(
        self, names: Sequence[bytes], lengths: Sequence[int], found: Sequence[int]
    ) -> tuple[list[bytes], list[int]]:
        """
        Cut the paths to their lengths, and mark truncated datagrams with length -1: only
        those of UNIX sockets can exceed the buffer.
        """
        fits = [not flags & _TRUNCATED for flags in found[2::4]]
        if not all(fits):
            self._counters.datagrams_dropped[TOO_LONG] += fits.count(False)
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
        # As in DatagramPort.write, without a call.
        if size > self._allowance:
            self.drop(REPLY_SIZE)
            return
        self._allowance -= size
        if self._timestamped:
            # A reply with a timestamp must not wait for the batch.
            self._send(datagram, addr, self._ancillary())
            return
        index = self._index
        if self._queued > index:
            # More replies than datagrams: the next header is not free yet.
            self._flush()
        queued = self._queued
        if queued != index:
            name_length, control_length = self._found[4 * index : 4 * index + 2]
            self._messages.copy_header(index, queued, name_length, control_length)
        if self._pktinfo is not None:
            # At a fixed offset: pktinfo is the only control message.
            at = queued * CONTROL_SIZE + HEADER_SIZE
            self._pktinfo.answer_from(self._messages.controls, at)
        self._messages.fill(queued, datagram)
        self._queued = queued + 1

    def _flush(self) -> None:
        count, self._queued = self._queued, 0
        if count:
            sent, size = self._messages.send(self._socket.fileno(), count)
            self._counters.datagrams_sent += sent
            self._counters.datagrams_unsent += count - sent
            self._counters.datagram_bytes_sent += size

    def _ancillary(self) -> Ancillary:
        mark, self._mark = self._mark, ()
        pktinfo = self._pktinfo
        info = None if pktinfo is None else pktinfo.find(self._controls(self._index))
        if pktinfo is None or info is None:
            return mark
        pktinfo.answer_from(info)
        return [(pktinfo.level, pktinfo.type, bytes(info)), *mark]

    def send_now(self, datagram: bytes, addr: Any, ancillary: Ancillary) -> None:
        self._flush()
        self._send(datagram, addr, ancillary)

    def _decode(self, name: bytes) -> tuple[tuple[str, int], bytes]:
        """
        Read a raw socket address.

        @return: the host and port that protocols use, and the packed address.
        """
        family = self._family
        port = int.from_bytes(name[2:4], "big")
        if family == socket.AF_INET:
            address = name[4:8]
            return (socket.inet_ntop(family, address), port), address
        address, scope = name[8:24], int.from_bytes(name[24:28], sys.byteorder)
        pair = to_pair(family, (socket.inet_ntop(family, address), port, 0, scope))
        return pair, canonical(address)


def _remember(table: dict[bytes, Any], key: bytes, value: Any) -> None:
    if len(table) >= MAX_CACHED:
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
