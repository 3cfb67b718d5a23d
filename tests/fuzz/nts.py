"""What Network Time Security promises whatever a peer sends."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from socketd.cli.clock.nts_query import NtsQuery
from socketd.cli.clock.nts_session import KeyExchange, Session, is_usable
from socketd.common.counters import Counters
from socketd.common.errors import CommandError
from socketd.protocols.clock.nts_answers import NtsAnswers
from socketd.protocols.clock.nts_keys import COOKIE, KeyRing
from socketd.protocols.clock.nts_records import (
    COOKIES,
    MAX_MESSAGE,
    RecordError,
    RecordReader,
    agree,
    response,
)
from tests.cli.clock.ntp_server import identifier_of, packet, seal, sealed
from tests.cli.clock.secure_fakes import SecureTransport
from tests.protocols.clock.nts_client import (
    HEADER,
    TO_CLIENT,
    TO_SERVER,
    Client,
    read_fields,
    read_records,
)
from tests.support.client_fakes import MemoryTransport

RING = KeyRing.make(1_795_000_000.0, Random(1).randbytes)
CLIENT = Client(RING.seal(TO_SERVER, TO_CLIENT, Random(2).randbytes), identifier=bytes(32))

#: The plain answer to L{HEADER}.
PLAIN = bytes([0x24, 10]) + bytes(22) + HEADER[40:] + bytes(15) + b"\1"


@frozen
class Keys:
    """Keys that are in no file."""

    ring: KeyRing = RING


def outcome(pieces: Iterable[bytes]) -> Any:
    """Feed a request; give the response, the error, or C{None} where its end is missing."""
    reader = RecordReader()
    try:
        for piece in pieces:
            records = reader.feed(piece)
            assert len(reader._buffer) <= MAX_MESSAGE
            if records is not None:
                return response(agree(records), [bytes(COOKIE)] * COOKIES)
    except RecordError as problem:
        return problem.code
    return None


def check_nts_ke(data: bytes) -> None:
    """
    Any bytes are a request for keys, the beginning of one, or refused; the same however they are
    cut, up to the end.
    """
    whole = outcome([data])
    half = outcome([data[: len(data) // 2], data[len(data) // 2 :]])
    single = outcome(data[at : at + 1] for at in range(len(data)))
    # What stands behind the end makes it bad, if it comes with it.
    assert half in (whole, single)
    if isinstance(single, bytes):
        records = read_records(single)
        assert records[0][0] == 1 and records[-1] == (0, True, b"")
        assert sum(kind == 5 for kind, _, _ in records) in (0, COOKIES)


def check_nts(data: bytes) -> None:
    """
    Any packet is answered with no more bytes than it has, or not; and with as many, and cookies,
    where it is from a client with the keys. The first byte says how many placeholders that sends.
    """
    if not data:
        return
    counters = Counters()
    answers = NtsAnswers(Keys(), counters)  # type: ignore[arg-type]
    body = data[1:]
    body = body[: len(body) & ~3]
    start = CLIENT.request(placeholders=data[0] % 10)[:-40]
    packets = [HEADER + body, CLIENT.request() + body, start + body, CLIENT.seal(start + body)]
    packets += [CLIENT.request(inner=body), CLIENT.seal(HEADER + body)]
    for one in packets:
        before = counters.nts_requests.copy()
        check_nts_answer(one, answers.answer(one, lambda: PLAIN))
        assert (counters.nts_requests - before).total() in (0, 1)


def check_nts_answer(packet: bytes, answer: bytes | None) -> None:
    """See that a client can use an answer, and an attacker cannot."""
    if answer is None:
        return
    assert len(PLAIN) <= len(answer) <= len(packet)
    fields = read_fields(answer[len(PLAIN) :])
    if len(fields) == 2:
        assert len(answer) == len(packet)
        cookies = CLIENT.cookies(answer)
        assert 1 <= len(cookies) <= COOKIES
        assert all(RING.open(cookie) == (TO_SERVER, TO_CLIENT) for cookie in cookies)
    else:
        assert [kind for kind, _ in fields] in ([], [0x0104])
        assert answer[12:16] in (PLAIN[12:16], b"NTSN")


def check_nts_client(data: bytes) -> None:
    """
    Whatever a server sends, a client of it has keys or one line; and only what the keys seal is
    time, or ends the query at once.
    """
    session = exchange(data)
    given = Session(TO_SERVER, TO_CLIENT, (bytes(COOKIE),) * 2, "192.0.2.1", 0)
    for one in (given, session):
        if one is not None:
            assert 0 < len(one.cookies) <= COOKIES and all(map(is_usable, one.cookies))
            check_query(one, data)


def exchange(data: bytes) -> Session | None:
    """Give the session of a response, which may come in two pieces."""
    client, transport = KeyExchange(), SecureTransport()
    transport.connect(client)
    for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
        client.dataReceived(piece)
    if not client.done.called:
        client.connectionLost(connectionDone)
    return None if failure_of(client.done) else client.session


def failure_of(done: Deferred[None]) -> str:
    """Give the line that ends a command; empty if nothing has."""
    found: list[Failure] = []
    done.addErrback(found.append)
    for failure in found:
        assert failure.check(CommandError), failure
        assert failure.getErrorMessage().isprintable() and failure.getErrorMessage()
    return "".join(map(str, found))


def check_query(session: Session, data: bytes) -> None:
    """Answer the requests of a client with packets that have these bytes, sealed or not."""
    clock, transport = Clock(), MemoryTransport(True)
    query = NtsQuery(clock, 2, 1.0, session, lambda: 1_800_000_000.0)
    transport.connect(query)
    request = transport.sent[-1]
    good = packet(request[40:48], 1_800_000_000, 1_800_000_000)
    kiss = packet(request[40:48], 1, 1, 3, 0, b"NTSN") + identifier_of(request)
    head = good + identifier_of(request)
    body = data[: len(data) & ~3]
    for reply in (data, good + data, head + data, head + body, good[:12] + data, kiss + body):
        query.dataReceived(reply)
        assert not query.samples and not query.done.called
    for reply in (sealed(good + body), sealed(head + body), seal(head, data)):
        query.dataReceived(reply)
        assert len(transport.sent) == 1 and len(query.samples) <= 1
    assert len(query._cookies) <= COOKIES and all(map(is_usable, query._cookies))
    clock.pump([5.0] * 3)
    assert query.done.called and not clock.getDelayedCalls()
    failure_of(query.done)
