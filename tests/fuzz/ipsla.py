"""What C{ipsla} promises whatever it is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock

from socketd.common.operator_queue import OperatorQueue
from socketd.protocols.measure.ipsla import COUNTED, Ipsla, IpslaOptions
from socketd.protocols.measure.ipsla_packets import (
    MAX_DURATION,
    BadRequest,
    answer_probe,
    parse_request,
)
from socketd.protocols.measure.keys import Keys
from socketd.protocols.spec import ProtocolContext
from tests.protocols.fakes import PEER, FakeDatagramTransport
from tests.protocols.measure.ipsla_wire import KEY, KEY_ID, signed

KEYS = Keys("keys", {KEY_ID: KEY})

#: A time of day (nanoseconds since 1970).
RECEIVED = 1_764_374_400_250_000_000


def check_ipsla(data: bytes) -> None:
    """
    Any control message opens one port of the range for a bounded time and has an answer that is no
    longer, or is counted; any probe has an answer of its own length, or is counted.
    """
    check_packets(data)
    check_service(data, None)
    check_service(data, KEYS)


def check_service(data: bytes, keys: Keys | None) -> None:
    """See what becomes of a message; with keys, only one with a right digest opens a port."""
    clock, ports = Clock(), dict[int, Any]()

    def open_port(protocol: Any, host: str, port: int) -> Callable[[], None]:
        ports[port] = protocol
        protocol.makeConnection(FakeDatagramTransport())
        return lambda: ports.pop(port).doStop()

    plain = ProtocolContext(lambda: 0.0, OperatorQueue(clock))
    context = evolve(plain, open_port=open_port)
    options, transport = IpslaOptions(keys=keys), FakeDatagramTransport()
    protocol = Ipsla(options, context)
    protocol.noisy = False
    protocol.makeConnection(transport)
    transport.allowance = len(data)
    protocol.datagramReceived(data, PEER)
    assert not transport.refused and len(ports) <= len(transport.sent) <= 1
    assert not ports or keys is None or data == signed(data)
    for port, probes in ports.items():
        assert port in options.ports
        probes.datagramReceived(data, PEER)
    counts = context.record.counters.ipsla
    assert set(counts) <= set(COUNTED) and counts.total() == (3 if ports else 1)
    clock.advance(MAX_DURATION)
    assert not ports and not clock.getDelayedCalls()


def check_packets(data: bytes) -> None:
    """See that lengths and sequence numbers of answers are right."""
    for number in (None, 1 << 40):
        found = answer_probe(data, RECEIVED, RECEIVED + 1000, number)
        assert found is None or len(found) == len(data) and found[:2] == data[:2]
    try:
        request = parse_request(data)
    except BadRequest:
        return
    assert len(request.answer) <= len(data) and request.answer[1] == data[1]
    assert 0 < request.duration <= MAX_DURATION
