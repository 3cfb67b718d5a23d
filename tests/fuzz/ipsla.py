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
from socketd.protocols.spec import ProtocolContext
from tests.protocols.fakes import PEER, FakeDatagramTransport

#: A time of day (nanoseconds since 1970).
RECEIVED = 1_764_374_400_250_000_000


def check_ipsla(data: bytes) -> None:
    """
    Any control message opens one port of the range for a bounded time and has a shorter answer, or
    is counted; any probe has an answer of its own length, or is counted.
    """
    check_packets(data)
    clock, ports = Clock(), dict[int, Any]()

    def open_port(protocol: Any, host: str, port: int) -> Callable[[], None]:
        ports[port] = protocol
        protocol.makeConnection(FakeDatagramTransport())
        return lambda: ports.pop(port).doStop()

    plain = ProtocolContext(lambda: 0.0, OperatorQueue(clock))
    context = evolve(plain, open_port=open_port)
    options, transport = IpslaOptions(), FakeDatagramTransport()
    protocol = Ipsla(options, context)
    protocol.noisy = False
    protocol.makeConnection(transport)
    transport.allowance = len(data)
    protocol.datagramReceived(data, PEER)
    assert not transport.refused and len(transport.sent) == len(ports) <= 1
    for port, probes in ports.items():
        assert port in options.ports
        probes.datagramReceived(data, PEER)
    counts = context.record.counters.ipsla
    assert set(counts) <= set(COUNTED) and counts.total() == (3 if ports else 1)
    clock.advance(MAX_DURATION)
    assert not ports and not clock.getDelayedCalls()


def check_packets(data: bytes) -> None:
    """See that lengths and sequence numbers of answers are right."""
    found = answer_probe(data, RECEIVED, RECEIVED + 1000)
    assert found is None or len(found) == len(data) and found[:2] == data[:2]
    try:
        request = parse_request(data)
    except BadRequest:
        return
    assert len(request.answer) <= len(data) and request.answer[1] == data[1]
    assert 0 < request.duration <= MAX_DURATION
