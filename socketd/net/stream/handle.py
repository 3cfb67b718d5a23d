"""The socket accessors of a stream transport."""

from __future__ import annotations

import socket as sockets
from typing import Any

from socketd.net.addresses import describe, to_address


class SocketInfo:
    """
    Mixin: the part of C{ITCPTransport} that concerns only the socket.

    Subclasses declare the attributes in C{__slots__}.
    """

    __slots__ = ()

    connected: bool
    _descriptor: int
    _destination: Any
    _family: int
    _peer: Any
    _peer_family: int
    _socket: sockets.socket

    def fileno(self) -> int:
        """The file descriptor; -1 when closed."""
        return self._descriptor if self.connected else -1

    def getHandle(self) -> sockets.socket:
        """The socket."""
        return self._socket

    @property
    def socket(self) -> sockets.socket:
        """The socket; in no interface, but many protocols use this attribute."""
        return self._socket

    def getPeer(self) -> Any:
        """The peer's address."""
        return to_address(self._peer_family, sockets.SOCK_STREAM, self._peer)

    def getHost(self) -> Any:
        """The local address, or the one at the proxy that its client connected to."""
        if self._destination is not None:
            return to_address(self._peer_family, sockets.SOCK_STREAM, self._destination)
        name = self._socket.getsockname()
        return to_address(self._family, sockets.SOCK_STREAM, name)

    def getTcpNoDelay(self) -> bool:
        """Whether TCP_NODELAY is set; false on UNIX sockets."""
        return self._tcp and bool(
            self._socket.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY)
        )

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Set TCP_NODELAY; ignored on UNIX sockets."""
        if self._tcp:
            self._socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """Whether SO_KEEPALIVE is set."""
        return bool(self._socket.getsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Set SO_KEEPALIVE."""
        self._socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE, enabled)

    @property
    def peer(self) -> str:
        """The peer's address as printable text."""
        return describe(self._peer_family, self._peer)

    @property
    def _tcp(self) -> bool:
        return self._family != sockets.AF_UNIX
