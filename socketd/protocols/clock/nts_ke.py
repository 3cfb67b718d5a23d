"""C{nts-ke}: gives NTP clients keys and cookies of Network Time Security (RFC 8915, section 4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from os.path import isabs
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.common.host_names import is_host_name
from socketd.common.timer import Timer
from socketd.protocols.clock import nts_records
from socketd.protocols.clock.nts_key_file import key_file
from socketd.protocols.spec import ProtocolContext, ProtocolSpec
from socketd.settings.listeners import INHERITED, Listener
from socketd.settings.options import option
from socketd.settings.value_types import NUMBER, ValueType, parse_path, within

#: Where clients ask that are not told a port (section 4.1.8).
NTP_PORT = 123

#: The time for a request (seconds): it is sent with the end of the handshake, so that is a round
#: trip and two retransmissions.
REQUEST_TIMEOUT = 2.0

#: Connections at a time, by default: each ends within two times L{REQUEST_TIMEOUT}, and its
#: handshake costs a signature.
MAX_CONNECTIONS = 100

#: Where the keys are by default.
KEY_FILE = "{state}/nts.keys"


def parse_server(text: str) -> str:
    """Parse the address or the name of an NTP server (section 4.1.7); an empty text means none."""
    if not text:
        return text
    try:
        if "%" not in text:
            return str(ip_address(text))
    except ValueError:
        if is_host_name(text.lower()):
            return text.lower()
    raise ValueError("is no host; write such as ntp.example.org or 192.0.2.1")


def parse_key_path(text: str) -> str:
    """Parse the path of the key file."""
    path = parse_path(text)
    if not isabs(path) and not path.startswith("{state}/"):
        raise ValueError(f"is no whole path; write such as {KEY_FILE}")
    return path


@frozen
class NtsKeOptions:
    """The options of C{nts-ke}."""

    ntp_server: str = option(
        ValueType("host name or address", parse_server),
        "",
        "The NTP server that clients ask with their cookies; by default at the same address.",
    )
    ntp_port: int = option(
        within(NUMBER, 1, 65535, "write 1 to 65535"),
        0,
        "Its port; by default 123. Some networks filter long datagrams to that.",
    )
    keys: str = option(
        ValueType("path", parse_key_path, writes=True),
        KEY_FILE,
        "The file of the keys of cookies, written by the daemon; several may share it. {state} is"
        " the daemon's state directory.",
    )


@implementer(IHalfCloseableProtocol)
class NtsKe(Protocol):
    """Answers one request, or refuses it after two seconds, and closes."""

    transport: Any

    def __init__(self, options: NtsKeOptions, context: ProtocolContext) -> None:
        self._options = options
        self._context = context
        self._reader: nts_records.RecordReader | None = None
        self._deadline = Timer(context.clock)

    def connectionMade(self) -> None:
        if self.transport.negotiatedProtocol != nts_records.ALPN.encode():
            # Section 4 has no answer for a client that does not speak the protocol.
            self._finish(nts_records.NO_ALPN, b"")
            return
        self._reader = nts_records.RecordReader()
        overdue = nts_records.TIMED_OUT, nts_records.error_response(nts_records.Code.BAD_REQUEST)
        self._deadline.start(REQUEST_TIMEOUT, self._finish, *overdue)

    def dataReceived(self, data: bytes) -> None:
        if self._reader is None:
            return
        try:
            records = self._reader.feed(data)
            agreement = None if records is None else nts_records.agree(records)
        except nts_records.RecordError as problem:
            self._refuse(problem.code)
        else:
            if agreement is not None:
                self._answer(agreement)

    def readConnectionLost(self) -> None:
        """Refuse a request that has ended too early."""
        if self._reader is not None:
            self._refuse(nts_records.Code.BAD_REQUEST)

    def writeConnectionLost(self) -> None:
        """Not called: TLS has no such thing."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop()

    def _answer(self, agreement: nts_records.Agreement) -> None:
        if not agreement.aead:
            self._finish(nts_records.NOTHING_IN_COMMON, nts_records.response(agreement, ()))
            return
        to_server, to_client = nts_records.session_keys(self.transport.export_keying_material)
        ring = key_file(self._options.keys, self._context).ring
        cookies = [ring.seal(to_server, to_client) for _ in range(nts_records.COOKIES)]
        options = self._options
        answer = nts_records.response(agreement, cookies, options.ntp_server, options.ntp_port)
        self._finish(nts_records.ESTABLISHED, answer)

    def _refuse(self, code: nts_records.Code) -> None:
        self._finish(nts_records.REASONS[code], nts_records.error_response(code))

    def _finish(self, result: str, answer: bytes) -> None:
        self._context.record.counters.nts_sessions[result] += 1
        self._stop()
        if answer:
            self.transport.write(answer)
        self.transport.loseConnection()

    def _stop(self) -> None:
        self._reader = None
        self._deadline.stop()


def refusals(
    options: NtsKeOptions, listeners: Sequence[Listener]
) -> Iterator[tuple[str, ValueError]]:
    """List the listeners without TLS."""
    for listener in listeners:
        if not listener.tls:
            yield "listen", ValueError(f"has {listener}, which is not TLS; write tls:4460")


def hints(
    options: NtsKeOptions, listeners: Sequence[Listener], users: Sequence[Listener]
) -> Iterator[tuple[str, str]]:
    """
    List the listeners whose clients are sent to where no service takes their cookies.

    @param users: the listeners of the services that take them.
    """
    unknown = any(one.kind == INHERITED or not one.port for one in (*listeners, *users))
    if options.ntp_server or unknown:
        return
    port = options.ntp_port or NTP_PORT
    for listener in listeners:
        near = [one for one in users if _is_beside(one, listener)]
        if listener.proxied or any(one.port == port for one in near):
            continue
        message = f"sends the clients of {listener} to UDP port {port} of the address that they"
        message += " have asked, where no service takes their cookies"
        if near:
            message += f"; write ntp_port = {near[0].port}"
        else:
            message += "; have an ntp service with nts listen there, or write ntp_server"
        yield "ntp_port" if options.ntp_port else "listen", message


def _is_beside(ntp: Listener, listener: Listener) -> bool:
    """Say whether a listener is found at the address of another one."""
    is_near = ntp.interface == listener.interface or not ntp.interface or not listener.interface
    return is_near and ntp.kind == ("udp6" if listener.kind == "tls6" else "udp")


declaration = ProtocolSpec(
    options=NtsKeOptions,
    stream=NtsKe,
    refusals=refusals,
    hints=hints,
    fixed={"tls_minimum": "1.3", "tls_alpn": nts_records.ALPN},
    defaults={"handshake_timeout": "2s", "max_connections": str(MAX_CONNECTIONS)},
)
