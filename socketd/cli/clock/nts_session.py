"""Gets keys and cookies from a key server of Network Time Security (RFC 8915, section 4)."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen
from twisted.internet.defer import TimeoutError
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from socketd.cli.clock.nts_response import MALFORMED, Offer, read_response
from socketd.cli.common.address import Address
from socketd.cli.transport.connect import connect
from socketd.cli.transport.error_text import no_answer
from socketd.cli.transport.interface import Receiver
from socketd.cli.transport.tls import ClientTls
from socketd.common.errors import CommandError
from socketd.protocols.clock.nts_records import (
    AES_SIV_CMAC_256,
    ALPN,
    NTPV4,
    Record,
    RecordError,
    RecordReader,
    Type,
    message,
    session_keys,
)

REQUEST = message(
    [
        Record(Type.NEXT_PROTOCOL, True, NTPV4.to_bytes(2)),
        Record(Type.AEAD, True, AES_SIV_CMAC_256.to_bytes(2)),
    ]
)


@frozen
class Session:
    """
    What was agreed on with a key server.

    @ivar host: the NTP server.
    @ivar port: its port; 0: the usual one.
    """

    to_server: bytes = field(repr=False)
    to_client: bytes = field(repr=False)
    cookies: tuple[bytes, ...]
    host: str
    port: int


class KeyExchange(Receiver):
    """
    Sends the request, and reads the response.

    @ivar session: what was agreed on, once C{done} has fired.
    """

    session: Session

    def __init__(self) -> None:
        super().__init__()
        self._reader = RecordReader()

    def connectionMade(self) -> None:
        if self.transport.transport.negotiatedProtocol == ALPN.encode():
            self.transport.write(REQUEST)
        else:
            self.fail(CommandError(f"it does not speak {ALPN}"))

    def dataReceived(self, data: bytes) -> None:
        if self.done.called or self._failure is not None:
            return
        try:
            records = self._reader.feed(data)
            offer = None if records is None else read_response(records)
        except RecordError:
            self.fail(CommandError(MALFORMED))
        except CommandError as problem:
            self.fail(problem)
        else:
            if offer is not None:
                self._accept(offer)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(ConnectionDone):
            reason = Failure(CommandError("it has closed before the end of its response"))
        super().connectionLost(reason)

    def _accept(self, offer: Offer) -> None:
        secured = self.transport.transport
        keys = session_keys(secured.getHandle().export_keying_material)
        # The cookies are of the host that gave them, which is one of several for many names.
        host = offer.host or host_of(secured.getPeer())
        self.session = Session(*keys, offer.cookies, host, offer.port)
        self.transport.loseConnection()
        self.done.callback(None)


def host_of(peer: Any) -> str:
    """Give the address of a peer, with the zone that a link-local one has."""
    zone = getattr(peer, "scopeID", 0)
    return f"{peer.host.partition('%')[0]}%{zone}" if zone else str(peer.host)


async def exchange_keys(reactor: Any, address: Address, timeout: float, tls: ClientTls) -> Session:
    """
    Get keys and cookies.

    @param timeout: seconds for the handshake, and again for the response; 0 for no limit.
    @raise Exception: any error that L{socketd.cli.transport.error_text.explain} describes.
    """
    exchange = KeyExchange()
    await connect(reactor, address, exchange, timeout, tls)
    if timeout:
        exchange.done.addTimeout(timeout, reactor)
    try:
        await exchange.done
    except TimeoutError:
        exchange.transport.abortConnection()
        raise no_answer(timeout) from None
    return exchange.session
