"""The base class of stream and datagram ports."""

from __future__ import annotations

import socket as sockets
from collections.abc import Callable
from errno import EBADF, EMFILE, ENFILE, ENOBUFS, ENOMEM
from os import strerror
from select import POLLIN, poll
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IDelayedCall,
    IListeningPort,
    ILoggingContext,
    IReadDescriptor,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.net.addresses import to_address
from socketd.net.service_state import ServiceState

#: Errors that mean a shortage of descriptors or memory.
EXHAUSTED = (EMFILE, ENFILE, ENOBUFS, ENOMEM)

#: Reads before a port is closed, of up to 64 connections or 32 datagrams each: together, a
#: full backlog of listeners.DEFAULT_BACKLOG connections.
LAST_TURNS = 64


@implementer(IListeningPort, IReadDescriptor, ILoggingContext)
class Port:
    """
    A bound socket that is served until it is stopped.

    @ivar stopping: called before the socket is closed.
    @ivar rebind: binds a new socket when a stopped port is restarted; C{None} for an
        inherited socket.
    """

    stopping: Callable[[], None] | None = None
    rebind: Callable[[], sockets.socket] | None = None
    _retry: IDelayedCall | None = None
    _closing: IDelayedCall | None = None
    _waits = False

    def __init__(self, reactor: Any, sock: sockets.socket, service_state: ServiceState) -> None:
        self._reactor = reactor
        self._socket = sock
        self._family = sock.family
        self._service_state = service_state
        self._waiting: list[Deferred[None]] = []

    def update_faults(self) -> None:
        """Misbehave as the fault profile says that the service has now, or no more."""

    def startListening(self) -> None:
        """Start serving; a port that was stopped binds a new socket first."""
        if self.fileno() == -1:
            if self.rebind is None:
                gone = OSError(EBADF, strerror(EBADF))
                raise CannotListenError("the socket of", self._service_state.name, gone)
            self._socket = self.rebind()
        self.started()
        self._watch()

    def stopListening(self) -> Deferred[None]:
        """
        Stop serving new peers, and close the socket in the next reactor iteration, since the
        caller may be handling an event of it; fails with an exception of factory or protocol.
        """
        stopped: Deferred[None] = Deferred()
        if self.fileno() == -1:
            stopped.callback(None)
            return stopped
        self._waiting.append(stopped)
        if self._closing is None:
            self._reactor.removeReader(self)
            self._closing = self._reactor.callLater(0, self.close)
        return stopped

    def close(self) -> None:
        """Stop serving new peers and close the socket at once."""
        if self.fileno() == -1:
            return
        if self.stopping is not None:
            self.stopping()
        self._reactor.removeReader(self)
        self._socket.close()
        self._end()

    def release(self) -> None:
        """Stop serving new peers, but keep the socket open for another port."""
        self._reactor.removeReader(self)
        self._end()

    def finish(self) -> None:
        """
        Before a close, serve pending connections or datagrams as far as capacity allows, since
        the kernel discards the rest.
        """
        for _ in range(LAST_TURNS):
            if self._waits or self._retry is not None or not self._is_ready():
                return
            self.doRead()

    def _is_ready(self) -> bool:
        found = poll()
        found.register(self, POLLIN)
        return bool(found.poll(0))

    def doRead(self) -> None:
        """Serve pending connections or datagrams, up to the bound of one iteration."""
        raise NotImplementedError

    def pause(self, seconds: float) -> None:
        """Stop reading for some seconds after a shortage; pending input stays in the kernel."""
        self._reactor.removeReader(self)
        self._retry = self._reactor.callLater(seconds, self._resume)

    def _resume(self) -> None:
        self._retry = None
        self._watch()

    def _watch(self) -> None:
        """Resume reading, unless the port is being stopped."""
        if self._closing is None:
            self._reactor.addReader(self)

    def _end(self) -> None:
        for call in (self._retry, self._closing):
            if call is not None and call.active():
                call.cancel()
        self._retry = self._closing = None
        waiting, self._waiting = self._waiting, []
        try:
            self.closed()
        except Exception as problem:
            for stopped in waiting:
                stopped.errback(Failure(problem))
            if not waiting:
                self._service_state.report("", problem)
        else:
            for stopped in waiting:
                stopped.callback(None)

    def started(self) -> None:
        """Called when the port starts serving, to notify the factory or protocol."""

    def closed(self) -> None:
        """Called after the socket was closed or released, to clean up."""

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def getHost(self) -> Any:
        return to_address(self._family, self._socket.type, self._socket.getsockname())

    def __repr__(self) -> str:
        address = self.getHost() if self.connected else "closed"
        return f"<{type(self).__name__} of {self._service_state.name}: {address}>"

    # In no interface, but protocols and their tests use these attributes.

    @property
    def socket(self) -> sockets.socket:
        """The socket."""
        return self._socket

    @property
    def connected(self) -> bool:
        """Whether the socket is open."""
        return self.fileno() != -1

    def logPrefix(self) -> str:
        return self._service_state.name
