"""
What a connection tells of its socket.
"""

from __future__ import annotations

import socket
from typing import Any

from socketd.net.addresses import describe, to_address


class Handle:
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
    _socket: socket.socket

    def fileno(self) -> int:
        """
        The descriptor; -1 when closed.
        """
        return self._descriptor if self.connected else -1

    def getHandle(self) -> socket.socket:
        """
        The socket.
        """
        return self._socket

    def getPeer(self) -> Any:
        """
        The address of the other side.
        """
        return to_address(self._peer_family, socket.SOCK_STREAM, self._peer)

    def getHost(self) -> Any:
        """
        The address of this side.
        """
        name = self._socket.getsockname()
        return to_address(self._family, socket.SOCK_STREAM, name)

    def getTcpNoDelay(self) -> bool:
        """
        Whether small segments are sent at once.
        """
        return self._tcp and bool(
            self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        )

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Set whether small segments are sent at once; no matter on UNIX sockets.
        """
        if self._tcp:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """
        Whether a silent peer is probed.
        """
        return bool(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """
        Set whether a silent peer is probed.
        """
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)

    @property
    def peer(self) -> str:
        """
        The address of the other side, for people.
        """
        return describe(self._peer_family, self._peer)

    @property
    def _tcp(self) -> bool:
        return self._family != socket.AF_UNIX
