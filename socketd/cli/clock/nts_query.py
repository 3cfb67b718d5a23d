"""Asks an NTP server for time that it proves: C{socketd time ntp:HOST --nts}."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from socketd.cli.clock.ntp_query import NtpQuery, Sample
from socketd.cli.clock.nts_session import Session, exchange_keys, is_usable
from socketd.cli.common.address import Address
from socketd.cli.transport.connect import connect
from socketd.cli.transport.error_text import explain
from socketd.cli.transport.tls import ClientTls
from socketd.common.errors import CommandError
from socketd.protocols.clock import nts_fields
from socketd.protocols.clock.nts_keys import NONCE
from socketd.protocols.clock.nts_records import COOKIES

#: Seconds that a proven answer has after a refusal, which cannot be proven: another machine may
#: have sent it in the server's place (RFC 8915, section 5.7).
GRACE = 1.0


class NtsQuery(NtpQuery):
    """Sends a cookie with each request, and takes only what the server proves to have sent."""

    def __init__(
        self,
        clock: Any,
        count: int,
        timeout: float,
        session: Session,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(clock, count, timeout, wall_clock)
        self._cookies = deque(session.cookies, COOKIES)
        self._to_server, self._to_client = AESSIV(session.to_server), AESSIV(session.to_client)
        self._identifier = b""
        self._refusal: CommandError | None = None
        self._unproven = 0

    def _request(self) -> bytes:
        self._identifier = os.urandom(nts_fields.MIN_IDENTIFIER)
        self._refusal, self._unproven = None, 0
        request = super()._request() + nts_fields.field(
            nts_fields.Type.IDENTIFIER, self._identifier
        )
        request += nts_fields.field(nts_fields.Type.COOKIE, self._cookies.popleft())
        nonce = os.urandom(NONCE)
        return request + nts_fields.authenticator(
            nonce, self._to_server.encrypt(b"", [request, nonce])
        )

    def _read(self, reply: bytes, took: float) -> Sample | None:
        try:
            found = nts_fields.read_answer(reply)
            if isinstance(found, nts_fields.Answer) and found.identifier == self._identifier:
                inner = self._to_client.decrypt(found.sealed, [found.associated, found.nonce])
                return self._proven(reply, took, inner)
        except (nts_fields.FieldError, InvalidTag):
            found = b""
        self._unproven += 1
        if found == self._identifier:
            self._doubt(reply, took)
        return None

    def _proven(self, reply: bytes, took: float, inner: bytes) -> Sample | None:
        """Read an answer that is the server's, and keep its cookies."""
        cookies = [
            one.body
            for one in nts_fields.fields_of(inner, 0, nts_fields.MIN_INNER)
            if one.type == nts_fields.Type.COOKIE
        ]
        sample = super()._read(reply, took)
        if sample is not None:
            self._cookies.extend(filter(is_usable, cookies))
            if not self._cookies:
                self._count = self.sent
        return sample

    def _doubt(self, reply: bytes, took: float) -> None:
        """Wait a while for a better answer than a refusal without a proof, such as C{NTSN}."""
        try:
            super()._read(reply, took)
        except CommandError as refusal:
            if self._refusal is None:
                self._refusal = refusal
                self._give_up_after(min(GRACE, self._timeout or GRACE))

    def _why_overdue(self) -> CommandError:
        if self._refusal is not None:
            return self._refusal
        if not self._unproven:
            return super()._why_overdue()
        others = f"{self._unproven} without a proof"
        return CommandError(f"no authentic answer within {self._timeout:g} s, {others}")


async def query_nts(
    reactor: Any, address: Address, tls: ClientTls, port: int, count: int, timeout: float
) -> tuple[NtsQuery, Address]:
    """
    Get keys, and ask; return the answers, and the address of the NTP server.

    @param address: of the key server.
    @param port: of the NTP server, if the key server names none.
    @param timeout: seconds for each step; 0 for no limit.
    """
    with _naming("key server", address):
        session = await exchange_keys(reactor, address, timeout, tls)
    server = Address(address.text, "udp", session.host, session.port or port)
    with _naming("NTP server", server):
        query = NtsQuery(reactor, count, timeout, session)
        await connect(reactor, server, query)
        await query.done
    return query, server


@contextmanager
def _naming(what: str, address: Address) -> Iterator[None]:
    """Add a server to errors: two are asked."""
    try:
        yield
    except Exception as error:
        raise CommandError(f"{what} {address.place}: {explain(error)}") from error
