"""A wrapper of Twisted's reactor that serves streams and datagrams with socketd's own ports."""

from __future__ import annotations

import socket
from select import EPOLLIN, EPOLLOUT
from typing import Any

from twisted.internet import interfaces
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.error import (
    InvalidAddressError,
    UnsupportedAddressFamily,
    UnsupportedSocketType,
)
from twisted.internet.interfaces import IListeningPort, IOpenSSLContextFactory, IProtocolFactory
from twisted.internet.protocol import DatagramProtocol
from twisted.python.components import proxyForInterface
from zope.interface import implementer

from socketd.common.events import EventBus
from socketd.net.datagram.batch_port import BatchedDatagramPort
from socketd.net.listen import bind_for_twisted
from socketd.net.reactor.epoll import SHORT_SLICE, TIME_SLICE, EpollSet
from socketd.net.service_state import ConnectionTable, ServiceState
from socketd.net.stream.connection import StreamConnection
from socketd.net.stream.port import StreamPort
from socketd.settings.listeners import Listener
from socketd.settings.model import SocketOptions

# Twisted's own defaults.
_BACKLOG = 50
_MODE = 0o666
_PACKET_SIZE = 8192

_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class IWholeReactor(
    interfaces.IReactorCore,
    interfaces.IReactorThreads,
    interfaces.IReactorProcess,
    interfaces.IReactorTCP,
    interfaces.IReactorSSL,
    interfaces.IReactorUDP,
    interfaces.IReactorMulticast,
    interfaces.IReactorUNIX,
    interfaces.IReactorUNIXDatagram,
    interfaces.IReactorPluggableResolver,
    interfaces.IReactorPluggableNameResolver,
):
    """
    The interfaces that every Twisted reactor provides on systems with epoll, except those
    that L{BatchReactor} implements alone.
    """


# Delegates every method to the wrapped reactor, except those that are overridden below.
_Delegating: Any = proxyForInterface(IWholeReactor, "_reactor")


@implementer(interfaces.IReactorSocket, interfaces.IReactorTime)
class BatchReactor(EpollSet, _Delegating):  # type: ignore[misc]
    """
    A reactor that serves streams and datagrams with socketd's own ports and delegates
    everything else to the wrapped reactor.

    Twisted's endpoints, TLS wrapper and producers work on it unchanged.
    """

    def __init__(self, reactor: Any) -> None:
        EpollSet.__init__(self)
        self._reactor = reactor
        self.seconds = reactor.seconds
        self.callLater = reactor.callLater
        self.getDelayedCalls = reactor.getDelayedCalls
        # None without a timer, or where the reactor leaves its timers to another loop.
        self._until_timer = getattr(reactor, "timeout", lambda: None)
        self._service_state = ServiceState(
            "reactor", EventBus(self), ConnectionTable(), log_connections=False
        )
        reactor.addReader(self)

    def _time_slice(self) -> float:
        due = self._until_timer()
        return TIME_SLICE if due is None else min(TIME_SLICE, max(due, SHORT_SLICE))

    def listenTCP(
        self, port: Any, factory: IProtocolFactory, backlog: int = _BACKLOG, interface: str = ""
    ) -> IListeningPort:
        # A port is a number, or a binding of twisted.internet.tcp.makeBinding.
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
        return self._listen(listener, factory, options)

    def listenUNIX(
        self,
        address: str,
        factory: IProtocolFactory,
        backlog: int = _BACKLOG,
        mode: int = _MODE,
        wantPID: bool = False,
    ) -> IListeningPort:
        # wantPID has no use: connecting to a socket file shows whether it is stale.
        listener = Listener("unix", path=address, mode=mode, backlog=backlog)
        return self._listen(listener, factory)

    def listenSSL(
        self,
        port: int,
        factory: IProtocolFactory,
        contextFactory: IOpenSSLContextFactory,
        backlog: int = _BACKLOG,
        interface: str = "",
    ) -> IListeningPort:
        # Lazy: this import takes 0.1 s, which a daemon without TLS need not spend.
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
        # Datagrams of every size are received, whatever maxPacketSize says.
        if interface and not (isIPAddress(interface) or isIPv6Address(interface)):
            raise InvalidAddressError(interface, "not an IPv4 or IPv6 address.")
        kind = "udp6" if ":" in interface else "udp"
        listener = Listener(kind, interface=interface, port=port)
        return self._listen(listener, protocol)

    def listenUNIXDatagram(
        self,
        address: str,
        protocol: DatagramProtocol,
        maxPacketSize: int = _PACKET_SIZE,
        mode: int = _MODE,
    ) -> IListeningPort:
        return self._listen(Listener("unixgram", path=address, mode=mode), protocol)

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory
    ) -> IListeningPort:
        sock = _adopt(fileDescriptor, addressFamily, socket.SOCK_STREAM)
        port = StreamPort(self, sock, factory, self._service_state)
        port.startListening()
        return port

    def adoptStreamConnection(
        self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory
    ) -> None:
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
        sock = _adopt(fileDescriptor, addressFamily, socket.SOCK_DGRAM)
        port = BatchedDatagramPort(self, sock, protocol, self._service_state)
        port.startListening()
        return port

    def _watch_file(self, file: Any, event: int) -> None:
        # The wrapped reactor polls files that are always ready.
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
        served: IProtocolFactory | DatagramProtocol,
        options: SocketOptions = SocketOptions(),
    ) -> IListeningPort:
        bound = bind_for_twisted(listener, options)
        return bound.serve(self, served, self._service_state)


def _adopt(descriptor: int, family: int, type_: int) -> socket.socket:
    if family not in _FAMILIES:
        raise UnsupportedAddressFamily(family)
    sock = socket.fromfd(descriptor, family, type_)
    found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
    if found != type_:
        sock.close()
        raise UnsupportedSocketType(found)
    sock.setblocking(False)
    return sock
