"""
A reactor in front of the reactor, for many connections at little cost.
"""

from __future__ import annotations

import select
import socket
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IReactorSocket,
    IReactorTCP,
    IReactorTime,
    IReactorUNIX,
)
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from socketd.events import Journal
from socketd.net.connection import StreamConnection
from socketd.net.datagram_batch import datagram_port
from socketd.net.epoll import EpollSet
from socketd.net.listen import CannotListen, bind
from socketd.net.site import Roster, Site
from socketd.net.stream import StreamPort
from socketd.settings.listeners import Listener
from socketd.settings.model import SocketOptions

# Twisted's own defaults.
_BACKLOG = 50
_MODE = 0o666
_TIMEOUT = 30.0
_PACKET_SIZE = 8192


@implementer(IReactorTCP, IReactorUNIX, IReactorSocket, IReactorTime)
class BatchReactor(EpollSet):
    """
    Serves streams and datagrams with our own ports; all else is the reactor's.

    Whatever takes a reactor takes this one: Twisted's endpoints, its TLS
    wrapper and its producers work on it unchanged.
    """

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self._reactor = reactor
        self.seconds = reactor.seconds
        self.callLater = reactor.callLater
        self.getDelayedCalls = reactor.getDelayedCalls
        self._site = Site("reactor", Journal(self), Roster(), log_connections=False)
        reactor.addReader(self)

    def listenTCP(
        self, port: int, factory: IProtocolFactory, backlog: int = _BACKLOG, interface: str = ""
    ) -> IListeningPort:
        """
        Accept TCP connections for a factory.

        @raise CannotListenError: if the address cannot be had.
        """
        kind = "tcp6" if ":" in interface else "tcp"
        listener = Listener(kind, interface=interface, port=port, backlog=backlog)
        return self._listen(listener, factory, interface, port)

    def listenUNIX(
        self,
        address: str,
        factory: IProtocolFactory,
        backlog: int = _BACKLOG,
        mode: int = _MODE,
        wantPID: bool = False,
    ) -> IListeningPort:
        """
        Accept connections at a path for a factory.

        @param wantPID: without meaning here: a stale file is told from a live
            one by connecting to it.
        @raise CannotListenError: if the path cannot be had.
        """
        listener = Listener("unix", path=address, mode=mode, backlog=backlog)
        return self._listen(listener, factory, None, address)

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = _TIMEOUT,
        bindAddress: Any = None,
    ) -> Any:
        """
        Connect, by the reactor itself.
        """
        return self._reactor.connectTCP(host, port, factory, timeout, bindAddress)

    def connectUNIX(
        self, address: str, factory: Any, timeout: float = _TIMEOUT, checkPID: bool = False
    ) -> Any:
        """
        Connect, by the reactor itself.
        """
        return self._reactor.connectUNIX(address, factory, timeout, checkPID)

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory
    ) -> IListeningPort:
        """
        Accept connections at a socket that listens already; it is duplicated.
        """
        sock = _adopt(fileDescriptor, addressFamily, socket.SOCK_STREAM)
        port = StreamPort(self, sock, factory, self._site)
        port.startListening()
        return port

    def adoptStreamConnection(
        self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory
    ) -> None:
        """
        Serve a connection that is established already; it is duplicated.
        """
        sock = _adopt(fileDescriptor, addressFamily, socket.SOCK_STREAM)
        connection = StreamConnection(self, sock, sock.getpeername(), self._site)
        protocol = factory.buildProtocol(connection.getPeer())
        if protocol is None:
            sock.close()
        else:
            connection.begin(protocol)

    def adoptDatagramPort(
        self,
        fileDescriptor: int,
        addressFamily: int,
        protocol: DatagramProtocol,
        maxPacketSize: int = _PACKET_SIZE,
    ) -> IListeningPort:
        """
        Serve datagrams at a socket that is bound already; it is duplicated.

        @param maxPacketSize: without meaning here: every size is received.
        """
        sock = _adopt(fileDescriptor, addressFamily, socket.SOCK_DGRAM)
        port = datagram_port(self, sock, protocol, self._site)
        port.startListening()
        return port

    def _listen(
        self, listener: Listener, factory: IProtocolFactory, interface: Any, port: Any
    ) -> IListeningPort:
        try:
            bound = bind(listener, SocketOptions())
        except CannotListen as problem:
            raise CannotListenError(interface, port, problem) from None
        return bound.serve(self, factory, self._site)


def batched(reactor: Any) -> Any:
    """
    Put a L{BatchReactor} in front of a reactor, where the system has epoll.
    """
    return BatchReactor(reactor) if hasattr(select, "epoll") else reactor


def _adopt(descriptor: int, family: int, kind: int) -> socket.socket:
    sock = socket.fromfd(descriptor, family, kind)
    sock.setblocking(False)
    return sock
