"""
Listener strings: where a service is served, in Twisted's endpoint grammar.

C{tcp:PORT[:interface=A][:backlog=N]}, C{tcp6:}, C{udp:}, C{udp6:},
C{unix:PATH[:mode=660][:backlog=N]} and C{unixgram:PATH[:mode=660]}; a
backslash takes the meaning from the colon or equals sign behind it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from attrs import frozen

from socketd.settings.complaints import nearest

#: Stands in a UNIX path for the directory where the daemon keeps its sockets.
RUNTIME = "{runtime}"

#: A queue this long outlasts any pause of the reactor that would not have the
#: watchdog act; the kernel lowers it to net.core.somaxconn by itself.
DEFAULT_BACKLOG = 4096

#: Owner and group: whoever may use the service is put in the group.
DEFAULT_MODE = 0o660

#: sun_path of Linux holds 108 bytes with the final NUL (unix(7)).
MAX_PATH = 107

_KINDS = {
    "tcp": (socket.AF_INET, socket.SOCK_STREAM),
    "tcp6": (socket.AF_INET6, socket.SOCK_STREAM),
    "unix": (socket.AF_UNIX, socket.SOCK_STREAM),
    "udp": (socket.AF_INET, socket.SOCK_DGRAM),
    "udp6": (socket.AF_INET6, socket.SOCK_DGRAM),
    "unixgram": (socket.AF_UNIX, socket.SOCK_DGRAM),
}


@frozen
class Listener:
    """
    One address that a service is served at.

    @ivar kind: the word in front: C{tcp}, C{udp6}, C{unix}, ...
    @ivar interface: an address or a host name; empty for all interfaces.
    @ivar port: 0 lets the kernel choose.
    @ivar path: the path of a UNIX socket.
    @ivar mode: the permissions of a UNIX socket.
    @ivar backlog: how many connections may wait to be accepted.
    @ivar optional: whether to go without it on a machine that lacks its
        address or its whole address family.
    """

    kind: str
    interface: str = ""
    port: int = 0
    path: str = ""
    mode: int = DEFAULT_MODE
    backlog: int = DEFAULT_BACKLOG
    optional: bool = False

    @property
    def family(self) -> socket.AddressFamily:
        """
        The address family of its socket.
        """
        return _KINDS[self.kind][0]

    @property
    def type(self) -> socket.SocketKind:
        """
        The type of its socket: stream or datagram.
        """
        return _KINDS[self.kind][1]

    @property
    def is_stream(self) -> bool:
        """
        Whether it accepts connections.
        """
        return self.type == socket.SOCK_STREAM

    def __str__(self) -> str:
        """
        Write it for people: C{tcp 127.0.0.1:7007}.
        """
        if self.family == socket.AF_UNIX:
            return f"{self.kind} {self.path}"
        host = self.interface or "*"
        return f"{self.kind} {f'[{host}]' if ':' in host else host}:{self.port}"


def parse_listener(text: str, runtime: str) -> Listener:
    """
    Read one listener string.

    @param runtime: what L{RUNTIME} stands for in a UNIX path.
    @raise ValueError: says what is wrong and what would be right.
    """
    positional, keywords = _split(text)
    if not positional:
        raise ValueError("has no kind; write tcp:PORT, udp:PORT or unix:PATH")
    kind, *rest = positional
    if kind not in _KINDS:
        raise ValueError(f"has the unknown kind {kind}:; {nearest(kind, _KINDS)}")
    family, type_ = _KINDS[kind]
    known = {"mode" if family == socket.AF_UNIX else "interface", "optional"}
    known |= {"backlog"} if type_ == socket.SOCK_STREAM else set()
    for name in keywords.keys() - known:
        raise ValueError(f"has the unknown argument {name}=; {nearest(name, known)}")
    if len(rest) != 1:
        raise ValueError(f"takes one {'path' if family == socket.AF_UNIX else 'port'}: {kind}:...")
    arguments = {name: _ARGUMENTS[name](value) for name, value in keywords.items()}
    if family == socket.AF_UNIX:
        return Listener(kind, path=_path(rest[0], runtime), **arguments)
    _check_family(arguments.get("interface", ""), family, kind)
    return Listener(kind, port=_port(rest[0]), **arguments)


def _split(text: str) -> tuple[list[str], dict[str, str]]:
    """
    Take a string apart as C{twisted.internet.endpoints} does (whose parser is
    private, and whose import takes systemd's sockets out of the environment).
    """
    fields: list[str] = []
    names: list[str | None] = [None]
    current = ""
    characters = iter(text)
    for character in characters:
        if character == "\\":
            current += next(characters, "")
        elif character == ":":
            fields.append(current)
            names, current = [*names, None], ""
        elif character == "=" and names[-1] is None:
            names[-1], current = current, ""
        else:
            current += character
    fields.append(current)
    pairs = list(zip(names, fields))
    positional = [field for name, field in pairs if name is None]
    return positional, {name: field for name, field in pairs if name is not None}


def _port(text: str) -> int:
    if not _is_number(text, 0):
        raise ValueError(f"has the port {text}; a port is a number from 0 to 65535")
    return int(text)


def _path(text: str, runtime: str) -> str:
    path = text.replace(RUNTIME, runtime)
    if not path:
        raise ValueError("has no path; write unix:/run/socketd/NAME.sock")
    if len(path.encode()) > MAX_PATH:
        raise ValueError(f"has a path of over {MAX_PATH} bytes; choose a shorter one")
    return path


def _mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise ValueError(f"has the mode {text}; a mode is octal, such as 660")
    return mode


def _backlog(text: str) -> int:
    if not _is_number(text, 1):
        raise ValueError(f"has the backlog {text}; a backlog is a number from 1 to 65535")
    return int(text)


def _is_number(text: str, lowest: int) -> bool:
    """
    Say whether a text is a whole number from C{lowest} to 65535.
    """
    return re.fullmatch(r"\d{1,5}", text, re.ASCII) is not None and lowest <= int(text) <= 65535


def _optional(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError(f"has optional={text}; write yes or no")
    return text == "yes"


def _check_family(interface: str, family: socket.AddressFamily, kind: str) -> None:
    """
    Refuse an address literal of the other family; a host name may be of both.
    """
    try:
        version = ip_address(interface).version
    except ValueError:
        return
    if (version == 6) != (family == socket.AF_INET6):
        other = kind.removesuffix("6") + ("6" if version == 6 else "")
        raise ValueError(f"has an IPv{version} interface; write {other}:")


_ARGUMENTS: dict[str, Callable[[str], Any]] = {
    "interface": str,
    "mode": _mode,
    "backlog": _backlog,
    "optional": _optional,
}
