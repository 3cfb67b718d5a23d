"""
Listener strings: the addresses of a service, in Twisted's endpoint grammar.

C{tcp:PORT[:interface=A][:backlog=N]}, C{tcp6:}, C{tls:}, C{tls6:}, C{udp:}, C{udp6:},
C{unix:PATH[:mode=660][:backlog=N]}, C{unixgram:PATH[:mode=660]} and
C{systemd:NAME[:tls=yes]}.  With the prefix C{haproxy:} (streams only) each connection
begins with a PROXY header.  A backslash escapes a colon or an equals sign.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from attrs import evolve, frozen

from socketd.settings.diagnostics import nearest
from socketd.settings.spelling import EVERY, respelled

#: Placeholder in a UNIX path for the daemon's runtime directory.
RUNTIME = "{runtime}"

#: Long enough for any reactor pause that is too short to trigger the watchdog; the kernel
#: caps it at net.core.somaxconn.
DEFAULT_BACKLOG = 4096

#: Owner and group; access to the service is granted by group membership.
DEFAULT_MODE = 0o660

#: sun_path of Linux holds 108 bytes with the final NUL (unix(7)).
MAX_PATH = 107

#: The kind of sockets passed by systemd, which come with their family and type.
INHERITED = "systemd"

#: Listener prefix: each connection begins with a PROXY header.
PROXIED = "haproxy:"

#: The wildcard address of each family.
_EVERY = ("0.0.0.0", "::")

#: The default interfaces of the HTTP listener: metrics are local unless an interface is
#: given.
_LOOPBACK = {"tcp": "127.0.0.1", "tcp6": "::1"}

#: The most words in one value that are tried as separate listeners.
MAX_WORDS = 16

#: A host name (non-ASCII letters included), or an address with a scope.
_HOST = re.compile(r"[\w.%:-]+")

#: Device names used by Linux and its tools; unlikely as host names.
_DEVICE = re.compile(
    r"lo|(eth|wlan|br|bond|team|tun|tap|wg|veth|docker|virbr)-?[0-9][\w.]*"
    r"|(en|wl|ww)[osPpx][0-9]\w*"
)

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
    One address that a service listens on.

    @ivar kind: the prefix: C{tcp}, C{udp6}, C{unix}, ...
    @ivar interface: an address or a host name; empty for the wildcard address.
    @ivar port: the port number; 0 lets the kernel choose one.
    @ivar path: the path of a UNIX socket.
    @ivar mode: the permissions of a UNIX socket.
    @ivar backlog: the length of the accept queue, in connections.
    @ivar optional: whether it is skipped if the machine lacks its address or its address
        family.
    @ivar name: the C{FileDescriptorName=} of sockets passed by systemd.
    @ivar tls: whether connections use TLS.
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
        """Whether systemd passes its sockets."""
        return self.kind == INHERITED

    @property
    def family(self) -> socket.AddressFamily:
        """The address family of its socket."""
        return _KINDS[self.kind][0]

    @property
    def type(self) -> socket.SocketKind:
        """The type of its socket: stream or datagram."""
        return _KINDS[self.kind][1]

    @property
    def has_file(self) -> bool:
        """
        Whether it has a socket file; an abstract UNIX socket, whose name begins with a NUL
        byte, has none (unix(7)).
        """
        return bool(self.path) and self.path[0] != "\0"

    @property
    def is_stream(self) -> bool:
        """
        Whether it is known to accept connections; the type of a systemd socket is not known
        here.
        """
        return not self.is_inherited and self.type == socket.SOCK_STREAM

    def __str__(self) -> str:
        """Format it for display: C{tcp 127.0.0.1:7007}."""
        if self.is_inherited:
            return f"{self.kind} {self.name}"
        if self.path:
            return f"{self.kind} {self.path}"
        host = self.interface or "*"
        return f"{self.kind} {f'[{host}]' if ':' in host else host}:{self.port}"


@frozen
class BindAddress:
    """
    The canonical bind address of a listener: at a reload, a listener can take over the
    socket of another one with an equal place.

    @ivar host: the interface; empty for the wildcard address.
    @ivar path: the path with the symbolic links of its directory resolved, but not those of
        its last component.
    """

    family: socket.AddressFamily
    type: socket.SocketKind
    host: str = ""
    port: int = 0
    path: str = ""


def bind_address(listener: Listener) -> BindAddress:
    """Return the bind address of a listener, independent of its protocol, TLS and spelling."""
    family, type_ = listener.family, listener.type
    if listener.path and not listener.has_file:
        return BindAddress(family, type_, path=listener.path)
    if listener.path:
        directory, name = os.path.split(listener.path)
        # bind(2) follows symbolic links in the directory, but not in the last component.
        return BindAddress(family, type_, path=os.path.join(os.path.realpath(directory), name))
    return BindAddress(family, type_, canonical_host(listener.interface, family), listener.port)


def canonical_host(host: str, family: socket.AddressFamily) -> str:
    """
    Normalise an address to the system's spelling, and a host name to lower case.

    @return: the host; an empty string for the wildcard address.
    """
    if not host:
        return ""
    if host.lower() == "localhost":
        # Always resolves to loopback (RFC 6761, 6.3).
        return "::1" if family == socket.AF_INET6 else "127.0.0.1"
    try:
        # Numeric only: no DNS lookup, so this neither blocks nor varies.
        found = socket.getaddrinfo(host, 0, family, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return host.lower()
    address, _, *scope = found[0][4]
    if address in _EVERY:
        return ""
    return f"{address}%{scope[1]}" if scope and scope[1] else str(address)


def parse_listener(text: str, runtime: str) -> Listener:
    """
    Parse one listener string.

    @param runtime: the directory that replaces L{RUNTIME} in a UNIX path.
    @raise ValueError: with the error and the remedy.
    """
    try:
        return _parse(text, runtime)
    except ValueError as error:
        right = meant(text, runtime)
        if not right:
            raise
        raise ValueError(f"{str(error).partition('; ')[0]}; write {right}") from None


def meant(text: str, runtime: str) -> str:
    """Suggest a valid spelling for an invalid listener; an empty string if none is likely."""
    front = PROXIED if text.startswith(PROXIED) else ""
    for guess in respelled(text.removeprefix(front)):
        if all(_is_good(front + one, runtime) for one in guess):
            return " or ".join(front + one for one in guess)
    words = text.split()
    if 1 < len(words) <= MAX_WORDS:
        spelled = [word if _is_good(word, runtime) else meant(word, runtime) for word in words]
        if all(spelled):
            return ", ".join(word.partition(" or ")[0] for word in spelled)
    return ""


def _is_good(text: str, runtime: str) -> bool:
    try:
        _parse(text, runtime)
    except ValueError:
        return False
    return True


def _parse(text: str, runtime: str) -> Listener:
    if text.startswith(PROXIED):
        listener = _parse(text.removeprefix(PROXIED), runtime)
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
        if ":" not in text:
            raise ValueError("is no listener; write tcp:PORT, udp:PORT or unix:PATH")
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
    port = _port(rest[0])
    _check_interface(arguments.get("interface", ""), family, kind, port)
    return Listener(kind, port=port, tls=kind in ("tls", "tls6"), **arguments)


def _parse_inherited(rest: list[str], keywords: dict[str, str]) -> Listener:
    for name in keywords.keys() - {"tls"}:
        raise ValueError(f"has the unknown argument {name}=; {nearest(name, ['tls'])}")
    if len(rest) != 1 or not rest[0]:
        raise ValueError("takes one name, that of FileDescriptorName=: systemd:NAME")
    return Listener(INHERITED, name=rest[0], tls=_yes_no("tls", keywords.get("tls", "no")))


def parse_http(text: str, runtime: str) -> Listener:
    """
    Parse the HTTP listener: a stream without TLS, on loopback unless an interface is given.

    @raise ValueError: with the error and the remedy.
    """
    listener = parse_listener(text, runtime)
    if listener.kind not in (*_LOOPBACK, "unix") or listener.proxied or listener.optional:
        raise ValueError("is no place for HTTP; write tcp:PORT[:interface=A], tcp6: or unix:PATH")
    return evolve(listener, interface=listener.interface or _LOOPBACK.get(listener.kind, ""))


def parse_control(text: str, runtime: str) -> Listener:
    """
    Parse the path of the control socket (AF_UNIX).

    @raise ValueError: with the error and the remedy.
    """
    if _is_good(text, runtime):
        kind, _, path = text.partition(":")
        right = path if kind == "unix" else f"{RUNTIME}/control.sock"
        raise ValueError(f"is a listener, and no path; write control = {right}")
    return Listener("unix", path=_path(text, runtime))


def _split(text: str) -> tuple[list[str], dict[str, str]]:
    """
    Split a string as C{twisted.internet.endpoints} does.  That parser is private, and
    importing it removes the systemd variables from the environment.
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
    if path.startswith("~"):
        raise ValueError("has a ~, which stands for nothing here; write the whole path")
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
    """Whether a text is an integer from C{lowest} to 65535."""
    return re.fullmatch(r"\d{1,5}", text, re.ASCII) is not None and lowest <= int(text) <= 65535


