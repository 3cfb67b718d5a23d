"""
What a connection tells of its socket.
"""

from __future__ import annotations

import socket as sockets
from typing import Any

from socketd.net.addresses import describe, to_address


class SocketInfo:
    """
    The part of a TCP transport that concerns its socket alone.

    Subclasses have the attributes in their slots.
    """

    __slots__ = ()

    connected: bool
    _descriptor: int
    _family: int
    _peer: Any
    _peer_family: int
    _socket: sockets.socket

    def fileno(self) -> int:
        """
        The descriptor; -1 when closed.
        """
        return self._descriptor if self.connected else -1

    def getHandle(self) -> sockets.socket:
        """
        The socket.
        """
        return self._socket

    @property
    def socket(self) -> sockets.socket:
        """
        The socket, where many protocols look for it, though no interface has it.
        """
        return self._socket

    def getPeer(self) -> Any:
        """
        The address of the other side.
        """
        return to_address(self._peer_family, sockets.SOCK_STREAM, self._peer)

    def getHost(self) -> Any:
        """
        The address of this side.
        """
        name = self._socket.getsockname()
        return to_address(self._family, sockets.SOCK_STREAM, name)

    def getTcpNoDelay(self) -> bool:
        """
        Whether small segments are sent at once.
        """
        return self._tcp and bool(
            self._socket.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY)
        )

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Set whether small segments are sent at once; no matter on UNIX sockets.
        """
        if self._tcp:
            self._socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """
        Whether a silent peer is probed.
        """
        return bool(self._socket.getsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """
        Set whether a silent peer is probed.
        """
        self._socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE, enabled)

    @property
    def peer(self) -> str:
        """
        The address of the other side, for people.
        """
        return describe(self._peer_family, self._peer)

    @property
    def _tcp(self) -> bool:
        return self._family != sockets.AF_UNIX
