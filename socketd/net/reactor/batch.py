"""
A reactor in front of the reactor, for many connections at little cost.
"""

from __future__ import annotations

import select
import socket
from select import EPOLLIN, EPOLLOUT
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.error import (
    CannotListenError,
    InvalidAddressError,
    UnsupportedAddressFamily,
    UnsupportedSocketType,
)
from twisted.internet.interfaces import (
    IListeningPort,
    IOpenSSLContextFactory,
    IProtocolFactory,
    IReactorCore,
    IReactorMulticast,
    IReactorPluggableNameResolver,
    IReactorPluggableResolver,
    IReactorProcess,
    IReactorSocket,
    IReactorSSL,
    IReactorTCP,
    IReactorThreads,
    IReactorTime,
    IReactorUDP,
    IReactorUNIX,
    IReactorUNIXDatagram,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.python.components import proxyForInterface
from zope.interface import implementer

from socketd.common.events import EventBus
from socketd.net.datagram.batch_port import datagram_port
from socketd.net.listen import CannotListen, bind
from socketd.net.reactor.epoll import EpollSet
from socketd.net.service_state import ConnectionTable, ServiceState
from socketd.net.stream.connection import StreamConnection
from socketd.net.stream.port import StreamPort
from socketd.settings.listeners import Listener
from socketd.settings.model import SocketOptions

# Twisted's own defaults.
_BACKLOG = 50
_MODE = 0o666
_PACKET_SIZE = 8192

#: The families whose addresses are known here.
_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class IWholeReactor(
    IReactorCore,
    IReactorThreads,
    IReactorProcess,
    IReactorTCP,
    IReactorSSL,
    IReactorUDP,
    IReactorMulticast,
    IReactorUNIX,
    IReactorUNIXDatagram,
    IReactorPluggableResolver,
    IReactorPluggableNameResolver,
):
    """
    What every reactor of Twisted provides where there is epoll, besides what
    L{BatchReactor} does all by itself.
    """


# Each of its names asks the reactor itself; those that are defined again do not.
_Delegating: Any = proxyForInterface(IWholeReactor, "_reactor")


@implementer(IReactorSocket, IReactorTime)
class BatchReactor(EpollSet, _Delegating):  # type: ignore[misc]
    """
    Serves streams and datagrams with our own ports; all else is the reactor's.

    Whatever takes a reactor takes this one: Twisted's endpoints, its TLS
    wrapper and its producers work on it unchanged.
    """

    def __init__(self, reactor: Any) -> None:
        EpollSet.__init__(self)
        self._reactor = reactor
        self.seconds = reactor.seconds
        self.callLater = reactor.callLater
        self.getDelayedCalls = reactor.getDelayedCalls
        self._service_state = ServiceState(
            "reactor", EventBus(self), ConnectionTable(), log_connections=False
        )
        reactor.addReader(self)

    def listenTCP(
        self, port: Any, factory: IProtocolFactory, backlog: int = _BACKLOG, interface: str = ""
    ) -> IListeningPort:
        """
        Accept TCP connections for a factory.

        @param port: a number, or what C{twisted.internet.tcp.makeBinding} makes.
        @raise CannotListenError: if the address cannot be had.
        @raise ValueError: if a binding and the interface are not the same.
        """
        options = SocketOptions()
        if not isinstance(port, int):
            binding = port
            if interface not in ("", binding._address):
                raise ValueError("the interface is another one than that of the binding")
            interface, port = binding._address, binding._port
            reuse = {"so_reuseaddr": binding._reuseAddress, "so_reuseport": binding._reusePort}
            options = SocketOptions(**reuse)
        kind = "tcp6" if ":" in interface else "tcp"
        listener = Listener(kind, interface=interface, port=port, backlog=backlog)
        return self._listen(listener, factory, interface, port, options)

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

    def listenSSL(
        self,
        port: int,
        factory: IProtocolFactory,
        contextFactory: IOpenSSLContextFactory,
        backlog: int = _BACKLOG,
        interface: str = "",
    ) -> IListeningPort:
        """
        Accept TCP connections that begin with TLS for a factory.

        @raise CannotListenError: if the address cannot be had.
        """
        # A tenth of a second, which a daemon without TLS does not spend.
        from twisted.protocols.tls import TLSMemoryBIOFactory

        secured = TLSMemoryBIOFactory(contextFactory, False, factory, self)
        return self.listenTCP(port, secured, backlog, interface)

    def listenUDP(
        self,
        port: int,
        protocol: DatagramProtocol,
        interface: str = "",
        maxPacketSize: int = _PACKET_SIZE,
    ) -> IListeningPort:
        """
        Serve datagrams.

        @param maxPacketSize: without meaning here: every size is received.
        @raise CannotListenError: if the address cannot be had.
        @raise InvalidAddressError: if the interface is a host name.
        """
        if interface and not (isIPAddress(interface) or isIPv6Address(interface)):
            raise InvalidAddressError(interface, "not an IPv4 or IPv6 address.")
        kind = "udp6" if ":" in interface else "udp"
        listener = Listener(kind, interface=interface, port=port)
        return self._listen(listener, protocol, interface, port)

    def listenUNIXDatagram(
        self,
        address: str,
        protocol: DatagramProtocol,
        maxPacketSize: int = _PACKET_SIZE,
        mode: int = _MODE,
    ) -> IListeningPort:
        """
        Serve datagrams at a path.

        @param maxPacketSize: without meaning here: every size is received.
        @raise CannotListenError: if the path cannot be had.
        """
        return self._listen(Listener("unixgram", path=address, mode=mode), protocol, None, address)

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory
    ) -> IListeningPort:
        """
        Accept connections at a socket that listens already; it is duplicated.
        """
        sock = _adopt(fileDescriptor, addressFamily, socket.SOCK_STREAM)
        port = StreamPort(self, sock, factory, self._service_state)
        port.startListening()
        return port

    def adoptStreamConnection(
        self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory
    ) -> None:
        """
        Serve a connection that is established already; it is duplicated.
        """
        sock = _adopt(fileDescriptor, addressFamily, socket.SOCK_STREAM)
        connection = StreamConnection(self, sock, sock.getpeername(), self._service_state)
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
        port = datagram_port(self, sock, protocol, self._service_state)
        port.startListening()
        return port

    def _watch_file(self, file: Any, event: int) -> None:
        # The reactor has its own way with what is always ready.
        super()._watch_file(file, event)
        (self._reactor.addReader if event == EPOLLIN else self._reactor.addWriter)(file)

    def _drop_file(self, file: Any, event: int) -> None:
        super()._drop_file(file, event)
        if event & EPOLLIN:
            self._reactor.removeReader(file)
        if event & EPOLLOUT:
            self._reactor.removeWriter(file)

    def _listen(
        self,
        listener: Listener,
        speaker: IProtocolFactory | DatagramProtocol,
        interface: Any,
        port: Any,
        options: SocketOptions = SocketOptions(),
    ) -> IListeningPort:
        try:
            bound = bind(listener, options)
        except CannotListen as problem:
            raise CannotListenError(interface, port, problem) from None
        return bound.serve(self, speaker, self._service_state)


def batched(reactor: Any) -> Any:
    """
    Put a L{BatchReactor} in front of a reactor, where the system has epoll.
    """
    return BatchReactor(reactor) if hasattr(select, "epoll") else reactor


def _adopt(descriptor: int, family: int, kind: int) -> socket.socket:
    """
    Duplicate a socket.

    @raise UnsupportedAddressFamily: if addresses of its family are not known here.
    @raise UnsupportedSocketType: if it is of another type.
    """
    if family not in _FAMILIES:
        raise UnsupportedAddressFamily(family)
    sock = socket.fromfd(descriptor, family, kind)
    found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
    if found != kind:
        sock.close()
        raise UnsupportedSocketType(found)
    sock.setblocking(False)
    return sock
