"""The portable datagram port (UDP and UNIX)."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterable, Sequence
from errno import ECONNREFUSED
from typing import TYPE_CHECKING, Any

from attrs import define, frozen
from twisted.internet.interfaces import ISystemHandle, IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from socketd.access.addresses import packed
from socketd.access.datagram_guard import REPLY_SIZE, Guard
from socketd.net.addresses import check_host, describe, from_pair, host_of, to_pair
from socketd.net.datagram.cmsg import IpHeader
from socketd.net.datagram.mmsg import BATCH, MAX_SIZE
from socketd.net.port import EXHAUSTED, Port
from socketd.net.service_state import ServiceState

if TYPE_CHECKING:
    from socketd.net.faults.datagrams import FaultyDatagrams

Ancillary = Sequence[tuple[int, int, bytes]]

#: Pause when the system is out of memory (seconds); short, because clients of datagram
#: services have short timeouts.
RECEIVE_PAUSE = 0.1


@frozen(eq=False)
class DatagramTerms:
    """
    The rules by which a port replies to datagrams.

    @ivar guard: checks each datagram; C{None}: all are served.
    @ivar reply_floor: bytes that may reply to the shortest datagram; a longer reply must
        not exceed its datagram.
    @ivar timestamped: whether the protocol needs the arrival time of each datagram; it is then
        answered at once.
    @ivar ip_header: whether it needs the TTL and the TOS, too.
    """

    guard: Guard | None = None
    reply_floor: float = 0
    timestamped: bool = False
    ip_header: bool = False


#: For ports made through L{socketd.net.reactor.batch.BatchReactor}: no rules, as in Twisted.
OPEN = DatagramTerms(reply_floor=math.inf)


@define(eq=False)
class Question:
    """
    A received datagram, with what an answer at a later time needs of it.

    @ivar source: where it came from.
    """

    source: Any
    _port: DatagramPort
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


@implementer(IUDPTransport, ISystemHandle)
class DatagramPort(Port):
    """
    A bound datagram socket that delivers what it receives to a protocol.

    It works on every system; L{socketd.net.datagram.batch_port} has a faster one.

    @ivar received_at: the kernel's arrival time of the current datagram (nanoseconds since
        1970); C{None} without a timestamp.
    """

    received_at: int | None = None
    _current: Any = None
    _connected_to: tuple[str, int] | None = None
    _faulty: FaultyDatagrams | None = None

    def __init__(
        self,
        reactor: Any,
        sock: socket.socket,
        protocol: DatagramProtocol,
        service_state: ServiceState,
        terms: DatagramTerms = OPEN,
    ) -> None:
        super().__init__(reactor, sock, service_state)
        self._protocol = protocol
        self._counters = service_state.counters
        self._guard = None if sock.family == socket.AF_UNIX else terms.guard
        # The source of a UNIX datagram cannot be spoofed.
        self.floor = math.inf if sock.family == socket.AF_UNIX else terms.reply_floor
        self._allowance = self.floor

    def started(self) -> None:
        # Else Twisted logs its own line at start and stop.
        self._protocol.noisy = False
        self._protocol.makeConnection(self)
        self.update_faults()

    def close(self) -> None:
        self._end_faults()
        super().close()

    def release(self) -> None:
        self._end_faults()
        super().release()

    def closed(self) -> None:
        self._protocol.doStop()

    @property
    def destination(self) -> Any:
        """The address that the current datagram was sent to, as C{getHost} returns it."""
        return self.getHost()

    @property
    def ip_header(self) -> IpHeader:
        """What the IP header of the current datagram said. Nothing here."""
        return IpHeader()

    def mark(self, tos: int) -> None:
        """Have the next answer leave with the TTL of measurements and this TOS. Not here."""

    def marked(self, tos: int) -> Ancillary:
        """Give the control messages of L{mark}. None here."""
        return ()

    def update_faults(self) -> None:
        """
        Apply the fault profile that the service has now; without one, nothing stands between
        port and protocol, and what was held is sent.
        """
        faults = self._service_state.faults
        if faults is None:
            self._end_faults()
        elif self._faulty is not None:
            self._faulty.faults = faults
        else:
            # Lazy, for most daemons have no fault profile.
            from socketd.net.faults.datagrams import FaultyDatagrams

            protocol = self._protocol
            faulty = FaultyDatagrams(self, protocol, self._reactor, self._service_state, faults)
            self._faulty = self._protocol = protocol.transport = faulty

    def _end_faults(self) -> None:
        faulty, self._faulty = self._faulty, None
        if faulty is not None:
            self._protocol = faulty.protocol
            self._protocol.transport = self
            faulty.end()

    def forget(self) -> None:
        """Clear the cached verdicts of the guard: its rules may have changed. None here."""

    def doRead(self) -> None:
        try:
            self._receive_all()
        except (OSError, MemoryError) as problem:
            self._stop_reading(problem)

    def _receive_all(self) -> None:
        counters, guard = self._counters, self._guard
        for _ in range(BATCH):
            data, name = self._socket.recvfrom(MAX_SIZE)
            source = to_pair(self._family, name)
            counters.datagrams_received += 1
            counters.datagram_bytes_received += len(data)
            reason = None if guard is None else guard.check(packed(name[0]), name[1])
            if reason is None:
                self._deliver(data, source)
            else:
                self.drop(reason)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count datagrams or answers that are dropped."""
        self._counters.datagrams_dropped[reason] += count

    def _stop_reading(self, problem: OSError | MemoryError) -> None:
        """
        Handle the error that ended a read: nothing is pending, an earlier reply met
        connection refused, or the system is out of memory, which pauses the port.
        """
        if isinstance(problem, MemoryError) or problem.errno in EXHAUSTED:
            self.pause(RECEIVE_PAUSE)
        else:
            self._note_refusal(problem)

    def _note_refusal(self, problem: OSError) -> None:
        """Report connection refused to a protocol with a connected peer."""
        if problem.errno == ECONNREFUSED and self._connected_to is not None:
            try:
                self._protocol.connectionRefused()
            except Exception as raised:
                self._report(raised, self._connected_to)

    def _deliver(self, datagram: bytes, source: Any) -> None:
        self._current = source
        self._allowance = max(len(datagram), self.floor)
        if self._service_state.observed:
            self._show(datagram, source)
        try:
            self._protocol.datagramReceived(datagram, source)
        except Exception as problem:
            self._report(problem, source)

    def _show(self, datagram: bytes, source: Any) -> None:
        peer = describe(self._family, source or "")
        self._service_state.message(host_of(self._family, source), datagram, peer, None)

    def _report(self, problem: Exception, source: Any) -> None:
        self._service_state.report(describe(self._family, source or ""), problem)

    def write(self, datagram: bytes, addr: Any = None) -> None:
        """
        Send a datagram; what the kernel refuses is only counted, since a source address can
        be spoofed, and a reply to port 0 or 255.255.255.255 cannot be sent.

        @param addr: an address as the protocol receives it; C{None} for the connected
            peer, and for an unnamed UNIX socket, which cannot receive a reply.
        """
        if addr is not None and addr != self._current and self._family != socket.AF_UNIX:
            check_host(self._family, addr[0])
        # All replies to a datagram together must not be longer than it; else they would
        # amplify toward a spoofed source.
        if len(datagram) > self._allowance:
            self.drop(REPLY_SIZE)
            return
        self._allowance -= len(datagram)
        self._send(datagram, addr)

    def _send(self, datagram: bytes, addr: Any, ancillary: Ancillary = ()) -> None:
        try:
            name = None if addr is None else from_pair(self._family, addr)
            self._socket.sendmsg([datagram], ancillary, 0, name)
        except OSError as problem:
            self._counters.datagrams_unsent += 1
            self._note_refusal(problem)
        else:
            self._counters.datagrams_sent += 1
            self._counters.datagram_bytes_sent += len(datagram)

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

    def trusts(self, source: Any) -> bool:
        """Whether a source cannot be forged, or is exempt from the rules."""
        return self._guard is None or self._guard.is_exempt(packed(source[0]))

    def _ancillary(self) -> Ancillary:
        """
        Give the control messages of an answer to the current datagram, by which it leaves from
        the address that was asked. None here.
        """
        return ()

    def send_now(self, datagram: bytes, addr: Any, ancillary: Ancillary) -> None:
        """Send after all that was written before."""
        self._send(datagram, addr, ancillary)

    def writeSequence(self, seq: Iterable[bytes], addr: Any) -> None:
        """Send several pieces as one datagram."""
        self.write(b"".join(seq), addr)

    def connect(self, host: str, port: int) -> None:
        if self._connected_to is not None:
            raise RuntimeError("already connected; a port has one peer for good")
        check_host(self._family, host)
        self._socket.connect(from_pair(self._family, (host, port)))
        self._connected_to = host, port

    def getBroadcastAllowed(self) -> bool:
        return bool(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST))

    def setBroadcastAllowed(self, enabled: bool) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, enabled)

    def getHandle(self) -> socket.socket:
        return self._socket
