"""
Ports that serve datagrams (UDP and UNIX).
"""

from __future__ import annotations

import socket
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

from socketd.net.addresses import describe, host_of, to_address
from socketd.net.mmsg import BATCH, MAX_SIZE
from socketd.net.site import Site


@implementer(IListeningPort, IReadDescriptor, ISystemHandle, ILoggingContext)
class DatagramPort:
    """
    A bound datagram socket that hands what it receives to a protocol.

    It works on every system; L{socketd.net.datagram_batch} has a faster one.

    @ivar stopping: called before the socket is closed.
    """

    stopping: Callable[[], None] | None = None

    def __init__(
        self, reactor: Any, sock: socket.socket, protocol: DatagramProtocol, site: Site
    ) -> None:
        self._reactor = reactor
        self._socket = sock
        self._family = sock.family
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

    def _deliver(self, datagram: bytes, source: Any) -> None:
        if self._site.observed:
            self._show(datagram, source)
        try:
            self._protocol.datagramReceived(datagram, source)
        except Exception as problem:
            self._report(problem, source)

    def _show(self, datagram: bytes, source: Any) -> None:
        self._site.message(host_of(self._family, source), datagram)

    def _report(self, problem: Exception, source: Any) -> None:
        self._site.report(describe(self._family, source or ""), problem)

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
        return to_address(self._family, socket.SOCK_DGRAM, self._socket.getsockname())

    def logPrefix(self) -> str:
        """
        Name this port in a traceback's log line.
        """
        return self._site.name
