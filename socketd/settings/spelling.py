r"""
Corrects listeners that are written in the syntax of other programs.

C{127.0.0.1:7007}, C{[::1]:7007}, C{tcp://host:7007}, C{7007/udp} and C{interface=::1} are
not valid listeners, but unambiguous.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address

from socketd.settings.diagnostics import likeliest
from socketd.settings.listeners import EVERY
from socketd.settings.value_types import unquoted

#: Names that other programs have for the listener kinds.
_SYNONYMS = {
    "tcp4": "tcp", "stream": "tcp", "http": "tcp", "ssl": "tls", "https": "tls",
    "udp4": "udp", "dgram": "udp", "unixstream": "unix", "unix-stream": "unix",
    "unix-dgram": "unixgram", "local": "unix",
}  # fmt: skip

_KINDS = ("tcp", "tcp6", "tls", "tls6", "udp", "udp6")
_PATHS = ("unix", "unixgram")
_FLAGS = re.ASCII | re.IGNORECASE
_KIND = "|".join(sorted([*_KINDS, *_PATHS, *_SYNONYMS], key=len, reverse=True))

#: An IPv6 address with or without brackets, a name, an IPv4 address, or a wildcard.
_HOST = r"\[[^\]\s]*\]|[0-9a-f.]*:[0-9a-f:.]*(?:%[\w.-]+)?|(?!\d+(?::|$))[\w.-]+|\*|"
_REST = r"(?P<rest>(?::(?:backlog|optional|mode)=[^:=\s]*)*)"

#: C{KIND://HOST:PORT/}, where all but the port is optional.
_HOST_PORT = re.compile(
    rf"(?:(?P<kind>{_KIND}):(?://)?)?(?:(?P<host>{_HOST}):)?(?P<port>\d+)/?{_REST}", _FLAGS
)

#: C{7007/tcp}, C{tcp/7007} and C{tcp 7007}.
_SERVICE = re.compile(rf"(?P<port>\d+)[/ ](?P<kind>{_KIND})", _FLAGS)
_TURNED = re.compile(rf"(?P<kind>{_KIND})[/ ](?P<port>\d+)", _FLAGS)

#: C{KIND:PORT:interface=HOST}, with colons that are not escaped, or with another argument
#: name.
_NAMED = re.compile(
    rf"(?P<kind>{_KIND}):(?:port=)?(?P<port>\d+)"
    rf"(?::(?:(?:interface|address|addr|host|bind|ip)=)?(?P<host>{_HOST}))?{_REST}",
    _FLAGS,
)

#: C{unix:PATH}, with the kind missing or a synonym, and with a mode that lacks C{mode=}.
_PATH = re.compile(
    rf"(?:(?P<kind>{_KIND}):)?(?://)?(?P<path>/[^:]+)(?::(?P<mode>0?[0-7]{{3}}))?", _FLAGS
)

#: The longest text that is corrected (characters); a longer one is not a typing error.
MAX_GUESSED = 200


def respelled(text: str) -> Iterator[tuple[str, ...]]:
    """
    Yield candidate corrections, the likeliest first; they may still be invalid.

    @return: for each candidate, its one or two listeners.
    """
    if len(text) > MAX_GUESSED:
        return
    bare = unquoted(text)
    yield (bare,)
    bare = bare.replace(r"\:", ":")
    kind, _, rest = bare.partition(":")
    if near := likeliest(kind.lower(), (*_KINDS, *_PATHS)):
        yield (f"{near}:{rest}",)
    for form in (_HOST_PORT, _SERVICE, _TURNED, _NAMED):
        if match := form.fullmatch(bare):
            yield _listener(**match.groupdict())
    if match := _PATH.fullmatch(bare):
        kind = _kind(match["kind"] or "unix")
        if kind in _PATHS:
            mode = f":mode={match['mode']}" if match["mode"] else ""
            yield (f"{kind}:{match['path']}{mode}",)
    yield (bare.lower(),)


def _listener(
    port: str, kind: str | None = None, host: str | None = None, rest: str | None = None
) -> tuple[str, ...]:
    host = (host or "").strip("[]")
    if kind is None:
        kinds = ["tcp"] if host or rest else ["tcp", "udp"]
    else:
        kinds = [_kind(kind)]
    return tuple(_address(one, port, host, rest or "") for one in kinds)


def _kind(kind: str) -> str:
    return _SYNONYMS.get(kind.lower(), kind.lower())


def _address(kind: str, port: str, host: str, rest: str) -> str:
    if host == "lo":
        host = "::1" if kind.endswith("6") else "127.0.0.1"
    try:
        address = ip_address(host)
    except ValueError:
        interface = "" if host.lower() in ("", *EVERY) else f":interface={host}"
        return f"{kind}:{port}{interface}{rest}"
    kind = kind.removesuffix("6")
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        kind += "6"
        host = str(address)
    else:
        host = str(getattr(address, "ipv4_mapped", None) or address)
    interface = "" if int(address) == 0 else ":interface=" + host.replace(":", r"\:")
    return f"{kind}:{port}{interface}{rest}"
