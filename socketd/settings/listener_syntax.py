"""
Parses listeners, in Twisted's endpoint grammar.

C{tcp:PORT[:interface=A][:backlog=N]}, C{tcp6:}, C{tls:}, C{tls6:}, C{udp:}, C{udp6:},
C{unix:PATH[:mode=660][:backlog=N]}, C{unixgram:PATH[:mode=660]} and
C{systemd:NAME[:tls=yes]}.  With the prefix C{haproxy:} (streams only) each connection
begins with a PROXY header.  A backslash escapes a colon or an equals sign.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Any

from attrs import evolve

from socketd.settings.diagnostics import nearest
from socketd.settings.listeners import EVERY, INHERITED, KINDS, Listener

#: Placeholder in a UNIX path for the daemon's runtime directory.
RUNTIME = "{runtime}"

#: Listener prefix: each connection begins with a PROXY header.
PROXIED = "haproxy:"

#: sun_path of Linux holds 108 bytes with the final NUL (unix(7)).
MAX_PATH = 107

#: The most words in one value that are tried as separate listeners.
MAX_WORDS = 16

#: The kinds of an HTTP listener.
_HTTP = ("tcp", "tcp6", "unix")

#: The loopback address of each family.
_LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}

#: A host name (non-ASCII letters included), or an address with a scope.
_HOST = re.compile(r"[\w.%:-]+")

#: Device names used by Linux and its tools; unlikely as host names.
_DEVICE = re.compile(
    r"lo|(eth|wlan|br|bond|team|tun|tap|wg|veth|docker|virbr)-?[0-9][\w.]*"
    r"|(en|wl|ww)[osPpx][0-9]\w*"
)


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
    # Lazy: most files are right.
    from socketd.settings.spelling import respelled

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
    if kind not in KINDS:
        kinds = [*KINDS, INHERITED, PROXIED.removesuffix(":")]
        if ":" not in text:
            raise ValueError("is not a listener; write tcp:PORT, udp:PORT or unix:PATH")
        raise ValueError(f"has the unknown kind {kind}:; {nearest(kind, kinds)}")
    family, type_ = KINDS[kind]
    known = {"mode" if family == socket.AF_UNIX else "interface", "optional"}
    known |= {"backlog"} if type_ == socket.SOCK_STREAM else set()
    for name in keywords.keys() - known:
        raise ValueError(f"has the unknown argument {name}=; {nearest(name, known)}")
    if len(rest) != 1:
        raise ValueError(f"takes one {'path' if family == socket.AF_UNIX else 'port'}: {kind}:...")
    arguments = {name: _ARGUMENTS[name](value) for name, value in keywords.items()}
    if family == socket.AF_UNIX:
        return Listener(kind, path=_path(rest[0], runtime), **arguments)
    port = _number("port", 0, rest[0])
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
    if listener.kind not in _HTTP or listener.proxied or listener.optional:
        right = "tcp:PORT[:interface=A], tcp6: or unix:PATH"
        raise ValueError(f"is not a listener for HTTP; write {right}")
    return on_loopback(listener)


def on_loopback(listener: Listener) -> Listener:
    """Put a listener without an interface on loopback: local unless an interface is given."""
    if listener.is_inherited or listener.interface:
        return listener
    return evolve(listener, interface=_LOOPBACK.get(listener.family, ""))


def parse_control(text: str, runtime: str) -> Listener:
    """
    Parse the path of the control socket (AF_UNIX).

    @raise ValueError: with the error and the remedy.
    """
    if _is_good(text, runtime):
        kind, _, path = text.partition(":")
        right = path if kind == "unix" else f"{RUNTIME}/control.sock"
        raise ValueError(f"is a listener, not a path; write control = {right}")
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


def _path(text: str, runtime: str) -> str:
    path = text.replace(RUNTIME, runtime)
    if not path:
        raise ValueError("has no path; write unix:/run/socketd/NAME.sock")
    if path.startswith("~"):
        raise ValueError("has a ~, which is not expanded; write the whole path")
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


def _number(name: str, lowest: int, text: str) -> int:
    if re.fullmatch(r"\d{1,5}", text, re.ASCII) is None or not lowest <= int(text) <= 65535:
        raise ValueError(f"has the {name} {text}; a {name} is a number from {lowest} to 65535")
    return int(text)


def _yes_no(name: str, text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError(f"has {name}={text}; write yes or no")
    return text == "yes"


def _check_interface(interface: str, family: socket.AddressFamily, kind: str, port: int) -> None:
    """Reject an address of the other family, and a device; a host name may resolve to either."""
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
    "backlog": partial(_number, "backlog", 1),
    "optional": partial(_yes_no, "optional"),
}
