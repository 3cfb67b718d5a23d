"""
Listener strings: where a service is served, in Twisted's endpoint grammar.

C{tcp:PORT[:interface=A][:backlog=N]}, C{tcp6:}, C{tls:}, C{tls6:}, C{udp:}, C{udp6:},
C{unix:PATH[:mode=660][:backlog=N]}, C{unixgram:PATH[:mode=660]} and
C{systemd:NAME[:tls=yes]}; C{haproxy:} in front of one for streams has each
connection begin with a PROXY header.  A backslash takes the meaning from the colon
or equals sign behind it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from attrs import evolve, frozen

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

#: A socket that systemd hands over; its family and type are its own.
INHERITED = "systemd"

#: In front of a listener: a PROXY header comes first.
PROXIED = "haproxy:"

#: Where an HTTP listener is that names no interface: figures are for this machine.
_LOOPBACK = {"tcp": "127.0.0.1", "tcp6": "::1"}

_KINDS = {
    "tcp": (socket.AF_INET, socket.SOCK_STREAM),
    "tcp6": (socket.AF_INET6, socket.SOCK_STREAM),
    "tls": (socket.AF_INET, socket.SOCK_STREAM),
    "tls6": (socket.AF_INET6, socket.SOCK_STREAM),
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
    @ivar name: by which systemd hands its sockets over.
    @ivar tls: whether TLS is spoken.
    @ivar proxied: whether each connection begins with a PROXY header.
    """

    kind: str
    interface: str = ""
    port: int = 0
    path: str = ""
    mode: int = DEFAULT_MODE
    backlog: int = DEFAULT_BACKLOG
    optional: bool = False
    name: str = ""
    tls: bool = False
    proxied: bool = False

    @property
    def is_inherited(self) -> bool:
        """
        Whether systemd hands its sockets over.
        """
        return self.kind == INHERITED

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
        Whether it accepts connections; what systemd hands over may.
        """
        return not self.is_inherited and self.type == socket.SOCK_STREAM

    def __str__(self) -> str:
        """
        Write it for people: C{tcp 127.0.0.1:7007}.
        """
        if self.is_inherited:
            return f"{self.kind} {self.name}"
        if self.path:
            return f"{self.kind} {self.path}"
        host = self.interface or "*"
        return f"{self.kind} {f'[{host}]' if ':' in host else host}:{self.port}"


def parse_listener(text: str, runtime: str) -> Listener:
    """
    Read one listener string.

    @param runtime: what L{RUNTIME} stands for in a UNIX path.
    @raise ValueError: says what is wrong and what would be right.
    """
    if text.startswith(PROXIED):
        listener = parse_listener(text.removeprefix(PROXIED), runtime)
        if not (listener.is_inherited or listener.is_stream) or listener.proxied:
            raise ValueError(f"has {PROXIED} in front of {listener.kind}:; write it before tcp:")
        return evolve(listener, proxied=True)
    positional, keywords = _split(text)
    if not positional:
        raise ValueError("has no kind; write tcp:PORT, udp:PORT or unix:PATH")
    kind, *rest = positional
    if kind == INHERITED:
        return _parse_inherited(rest, keywords)
    if kind not in _KINDS:
        kinds = [*_KINDS, INHERITED, PROXIED.removesuffix(":")]
        raise ValueError(f"has the unknown kind {kind}:; {nearest(kind, kinds)}")
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
    return Listener(kind, port=_port(rest[0]), tls=kind in ("tls", "tls6"), **arguments)


def _parse_inherited(rest: list[str], keywords: dict[str, str]) -> Listener:
    for name in keywords.keys() - {"tls"}:
        raise ValueError(f"has the unknown argument {name}=; {nearest(name, ['tls'])}")
    if len(rest) != 1 or not rest[0]:
        raise ValueError("takes one name, that of FileDescriptorName=: systemd:NAME")
    return Listener(INHERITED, name=rest[0], tls=_yes_no("tls", keywords.get("tls", "no")))


def parse_http(text: str, runtime: str) -> Listener:
    """
    Read where HTTP is served: a stream without TLS; on loopback where no interface is
    given.

    @raise ValueError: says what is wrong and what would be right.
    """
    listener = parse_listener(text, runtime)
    if listener.kind not in (*_LOOPBACK, "unix") or listener.proxied or listener.optional:
        raise ValueError("is no place for HTTP; write tcp:PORT[:interface=A], tcp6: or unix:PATH")
    return evolve(listener, interface=listener.interface or _LOOPBACK.get(listener.kind, ""))


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
    return _yes_no("optional", text)


def _yes_no(name: str, text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError(f"has {name}={text}; write yes or no")
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