def _optional(text: str) -> bool:
    return _yes_no("optional", text)


def _yes_no(name: str, text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError(f"has {name}={text}; write yes or no")
    return text == "yes"


def _check_interface(
    interface: str, family: socket.AddressFamily, kind: str, port: int
) -> None:
    """
    Reject an address literal of the other family, and a device name; a host name may
    resolve to either family.
    """
    try:
        address = ip_address(interface)
    except ValueError:
        if interface and not _HOST.fullmatch(interface) or interface.lower() in EVERY:
            raise ValueError(f"has the interface {interface}; write an address, or none") from None
        if _DEVICE.fullmatch(interface):
            message = f"has the interface {interface}, which is a device; write {kind}:{port}"
            raise ValueError(f"{message} and so_bindtodevice = {interface}") from None
        return
    if getattr(address, "ipv4_mapped", None):
        raise ValueError(f"has an IPv4 address written as one of IPv6; write {kind[:3]}:")
    version = address.version
    if (version == 6) != (family == socket.AF_INET6):
        other = kind.removesuffix("6") + ("6" if version == 6 else "")
        raise ValueError(f"has an IPv{version} interface; write {other}:")


_ARGUMENTS: dict[str, Callable[[str], Any]] = {
    "interface": str,
    "mode": _mode,
    "backlog": _backlog,
    "optional": _optional,
}
