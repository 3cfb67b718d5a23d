"""The datagram port that serves a batch with two system calls: recvmmsg and sendmmsg."""

from __future__ import annotations

import math
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

from attrs import define
from twisted.internet.protocol import DatagramProtocol

from socketd.access.addresses import canonical
from socketd.access.datagram_guard import DESTINATION, REPLY_SIZE
from socketd.common.counters import TOO_LONG
from socketd.net.addresses import to_address, to_pair
from socketd.net.datagram.batch import DatagramBatch
from socketd.net.datagram.cmsg import IpHeader, answer_header
from socketd.net.datagram.controls import NAME_SIZES, Controls
from socketd.net.datagram.mmsg import BATCH, MAX_SIZE, NAME_SIZE, ORDER, Messages, rows
from socketd.net.datagram.port import OPEN, Ancillary, DatagramPort, DatagramTerms
from socketd.net.datagram.recent import Recent
from socketd.net.service_state import ServiceState
from socketd.protocols.batches import IBatchProtocol

# A plain int: the operators of the enum cost more than a system call.
_TRUNCATED = int(socket.MSG_TRUNC)

_NO_TIMES = (None,) * BATCH

# Sentinel: unknown or rejected source.
_UNKNOWN = object()


@define(eq=False)
class Question:
    """
    A received datagram, with what an answer at a later time needs of it.

    @ivar source: where it came from.
    """

    source: Any
    _port: BatchedDatagramPort
    _ancillary: Ancillary
    _allowance: float

    @property
    def trusted(self) -> bool:
        """Whether its source cannot be forged, or is exempt from the rules."""
        return self._port.trusts(self.source)

    def answer(self, datagram: bytes) -> None:
        """Answer, by the rule for the length of replies, from the address that was asked."""
        if self.spend(len(datagram)):
            self.send(datagram)

    def spend(self, size: int) -> bool:
        """Take so many bytes from what may answer it; else count them as dropped."""
        if size > self._allowance:
            self._port.drop(REPLY_SIZE)
            return False
        self._allowance -= size
        return True

    def mark(self, tos: int) -> None:
        """Have the answers leave with the TTL of measurements and this TOS."""
        self._ancillary = [*self._ancillary, *self._port.marked(tos)]

    def send(self, datagram: bytes) -> None:
        """Send an answer that was paid for."""
        self._port.send_now(datagram, self.source, self._ancillary)


