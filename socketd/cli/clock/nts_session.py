"""Gets keys and cookies from a key server of Network Time Security (RFC 8915, section 4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import evolve, field, frozen
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from socketd.cli.common.address import Address
from socketd.cli.transport.connect import connect
from socketd.cli.transport.interface import Receiver, answer_within
from socketd.cli.transport.tls import ClientTls
from socketd.common.errors import CommandError
from socketd.common.host_names import parse_host
from socketd.protocols.clock import nts_records

#: The longest cookie (bytes) whose request fits the smallest packet of IPv6 (1280 bytes).
MAX_COOKIE = 1024

#: The codes of error records (section 4.1.3).
ERRORS = ("unrecognized critical record", "bad request", "internal error")

MALFORMED = "its response breaks a rule of RFC 8915"

_ONCE = (
    nts_records.Type.NEXT_PROTOCOL,
    nts_records.Type.AEAD,
    nts_records.Type.SERVER,
    nts_records.Type.PORT,
)

REQUEST = nts_records.message(
    [
        nts_records.Record(nts_records.Type.NEXT_PROTOCOL, True, nts_records.NTPV4.to_bytes(2)),
        nts_records.Record(nts_records.Type.AEAD, True, nts_records.AES_SIV_CMAC_256.to_bytes(2)),
    ]
)


@frozen
class Session:
    """
    What was agreed on with a key server.

    @ivar host: the NTP server; empty: the address of the key server.
    @ivar port: its port; 0: the usual one.
    """

    to_server: bytes = field(repr=False)
    to_client: bytes = field(repr=False)
    cookies: tuple[bytes, ...]
    host: str
    port: int


def read_response(records: Iterable[nts_records.Record]) -> Session:
    """
    Check a response (sections 4.1.2 to 4.1.8), in which the keys are not; raise L{CommandError}.
    """
    found: dict[int, list[bytes]] = {kind: [] for kind in nts_records.Type}
    for record in records:
        if record.critical and record.type not in found:
            raise CommandError(f"its response has a critical record of type {record.type}")
        found.setdefault(record.type, []).append(record.body)
    _check_problems(found)
    if any(len(found[kind]) > 1 for kind in _ONCE):
        raise CommandError(MALFORMED)
    _check_agreed(
        found[nts_records.Type.NEXT_PROTOCOL], nts_records.NTPV4, "it gives no keys for NTPv4"
    )
    _check_agreed(
        found[nts_records.Type.AEAD],
        nts_records.AES_SIV_CMAC_256,
        "it has no AEAD_AES_SIV_CMAC_256",
    )
    cookies = tuple(filter(is_usable, found[nts_records.Type.COOKIE]))
    if not cookies:
        raise CommandError("it gives no cookie that can be used")
    host = _read_host(found[nts_records.Type.SERVER])
    port = _read_port(found[nts_records.Type.PORT])
    return Session(b"", b"", cookies[: nts_records.COOKIES], host, port)


def is_usable(cookie: bytes) -> bool:
    """Whether a cookie can be sent as a field of a packet, which padding would change."""
    return 0 < len(cookie) <= MAX_COOKIE and len(cookie) % 4 == 0


def _check_problems(found: dict[int, list[bytes]]) -> None:
    for body in found[nts_records.Type.ERROR]:
        code = int.from_bytes(body[:2])
        meaning = f" ({ERRORS[code]})" if code < len(ERRORS) else ""
        raise CommandError(f"it refuses: error {code}{meaning}")
    for body in found[nts_records.Type.WARNING]:
        # None is defined, and one that is not known is an error (section 4.1.4).
        raise CommandError(f"it warns: {int.from_bytes(body[:2])}")


def _check_agreed(bodies: Sequence[bytes], number: int, otherwise: str) -> None:
    """Expect the one number that was offered; an empty list says that it is not there."""
    if bodies == [b""]:
        raise CommandError(otherwise)
    if bodies != [number.to_bytes(2)]:
        raise CommandError(MALFORMED)


def _read_host(bodies: Sequence[bytes]) -> str:
    if not bodies:
        return ""
    try:
        return parse_host(bodies[0].decode("ascii"))
    except ValueError:
        raise CommandError(MALFORMED) from None


def _read_port(bodies: Sequence[bytes]) -> int:
    if not bodies:
        return 0
    port = int.from_bytes(bodies[0])
    if len(bodies[0]) != 2 or not port:
        raise CommandError(MALFORMED)
    return port


class KeyExchange(Receiver):
    """Sends the request, and reads the response into C{session}."""

    session: Session

    def __init__(self) -> None:
        super().__init__()
        self._reader = nts_records.RecordReader()

    def connectionMade(self) -> None:
        if self.transport.transport.negotiatedProtocol == nts_records.ALPN.encode():
            self.transport.write(REQUEST)
        else:
            self.fail(CommandError(f"it does not speak {nts_records.ALPN}"))

    def dataReceived(self, data: bytes) -> None:
        if self.done.called or self._failure is not None:
            return
        try:
            records = self._reader.feed(data)
            agreed = None if records is None else read_response(records)
        except nts_records.RecordError:
            self.fail(CommandError(MALFORMED))
        except CommandError as problem:
            self.fail(problem)
        else:
            if agreed is not None:
                self._accept(agreed)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(ConnectionDone):
            reason = Failure(CommandError("it has closed before the end of its response"))
        super().connectionLost(reason)

    def _accept(self, agreed: Session) -> None:
        secured = self.transport.transport
        to_server, to_client = nts_records.session_keys(secured.getHandle().export_keying_material)
        # The cookies are of the host that gave them, which is one of several for many names.
        host = agreed.host or host_of(secured.getPeer())
        self.session = evolve(agreed, to_server=to_server, to_client=to_client, host=host)
        self.transport.loseConnection()
        self.done.callback(None)


def host_of(peer: Any) -> str:
    """Give the address of a peer, with the zone that a link-local one has."""
    zone = getattr(peer, "scopeID", 0)
    return f"{peer.host.partition('%')[0]}%{zone}" if zone else str(peer.host)


async def exchange_keys(reactor: Any, address: Address, timeout: float, tls: ClientTls) -> Session:
    """Get keys and cookies, with a timeout for the handshake, and again for the response."""
    exchange = KeyExchange()
    await connect(reactor, address, exchange, timeout, tls)
    try:
        await answer_within(reactor, timeout, exchange.done)
    except CommandError:
        exchange.transport.abortConnection()
        raise
    return exchange.session
