"""What Network Time Security promises whatever a peer sends."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

from attrs import frozen

from socketd.common.counters import Counters
from socketd.protocols.clock.nts_answers import NtsAnswers
from socketd.protocols.clock.nts_keys import COOKIE, KeyRing
from socketd.protocols.clock.nts_records import (
    COOKIES,
    MAX_REQUEST,
    RequestError,
    RequestReader,
    agree,
    response,
)
from tests.protocols.clock.nts_client import (
    HEADER,
    TO_CLIENT,
    TO_SERVER,
    Client,
    read_fields,
    read_records,
)

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
    reader = RequestReader()
    try:
        for piece in pieces:
            records = reader.feed(piece)
            assert len(reader._buffer) <= MAX_REQUEST
            if records is not None:
                return response(agree(records), [bytes(COOKIE)] * COOKIES)
    except RequestError as problem:
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
    where it is from who has the keys. The first byte says how many placeholders that one sends.
    """
    if not data:
        return
    counters = Counters()
    answers = NtsAnswers(Keys(), counters, len(HEADER))  # type: ignore[arg-type]
    body = data[1:]
    body = body[: len(body) & ~3]
    start = CLIENT.request(placeholders=data[0] % 10)[:-40]
    packets = [HEADER + body, CLIENT.request() + body, start + body, CLIENT.seal(start + body)]
    packets += [CLIENT.request(inner=body), CLIENT.seal(HEADER + body)]
    for packet in packets:
        before = counters.nts_requests.copy()
        check_nts_answer(packet, answers.answer(packet, lambda: PLAIN))
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