class BatchedDatagramPort(DatagramPort):
    """
    A port that receives and answers many datagrams in two system calls.

    The source address of a reply is the destination address of the datagram, also on a
    wildcard socket (IP_PKTINFO, ip(7); RFC 3542, section 6).

    @ivar received_at: the kernel's arrival time of the current datagram (nanoseconds since
        1970); C{None} without a timestamp.
    """

    received_at: int | None = None
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
        self.messages = BatchedDatagramPort._shared
        # By raw address, the trusted sources and the static verdicts on others; by packed
        # address, whether a destination is refused.
        self._trusted, self._verdicts, self._destinations = Recent(), Recent(), Recent()
        self._is_unix = sock.family == socket.AF_UNIX
        self._names = rows(f"{NAME_SIZES[sock.family]}s", 0, NAME_SIZE)
        self.controls = Controls(self.messages, sock, terms.timestamped, terms.ip_header)
        self._pktinfo = self.controls.pktinfo
        # Whether the guard must know where each datagram was sent to.
        self._hears_many = self._pktinfo is not None and self._guard is not None
        self._timestamped = self._at_once = terms.timestamped
        self._mark: Ancillary = ()
        self._name_lengths: Sequence[int] = ()
        self._index = 0
        self._answers: list[bytes] = []
        self._answered: list[int] = []
        self._batched: Any = protocol if IBatchProtocol.providedBy(protocol) else None

    @property
    def destination(self) -> Any:
        """The address that the current datagram was sent to, also on a wildcard socket."""
        pktinfo, host = self._pktinfo, self.getHost()
        if pktinfo is None or self._current is None:
            return host
        info = pktinfo.find(self.messages.control(self._index))
        if info is None:
            return host
        address = socket.inet_ntop(self._family, pktinfo.destination(info))
        name = address, host.port, 0, pktinfo.scope(info)
        return to_address(self._family, socket.SOCK_DGRAM, name)

    @property
    def ip_header(self) -> IpHeader:
        """What the IP header of the current datagram said."""
        return self.controls.ip_header(self._index)

    def mark(self, tos: int) -> None:
        """Have the next answer leave with the TTL of measurements and this TOS."""
        self._mark = self.marked(tos)

    def marked(self, tos: int) -> Ancillary:
        """Give the control messages of L{mark}."""
        return answer_header(self._family, tos)

    def forget(self) -> None:
        """Clear the cached verdicts of the guard: its rules may have changed."""
        for table in (self._trusted, self._verdicts, self._destinations):
            table.forget()

    def doRead(self) -> None:
        messages = self.messages
        try:
            lengths: Sequence[int] = messages.receive(self._socket.fileno())
        except OSError as problem:
            self._stop_reading(problem)
            return
        count, counters = len(lengths), self._counters
        counters.datagrams_received += count
        counters.datagram_bytes_received += sum(lengths)
        names: Sequence[bytes] = self._names[count].unpack_from(messages.names)
        controls = self.controls
        if controls.size:
            controls.check(count)
            self._at_once = self._timestamped or not controls.is_regular
        if self._is_unix:
            names, lengths = self._cut(names, lengths)
        try:
            self._serve(names, lengths)
        except MemoryError as problem:
            self._stop_reading(problem)
        self._current = None
        if self._answers:
            self.flush()

    def _serve(self, names: Sequence[bytes], lengths: Sequence[int]) -> None:
        """Have the datagrams answered that the guard lets in: all at once, or one by one."""
        numbers, sources = self._admit(names, lengths)
        if len(numbers) < len(lengths):
            lengths = [lengths[number] for number in numbers]
        observed, is_regular = self._service_state.observed, self.controls.is_regular
        if self._batched is None or len(numbers) < 2 or observed or self._faulty or not is_regular:
            self.deliver(numbers, lengths, sources)
        else:
            batch = DatagramBatch(self, numbers, lengths, sources)
            try:
                self._batched.batch_received(batch)
            except Exception as problem:
                self._report(problem, batch.next_source)
            batch.end()

    def deliver(
        self, numbers: Sequence[int], lengths: Sequence[int], sources: Sequence[Any]
    ) -> None:
        """Pass each of these datagrams to the protocol; this loop is the hot path."""
        data, floor = self.messages.data, self.floor
        observed, deliver = self._service_state.observed, self._protocol.datagramReceived
        times = self.controls.arrivals(numbers) if self._timestamped else _NO_TIMES
        for index, length, source, time in zip(numbers, lengths, sources, times):
            self._index, self.received_at = index, time
            start = index * MAX_SIZE
            datagram = data[start : start + length].tobytes()
            self._current = source
            self._allowance = length if length > floor else floor
            if observed:
                self._show(datagram, source)
            try:
                deliver(datagram, source)
            except Exception as problem:
                self._report(problem, source)

    def _admit(
        self, names: Sequence[bytes], lengths: Sequence[int]
    ) -> tuple[Sequence[int], Sequence[Any]]:
        """
        Apply the guard to what was received, and mostly to all at once.

        @return: the datagrams that are served, and the addresses of their sources.
        """
        destinations = self.controls.destinations(len(names)) if self._hears_many else ()
        try:
            if not destinations or not any(map(self._destinations.__getitem__, destinations)):
                return ORDER[len(names)], [*map(self._trusted.__getitem__, names)]
        except KeyError:
            # One that is not among the younger entries of its table.
            pass
        numbers, sources = [], []
        for number, (name, length) in enumerate(zip(names, lengths)):
            if length < 0:
                continue
            if destinations and self._is_refused(destinations[number]):
                self.drop(DESTINATION)
                continue
            source = self._trusted.get(name, _UNKNOWN)
            if source is _UNKNOWN:
                source = self._classify(name)
            if source is not _UNKNOWN:
                numbers.append(number)
                sources.append(source)
        return numbers, sources

    def _classify(self, name: bytes) -> Any:
        """
        Apply the guard to a source that is not among the younger trusted ones.

        @return: its address, or C{_UNKNOWN} to drop the datagram.
        """
        if self._is_unix:
            return _unix_address(name[2:])
        known = self._trusted.recall(name, _UNKNOWN)
        if known is not _UNKNOWN:
            return known
        guard, verdict = self._guard, self._verdicts.recall(name)
        if verdict is None:
            source, address = self._decode(name)
            reason = None if guard is None else guard.check_static(address, source[1])
            if guard is None or reason is None and guard.is_exempt(address):
                self._trusted.remember(name, source)
                return source
            verdict = source, guard.rate_keys(address), reason
            self._verdicts.remember(name, verdict)
        source, keys, reason = verdict
        if reason is None and guard is not None:
            reason = guard.check_rate(keys)
        if reason is None:
            return source
        self.drop(reason)
        return _UNKNOWN

    def _is_refused(self, destination: bytes) -> bool:
        """Say whether the guard refuses a destination: multicast or broadcast."""
        guard, refused = self._guard, self._destinations.recall(destination)
        if refused is None:
            refused = guard is not None and guard.refuses_destination(destination)
            self._destinations.remember(destination, refused)
        return bool(refused)

    def _cut(
        self, names: Sequence[bytes], lengths: Sequence[int]
    ) -> tuple[list[bytes], list[int]]:
        """
        Cut the paths to their lengths, and mark truncated datagrams with length -1: only
        those of UNIX sockets can exceed the buffer.
        """
        count = len(names)
        fits = [not flags & _TRUNCATED for flags in self.messages.flags(count)]
        if not all(fits):
            self._counters.datagrams_dropped[TOO_LONG] += fits.count(False)
        self._name_lengths = self.messages.name_lengths(count)
        cut = [name[:size] for name, size in zip(names, self._name_lengths)]
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
        if self._at_once:
            # A reply with a timestamp must not wait for the batch.
            self._send(datagram, addr, self._ancillary())
            return
        if len(self._answers) == BATCH:
            self.flush()
        self._answers.append(datagram)
        self._answered.append(self._index)

    def flush(self) -> None:
        """Send the answers that wait."""
        if self._answers:
            size = self.messages.fill(self._answers)
            self.send_to(tuple(self._answered), size)
            self._answers.clear()
            self._answered.clear()

    def send_to(
        self, numbers: Sequence[int], size: int, tos: Sequence[int] | None = None
    ) -> None:
        """
        Send answers to these datagrams.

        @param size: the bytes of their payloads, which are filled in.
        @param tos: the TOS of each, whose TTL is 255 then.
        """
        controls, counters = self.controls, self._counters
        headers = controls.headers
        if self._pktinfo is not None:
            controls.answer_from()
        if tos is not None:
            headers = controls.marked_headers
            controls.mark(numbers, tos)
        lengths = [self._name_lengths[number] for number in numbers] if self._is_unix else ()
        refused, lost = self.messages.send(self._socket.fileno(), headers, numbers, lengths)
        counters.datagrams_sent += len(numbers) - refused
        counters.datagrams_unsent += refused
        counters.datagram_bytes_sent += size - lost

    def question(self) -> Question:
        """
        Take over the answering of the current datagram, also for a time when it is no longer
        the current one; L{write} can no longer answer it, unless there is no rule for the
        length of replies: then this port also sends unasked.
        """
        allowance = self._allowance
        if self.floor < math.inf:
            self._allowance = 0
        return Question(self._current, self, self._ancillary(), allowance)

    def _ancillary(self) -> Ancillary:
        """
        Give the control messages of an answer to the current datagram, by which it leaves from
        the address that was asked.
        """
        mark, self._mark = self._mark, ()
        pktinfo = self._pktinfo
        info = None if pktinfo is None else pktinfo.find(self.messages.control(self._index))
        if pktinfo is None or info is None:
            return mark
        pktinfo.answer_from(info)
        return [(pktinfo.level, pktinfo.type, bytes(info)), *mark]

    def send_now(self, datagram: bytes, addr: Any, ancillary: Ancillary) -> None:
        """Send after all that was written before."""
        self.flush()
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


def _unix_address(path: bytes) -> str | bytes | None:
    """
    Convert a raw UNIX address: a path becomes str, an abstract name (unix(7)) stays bytes, and
    an unnamed socket is C{None}.
    """
    if path[:1] == b"\0":
        return path
    return os.fsdecode(path.rstrip(b"\0")) or None
