"""
What ports of streams and of datagrams have in common.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.python.failure import Failure

from socketd.net.addresses import to_address
from socketd.net.site import Site


#: What the system says when it has no descriptor or memory left.
EXHAUSTED = (EMFILE, ENFILE, ENOBUFS, ENOMEM)


class Port:
    """
    A bound socket that is served until it is stopped.

    @ivar stopping: called before the socket is closed.
    """

    stopping: Callable[[], None] | None = None
    _retry: IDelayedCall | None = None

    def __init__(self, reactor: Any, sock: socket.socket, site: Site) -> None:
        self._reactor = reactor
        self._socket = sock
        self._family = sock.family
        self._site = site

    def stopListening(self) -> Deferred[None]:
        """
        Serve no new peer and close the socket.
        """
        stopped: Deferred[None] = Deferred()
        if self.fileno() != -1:
            if self.stopping is not None:
                self.stopping()
            self._reactor.removeReader(self)
            self._socket.close()
            self._end()
        stopped.callback(None)
        return stopped

    def release(self) -> None:
        """
        Serve no new peer, though the socket stays open for another port.
        """
        self._reactor.removeReader(self)
        self._end()

    def pause(self, seconds: float) -> None:
        """
        Leave what waits to the kernel, until the system may have room again.
        """
        self._reactor.removeReader(self)
        self._retry = self._reactor.callLater(seconds, self._resume)

    def _resume(self) -> None:
        self._retry = None
        self._reactor.addReader(self)

    def _end(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self.closed()

    def closed(self) -> None:
        """
        Let go of what a kind of port has, after its socket was closed or released.
        """

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
        The address that is served.
        """
        return to_address(self._family, self._socket.type, self._socket.getsockname())

    def logPrefix(self) -> str:
        """
        Name this port in a traceback's log line.
        """
        return self._site.name
