"""
Ports that serve datagrams (UDP and UNIX).
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    ILoggingContext,
    IReadDescriptor,
    ISystemHandle,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.net import mmsg
from socketd.net.addresses import describe, host_of, to_address
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


@implementer(IListeningPort, IReadDescriptor, ISystemHandle, ILoggingContext)
class DatagramPort:
    """
    A bound datagram socket that hands what it receives to a protocol.

    It works on every system; L{BatchedDatagramPort} is the faster one.

    @ivar stopping: called before the socket is closed.
    """

    stopping: Callable[[], None] | None = None

    def __init__(
        self, reactor: Any, sock: socket.socket, protocol: DatagramProtocol, site: Site
    ) -> None:
        self._reactor = reactor
        self._socket = sock
        self._protocol = protocol
        self._site = site

    def startListening(self) -> None:
        """
        Begin to receive; the socket is bound already.
        """
        # Twisted would log a line of its own at start and stop.
        self._protocol.noisy = False
        self._protocol.makeConnection(self)  # type: ignore[arg-type]
        self._reactor.addReader(self)

    def stopListening(self) -> Deferred[None]:
        """
        Receive no more and close the socket.
        """
        stopped: Deferred[None] = Deferred()
        if self.fileno() != -1:
            if self.stopping is not None:
                self.stopping()
            self._reactor.removeReader(self)
            self._socket.close()
            self._protocol.doStop()
        stopped.callback(None)
        return stopped

    def doRead(self) -> None:
        """
        Receive what waits, as far as one turn goes.
        """
        for _ in range(BATCH):
            try:
                data, source = self._socket.recvfrom(MAX_SIZE)
            except OSError:
                # Nothing is left; or the kernel reports that an earlier answer
                # did not arrive, which concerns nobody here.
                return
            self._site.tally.datagrams_received += 1
            self._deliver(data, source)

    def _deliver(self, data: bytes, source: Any) -> None:
        if self._site.observed:
            self._site.message(host_of(self._socket.family, source), data)
        try:
            self._protocol.datagramReceived(data, source)
        except Exception as problem:
            self._site.report(describe(self._socket.family, source or ""), problem)

    def write(self, datagram: bytes, addr: Any = None) -> None:
        """
        Send a datagram to where another one came from.

        What the kernel refuses is counted: a source address can be forged, and
        neither port 0 nor 255.255.255.255 can be answered.

        @param addr: the address, as the protocol received it.
        """
        try:
            self._socket.sendto(datagram, addr)
        except (OSError, TypeError):
            # An unnamed UNIX socket has no address to answer to (TypeError).
            self._site.tally.datagrams_unsent += 1
        else:
            self._site.tally.datagrams_sent += 1

    def writeSequence(self, seq: Iterable[bytes], addr: Any) -> None:
        """
        Send one datagram made of several pieces.
        """
        self.write(b"".join(seq), addr)

    def connectionLost(self, reason: Failure) -> None:
        """
        Close, because the reactor lost the socket.
        """
        self.stopListening()

    def fileno(self) -> int:
        """
        The descriptor; -1 when closed.
        """
        return self._socket.fileno()

    def getHandle(self) -> socket.socket:
        """
        The socket.
        """
        return self._socket

    def getHost(self) -> IAddress:
        """
        The address that is served.
        """
        return to_address(self._socket.family, socket.SOCK_DGRAM, self._socket.getsockname())

    def logPrefix(self) -> str:
        """
        Name this port in a traceback's log line.
        """
        return self._site.name


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
        self._index = self._queued = self._name_length = self._control_length = 0
        self._current: Any = None
        _ask_for_destination(sock)

    def doRead(self) -> None:
        """
        Receive what waits, as far as one turn goes, and send the answers.
        """
        messages = self._messages
        try:
            found = messages.receive(self._socket.fileno())
        except OSError:
            # As in the other port.
            return
        lengths = found[3::4]
        names = self._names[len(lengths)].unpack_from(messages.names)
        self._site.tally.datagrams_received += len(lengths)
        self._queued = 0
        for self._index, length in enumerate(lengths):
            index = self._index
            self._name_length, self._control_length, flags = found[4 * index : 4 * index + 3]
            if flags & socket.MSG_TRUNC:
                self._site.tally.datagrams_dropped += 1
                continue
            name = names[index][: self._name_length]
            self._current = self._known.get(name) or self._decode(name)
            start = index * MAX_SIZE
            self._deliver(bytes(messages.data[start : start + length]), self._current)
        self._current = None
        self._flush()

    def write(self, datagram: bytes, addr: Any = None) -> None:
        """
        Send a datagram; the answer to the one that is being served waits for
        the other answers.
        """
        if addr is None or addr is not self._current or len(datagram) > MAX_SIZE:
            super().write(datagram, addr)
            return
        if self._queued > self._index:
            # More answers than datagrams: the next header is not free yet.
            self._flush()
        if self._queued != self._index:
            self._messages.move(self._index, self._queued)
        if self._control_length:
            self._answer_from(self._queued * CONTROL_SIZE)
        self._messages.put(self._queued, datagram, self._name_length, self._control_length)
        self._queued += 1

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
        if self._socket.family == socket.AF_INET:
            control[_IPV4_INDEX] = bytes(4)
        elif int.from_bytes(control[_IPV6_PREFIX], "big") & 0xFFC0 != 0xFE80:
            control[_IPV6_INDEX] = bytes(4)

    def _decode(self, name: bytes) -> Any:
        """
        Make an address as the socket module has it; the IPv6 scope is kept.
        """
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        family = self._socket.family
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


def _ask_for_destination(sock: socket.socket) -> None:
    """
    Have the kernel tell which address a datagram was sent to, where it may be
    one of several.
    """
    name = sock.getsockname()
    if sock.family == socket.AF_INET and name[0] == "0.0.0.0":
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    elif sock.family == socket.AF_INET6 and name[0] == "::":
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)


def _name_formats(size: int) -> list[struct.Struct]:
    """
    Make the formats that read the addresses of so many headers at once.
    """
    one = f"{size}s{NAME_SIZE - size}x"
    return [struct.Struct(one * count) for count in range(BATCH + 1)]
