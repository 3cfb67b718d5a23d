"""
Ports that accept connections (TCP and UNIX).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from errno import ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM, EPROTO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    ILoggingContext,
    IProtocolFactory,
    IReadDescriptor,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.events import ACCEPT_FAILED
from socketd.net.addresses import to_address
from socketd.net.connection import StreamConnection
from socketd.net.site import Site

#: Connections that one wake-up accepts, so that the others have their turn.
MAX_ACCEPTS = 64

#: How long to wait when the system has no descriptor or memory left (seconds).
ACCEPT_PAUSE = 1.0

#: While that lasts, it is logged once in so many seconds.
ACCEPT_LOG_INTERVAL = 10.0

_EXHAUSTED = (EMFILE, ENFILE, ENOBUFS, ENOMEM)
_ACCEPT_AGAIN = (ECONNABORTED, EPERM, EPROTO)


@implementer(IListeningPort, IReadDescriptor, ILoggingContext)
class StreamPort:
    """
    A listening socket that accepts connections for a factory.

    @ivar stopping: called before the socket is closed.
    """

    stopping: Callable[[], None] | None = None

    def __init__(
        self, reactor: Any, sock: socket.socket, factory: IProtocolFactory, site: Site
    ) -> None:
        self._reactor = reactor
        self._socket = sock
        self._factory = factory
        self._site = site
        self._retry: IDelayedCall | None = None
        self._logged = float("-inf")

    def startListening(self) -> None:
        """
        Begin to accept; the socket listens already.
        """
        self._factory.doStart()
        self._reactor.addReader(self)

    def stopListening(self) -> Deferred[None]:
        """
        Accept no more and close the socket.
        """
        stopped: Deferred[None] = Deferred()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self.fileno() != -1:
            if self.stopping is not None:
                self.stopping()
            self._reactor.removeReader(self)
            self._socket.close()
            self._factory.doStop()
        stopped.callback(None)
        return stopped

    def doRead(self) -> None:
        """
        Accept what waits, as far as one turn goes.
        """
        for _ in range(MAX_ACCEPTS):
            try:
                sock, peer = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as problem:
                if problem.errno in _ACCEPT_AGAIN:
                    continue
                self._pause(problem)
                return
            self._serve(sock, peer)

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

    def getHost(self) -> IAddress:
        """
        The address that is listened at.
        """
        name = self._socket.getsockname()
        return to_address(self._socket.family, socket.SOCK_STREAM, name)

    def logPrefix(self) -> str:
        """
        Name this port in a traceback's log line.
        """
        return self._site.name

    def _serve(self, sock: socket.socket, peer: Any) -> None:
        sock.setblocking(False)
        connection = StreamConnection(self._reactor, sock, peer, self._site)
        try:
            protocol = self._factory.buildProtocol(connection.getPeer())
        except Exception as problem:
            # Whatever one protocol does, the next connection is accepted.
            connection.report(problem)
            protocol = None
        if protocol is None:
            sock.close()
        else:
            connection.begin(protocol)

    def _pause(self, problem: OSError) -> None:
        """
        Wait until the system may have room again; what waits is not lost.
        """
        self._site.tally.accepts_failed += 1
        self._reactor.removeReader(self)
        self._retry = self._reactor.callLater(ACCEPT_PAUSE, self._resume)
        now = self._reactor.seconds()
        if now - self._logged >= ACCEPT_LOG_INTERVAL:
            self._logged = now
            self._site.emit(ACCEPT_FAILED, error=problem.strerror, seconds=ACCEPT_PAUSE)

    def _resume(self) -> None:
        self._retry = None
        self._reactor.addReader(self)
