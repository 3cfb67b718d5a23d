"""
What ports of streams and of datagrams have in common.
"""

from __future__ import annotations

import socket as sockets
from collections.abc import Callable
from errno import EBADF, EMFILE, ENFILE, ENOBUFS, ENOMEM
from os import strerror
from select import POLLIN, poll
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from socketd.net.addresses import to_address
from socketd.net.service_state import ServiceState

#: What the system says when it has no descriptor or memory left.
EXHAUSTED = (EMFILE, ENFILE, ENOBUFS, ENOMEM)

#: So often a port that is to be closed serves what one turn takes, 64 connections or 32
#: datagrams: together that is a full queue of listeners.DEFAULT_BACKLOG.
LAST_TURNS = 64


class Port:
    """
    A bound socket that is served until it is stopped.

    @ivar stopping: called before the socket is closed.
    @ivar rebind: binds another socket, for a port that is started once more; C{None}
        where the socket came from elsewhere.
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

    def startListening(self) -> None:
        """
        Begin to serve; the socket is bound, unless the port was stopped before.

        @raise CannotListenError: if it cannot be bound again.
        """
        if self.fileno() == -1:
            if self.rebind is None:
                gone = OSError(EBADF, strerror(EBADF))
                raise CannotListenError("the socket of", self._service_state.name, gone)
            self._socket = self.rebind()
        self.started()
        self._watch()

    def stopListening(self) -> Deferred[None]:
        """
        Serve no new peer, and close the socket in the next turn: who asks for it may
        be in the middle of what came by that socket.

        @return: fires then; with what a factory or protocol raised when it was told.
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
        """
        Serve no new peer and close the socket at once.
        """
        if self.fileno() == -1:
            return
        if self.stopping is not None:
            self.stopping()
        self._reactor.removeReader(self)
        self._socket.close()
        self._end()

    def release(self) -> None:
        """
        Serve no new peer, though the socket stays open for another port.
        """
        self._reactor.removeReader(self)
        self._end()

    def finish(self) -> None:
        """
        Serve what has come already, as far as there is room: the socket will be closed,
        and what waits there would be lost.
        """
        for _ in range(LAST_TURNS):
            if self._waits or self._retry is not None or not self._is_ready():
                return
            self.doRead()

    def _is_ready(self) -> bool:
        found = poll()
        found.register(self.fileno(), POLLIN)
        return bool(found.poll(0))

    def doRead(self) -> None:
        """
        Serve what waits, as far as one turn goes.
        """
        raise NotImplementedError

    def pause(self, seconds: float) -> None:
        """
        Leave what waits to the kernel, until the system may have room again.
        """
        self._reactor.removeReader(self)
        self._retry = self._reactor.callLater(seconds, self._resume)

    def _resume(self) -> None:
        self._retry = None
        self._watch()

    def _watch(self) -> None:
        """
        Have the reactor say what comes, unless the port is being stopped.
        """
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
        """
        Tell the factory or protocol that the port begins to serve.
        """

    def closed(self) -> None:
        """
        Let go of what a kind of port has, after its socket was closed or released.
        """

    def connectionLost(self, reason: Failure | None = None) -> None:
        """
        Close, because the reactor lost the socket.
        """
        self.close()

    def fileno(self) -> int:
        """
        The descriptor; -1 when closed.
        """
        return self._socket.fileno()

    def getHost(self) -> Any:
        """
        The address that is served.
        """
        return to_address(self._family, self._socket.type, self._socket.getsockname())

    def __repr__(self) -> str:
        """
        Name the port and its address, for who looks for it.
        """
        address = self.getHost() if self.connected else "closed"
        return f"<{type(self).__name__} of {self._service_state.name}: {address}>"

    # What protocols and their tests look for, though no interface has it.

    @property
    def socket(self) -> sockets.socket:
        """
        The socket.
        """
        return self._socket

    @property
    def connected(self) -> bool:
        """
        Whether the socket is open.
        """
        return self.fileno() != -1

    def logPrefix(self) -> str:
        """
        Name this port in a traceback's log line.
        """
        return self._service_state.name
