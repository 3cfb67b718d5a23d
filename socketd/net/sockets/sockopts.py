"""Socket options by name: set before bind, and verified by reading them back."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from attrs import frozen

from socketd.settings.listeners import Listener
from socketd.settings.model import ServiceSettings, SocketOptions

_LINGER = struct.Struct("ii")
_INET = frozenset({socket.AF_INET, socket.AF_INET6})

# Linux reports twice the requested size (socket(7), SO_RCVBUF).
_HEADROOM = 2


class Refused(Exception):
    """The system rejects an option or its value."""


@frozen
class SocketOption:
    """
    One socket option of the kernel.

    @ivar name: its level and its number, as for setsockopt(2).
    @ivar pack: converts the configured value to the kernel's.
    @ivar size: the size of the value in bytes; 0 for an integer.
    @ivar is_set: whether the value read back satisfies the requested one.
    @ivar families: the address families that have it.
    @ivar tcp: whether only TCP sockets have it.
    """

    name: tuple[int, int]
    pack: Callable[[Any], Any] = int
    size: int = 0
    is_set: Callable[[Any, Any], bool] = lambda asked, found: asked == found
    families: frozenset[int] = _INET
    tcp: bool = False

    def fits(self, listener: Listener) -> bool:
        """Say whether this option applies to the sockets of a listener."""
        # The socket unit sets those of its own sockets.
        if listener.is_inherited:
            return False
        return listener.family in self.families and (listener.is_stream or not self.tcp)

    def apply(self, sock: socket.socket, value: Any) -> None:
        """
        Set the option and read it back.

        @raise Refused: says why it is not in effect.
        """
        asked = self.pack(value)
        try:
            sock.setsockopt(*self.name, asked)
            found = self._read(sock)
        except OSError as problem:
            raise Refused(f"this system refuses it: {os.strerror(problem.errno or 0)}") from None
        if not self.is_set(asked, found):
            raise Refused(f"this system makes {found!r} of it")

    def reset(self, sock: socket.socket) -> None:
        """
        Set the option to the default of a fresh socket of the same kind.

        @raise OSError: if it cannot be set.
        """
        with socket.socket(sock.family, sock.type) as fresh:
            value = self._read(fresh)
        if self.is_set is _at_least:
            value //= _HEADROOM
        sock.setsockopt(*self.name, value)

    def _read(self, sock: socket.socket) -> Any:
        return sock.getsockopt(*self.name, *([self.size] if self.size else []))


def _flag(asked: int, found: int) -> bool:
    return bool(asked) == bool(found)


def _at_least(asked: int, found: int) -> bool:
    return found >= asked * _HEADROOM


def _device(asked: bytes, found: bytes) -> bool:
    return asked.rstrip(b"\0") == found.rstrip(b"\0")


def _socket(number: int, is_set: Callable[[Any, Any], bool], **more: Any) -> SocketOption:
    return SocketOption((socket.SOL_SOCKET, number), is_set=is_set, **more)


def _tcp(number: int, **more: Any) -> SocketOption:
    return SocketOption((socket.IPPROTO_TCP, number), tcp=True, **more)


#: The options of a service, by their name in the INI file.
TABLE = {
    "so_reuseaddr": _socket(socket.SO_REUSEADDR, _flag),
    "so_reuseport": _socket(socket.SO_REUSEPORT, _flag),
    "so_keepalive": _socket(socket.SO_KEEPALIVE, _flag),
    "so_broadcast": _socket(socket.SO_BROADCAST, _flag),
    "so_dontroute": _socket(socket.SO_DONTROUTE, _flag),
    "so_oobinline": _socket(socket.SO_OOBINLINE, _flag),
    "so_bindtodevice": _socket(socket.SO_BINDTODEVICE, _device, pack=str.encode, size=16),
    "so_rcvbuf": _socket(socket.SO_RCVBUF, _at_least, families=_INET | {socket.AF_UNIX}),
    "so_sndbuf": _socket(socket.SO_SNDBUF, _at_least, families=_INET | {socket.AF_UNIX}),
    "so_linger": SocketOption(
        (socket.SOL_SOCKET, socket.SO_LINGER),
        lambda reset: _LINGER.pack(reset, 0),
        size=_LINGER.size,
    ),
    "tcp_nodelay": _tcp(socket.TCP_NODELAY, is_set=_flag),
    "tcp_keepidle": _tcp(socket.TCP_KEEPIDLE, pack=round),
    "tcp_keepintvl": _tcp(socket.TCP_KEEPINTVL, pack=round),
    "tcp_keepcnt": _tcp(socket.TCP_KEEPCNT),
    "tcp_user_timeout": _tcp(socket.TCP_USER_TIMEOUT, pack=lambda seconds: round(seconds * 1000)),
}

# tcp_nodelay: a reply in two segments must not wait for an ACK in between (Nagle).
# so_reuseaddr: a restart must be able to bind while old connections are in TIME_WAIT.
# Keepalive: a dead peer is detected in under two minutes.
_TCP_DEFAULTS = {
    "so_reuseaddr": True,
    "tcp_nodelay": True,
    "so_keepalive": True,
    "tcp_keepidle": 60.0,
    "tcp_keepintvl": 10.0,
    "tcp_keepcnt": 4,
    "tcp_user_timeout": 30.0,
}


def wanted(options: SocketOptions, listener: Listener) -> Iterator[tuple[str, Any]]:
    """List the options to set on a listener's socket, with their values."""
    is_tcp = listener.is_stream and listener.family in _INET
    defaults = _TCP_DEFAULTS if is_tcp else {}
    if options.tcp_keepcnt is not None:
        # tcp_user_timeout overrides tcp_keepcnt in the kernel (tcp(7)).
        defaults = {name: defaults[name] for name in defaults if name != "tcp_user_timeout"}
    for name, value in attrs.asdict(options).items():
        if value is None:
            value = defaults.get(name)
        if value is not None and TABLE[name].fits(listener):
            yield name, value


def change(
    sock: socket.socket, listener: Listener, old: SocketOptions, new: SocketOptions
) -> list[str]:
    """
    Apply changed options to an open socket; removed ones are reset to their default.

    @return: one text for each option that cannot be set.
    """
    before, after = dict(wanted(old, listener)), dict(wanted(new, listener))
    refused = []
    for name in before | after:
        try:
            if name not in after:
                TABLE[name].reset(sock)
            elif before.get(name) != after[name]:
                TABLE[name].apply(sock, after[name])
        except (Refused, OSError) as problem:
            refused.append(f"{name}: {problem}")
    return refused


def validate(service: ServiceSettings) -> Iterator[tuple[str, str]]:
    """Try a service's options on unbound sockets: list what cannot be set, and why."""
    for name, value in attrs.asdict(service.sockets).items():
        if value is None:
            continue
        fitting = [found for found in service.listeners if TABLE[name].fits(found)]
        if service.listeners and not fitting and name not in service.inherited:
            yield name, "fits none of the service's listeners"
        for listener in fitting:
            try:
                with socket.socket(listener.family, listener.type) as sock:
                    TABLE[name].apply(sock, value)
            except Refused as refused:
                yield name, str(refused)
                break
            except OSError:
                # A missing address family is reported for the listener.
                continue
