"""C{whoami}: tells a client who it is, as seen here, and what it reached."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import ITransport, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol

from socketd.common.text import ascii_line
from socketd.protocols.facts import connection_facts, datagram_facts
from socketd.protocols.spec import ProtocolContext, ProtocolSpec, udp_amplify_option
from socketd.settings.options import option
from socketd.settings.value_types import YES_NO, choice

#: The most bytes of an answer over UDP, by format, with the longest names and addresses.
LONGEST = {"json": 384, "text": 288, "short": 48}


@frozen
class WhoamiOptions:
    """The options of C{whoami}."""

    format: str = option(
        choice(*LONGEST),
        "json",
        "json: all facts in one line, text: a line for each, short: ADDRESS PORT of the client.",
    )
    hostname: bool = option(YES_NO, True, "Whether to tell this machine's name.")
    udp_amplify: int = udp_amplify_option()


def encode(facts: Mapping[str, Any], format: str) -> bytes:
    """
    Write facts in a format of C{whoami}; what does not apply is left out.

    @return: lines of ASCII, in which texts of the peer are escaped.
    """
    if format == "short":
        return _line(_endpoint(facts["peer"]))
    known = {name: value for name, value in facts.items() if value is not None}
    if format == "text":
        return b"".join(_line(f"{name}: {value}") for name, value in _flat(known))
    # The one control character that JSON does not escape.
    return _line(json.dumps(known).replace("\x7f", "\\u007f"))


def _flat(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in facts.items():
        if name == "tls":
            parts = {**value, "client": ", ".join(value["client"])}
            yield from ((f"tls {key}", part) for key, part in parts.items() if part)
        else:
            yield name, _endpoint(value) if isinstance(value, dict) else value


def _endpoint(address: Mapping[str, Any]) -> str:
    if "path" in address:
        return f"unix {address['path'] or ''}".rstrip()
    return f"{address['address']} {address['port']}"


def _line(text: str) -> bytes:
    return ascii_line(text).encode("ascii") + b"\n"


class Whoami(Protocol):
    """Tell a connection its facts at once, and close."""

    transport: ITransport

    def __init__(self, options: WhoamiOptions, context: ProtocolContext) -> None:
        self._options = options
        self._context = context

    def connectionMade(self) -> None:
        facts = connection_facts(self.transport, self._context, self._options.hostname)
        self.transport.write(encode(facts, self._options.format))
        self.transport.loseConnection()


class WhoamiDatagrams(DatagramProtocol):
    """
    Answer each datagram with its facts; the transport drops and counts an answer that is longer
    than both the datagram and C{udp_amplify}.
    """

    transport: IUDPTransport

    def __init__(self, options: WhoamiOptions, context: ProtocolContext) -> None:
        self._options = options
        self._context = context

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        facts = datagram_facts(self.transport, addr, self._context, self._options.hostname)
        self.transport.write(encode(facts, self._options.format), addr)


declaration = ProtocolSpec(
    options=WhoamiOptions,
    stream=Whoami,
    datagram=WhoamiDatagrams,
    shortest_reply=lambda options: LONGEST[options.format],
)
