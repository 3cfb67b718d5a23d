"""What HTTP and WebSocket promise whatever a peer sends."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from socketd.protocols.web.channel import MAX_AHEAD
from tests.protocols.web.client import Connection, request
from tests.protocols.web.frames import CLOSE, HANDSHAKE, Frame, Frames

#: Bounds that short inputs reach.
BOUNDS: dict[str, Any] = {
    "max_header": 1024,
    "max_body": 64,
    "max_requests": 5,
    "max_delay": 2.0,
    "max_bytes": 40_000,
    "request_timeout": 3.0,
    "health": "/h",
}

#: A bound of messages that short inputs reach, compressed ones too.
MAX_MESSAGE = 300
DEFLATE = "permessage-deflate"

#: A request waits for a turn, for its end, or for its answer.
MAX_TIMERS = 2

#: Every answer and every deadline has had its time (seconds).
LATER = 30


def check_http(data: bytes) -> None:
    """
    Whatever is sent in whatever pieces, it is answered or refused, little is kept, and when the
    input ends the connection does, too. The first byte says how long the pieces are.
    """
    if not data:
        return
    clock, size = Clock(), 1 + data[0]
    connection = Connection(clock, **BOUNDS)
    channel, wire = connection.channel, connection.wire
    for start in range(1, len(data), size):
        if wire.disconnecting:
            break
        channel.dataReceived(data[start : start + size])
        assert len(channel._rest) <= BOUNDS["max_header"] + MAX_AHEAD + size
        clock.advance(0.1)
        assert len(clock.getDelayedCalls()) <= MAX_TIMERS
    if not wire.disconnecting:
        channel.readConnectionLost()
    clock.pump([0.1] * LATER * 10)
    assert wire.disconnecting
    assert not clock.getDelayedCalls()
    connection.lose()
    sent, answered = wire.value(), connection.record.counters.responses.total()
    assert sent.count(b"HTTP/1.1 ") >= answered
    assert sent.startswith(b"HTTP/1.1 ") or not sent
    assert all(facts["request"].isprintable() for _, _, facts in connection.record.events)


def check_websocket(data: bytes) -> None:
    """
    Whatever frames are sent in whatever pieces, what is kept has a bound, what comes back are
    frames, and who is refused is closed. The first byte says how long the pieces are.
    """
    if not data:
        return
    clock, size = Clock(), 1 + data[0]
    connection = Connection(clock, max_message=MAX_MESSAGE)
    connection.send(request("/", "GET", None, **HANDSHAKE, Sec_WebSocket_Extensions=DEFLATE))
    wire, found, frames = connection.wire, list[Frame](), Frames()
    wire.taken()
    for start in range(1, len(data), size):
        if wire.disconnecting:
            break
        wire.protocol.dataReceived(data[start : start + size])
        clock.pump([0.0] * len(data))
        found += frames.feed(wire.taken())
        assert sum(map(len, wire.protocol._parts)) <= MAX_MESSAGE
    assert wire.disconnecting is any(one.opcode == CLOSE for one in found)
    assert all(len(one.payload) <= 2 * MAX_MESSAGE for one in found)
    connection.lose()
    assert not clock.getDelayedCalls()
