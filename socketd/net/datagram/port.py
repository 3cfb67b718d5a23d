"""What a datagram port (UDP and UNIX) sends, and how it is switched; it receives in batches."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterable, Sequence
from errno import ECONNREFUSED
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.interfaces import ISystemHandle, IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from socketd.access.addresses import packed
from socketd.access.datagram_guard import REPLY_SIZE, Guard
from socketd.net.addresses import check_host, describe, from_pair, host_of
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


@implementer(IUDPTransport, ISystemHandle)
class DatagramPort(Port):
    """A bound datagram socket and its protocol; L{socketd.net.datagram.batch_port} receives."""

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

    def trusts(self, source: Any) -> bool:
        """Whether a source cannot be forged, or is exempt from the rules."""
        return self._guard is None or self._guard.is_exempt(packed(source[0]))

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
