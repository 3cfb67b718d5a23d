"""What HTTP and WebSocket promise whatever a peer sends."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from socketd.protocols.rules.options import parse_rules
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

#: What ends a connection: its input, or a daemon that sends clients elsewhere, or that stops while
#: more comes, or does not.
END, ELSEWHERE, STOP, LAST = "end", "elsewhere", "stop", "last"
STOPS = (STOP, LAST)

#: Rules that delay an answer, and that close.
RULES = parse_rules('prefix "a" -> "late", after 2s\n"b" -> "bye", close\n* -> "?", times 9')

#: Every answer and every deadline has had its time (seconds).
LATER = 30


def check_http(data: bytes) -> None:
    """
    Whatever is sent in whatever pieces, it is answered or refused, little is kept, and when the
    input ends, or the daemon stops, the connection does, too. The first byte says how long the
    pieces are.
    """
    if data:
        for end in (END, ELSEWHERE, *STOPS):
            serve_http(data, end)


def serve_http(data: bytes, end: str) -> None:
    """Serve one connection; the daemon drains or stops in its middle if C{end} says so."""
    clock, size = Clock(), 1 + data[0]
    connection = Connection(clock, **BOUNDS)
    channel, wire = connection.channel, connection.wire
    before = None
    for start in range(1, len(data), size):
        if before is None and start > len(data) // 2:
            before = connection.record.counters.responses.total()
            drain(connection, end)
        if wire.disconnecting or (end == LAST and before is not None):
            break
        wire.protocol.dataReceived(data[start : start + size])
        assert len(channel._rest) <= BOUNDS["max_header"] + MAX_AHEAD + size
        clock.advance(0.1)
        assert len(clock.getDelayedCalls()) <= MAX_TIMERS
    if before is None or end not in STOPS:
        end_input(connection)
    clock.pump([0.1] * LATER * 10)
    assert wire.disconnecting
    assert not clock.getDelayedCalls()
    connection.lose()
    sent, answered = wire.value(), connection.record.counters.responses.total()
    assert end == END or before is None or answered <= before + 1
    assert sent.count(b"HTTP/1.1 ") >= answered
    assert sent.startswith(b"HTTP/1.1 ") or not sent
    assert all(facts["request"].isprintable() for _, _, facts in connection.record.events)


def drain(connection: Connection, end: str) -> None:
    """Send clients elsewhere, or stop, as the daemon does."""
    connection.record.draining = end != END
    if end in STOPS and not connection.wire.disconnecting:
        connection.wire.protocol.drain()


def end_input(connection: Connection) -> None:
    """End the input, for which a connection that speaks WebSocket is closed."""
    wire = connection.wire
    if wire.protocol is not connection.channel:
        wire.loseConnection()
    elif not wire.disconnecting:
        connection.channel.readConnectionLost()


def check_websocket(data: bytes) -> None:
    """
    Whatever frames are sent in whatever pieces, what is kept has a bound, what comes back are
    frames, and a peer that is refused is closed; so is each when the daemon stops, after what a
    rule delays. The first byte says how long the pieces are.
    """
    if data:
        for options in ({}, {"rules": RULES}):
            for end in (END, *STOPS):
                serve_websocket(data, end, **options)


def serve_websocket(data: bytes, end: str, **options: Any) -> None:
    """Serve one connection; the daemon stops in its middle if C{end} says so."""
    clock, size = Clock(), 1 + data[0]
    connection = Connection(clock, "websocket", max_message=MAX_MESSAGE, **options)
    connection.send(request("/", "GET", None, **HANDSHAKE, Sec_WebSocket_Extensions=DEFLATE))
    wire, found, frames = connection.wire, list[Frame](), Frames()
    wire.taken()
    stopped = False
    for start in range(1, len(data), size):
        if end in STOPS and not stopped and start > len(data) // 2:
            stopped = True
            drain(connection, end)
        if wire.disconnecting or (end == LAST and stopped):
            break
        wire.protocol.dataReceived(data[start : start + size])
        clock.pump([0.0] * len(data))
        assert len(wire.protocol._message) <= MAX_MESSAGE
    for _ in range(LATER):
        read_all(wire)
        clock.advance(1.0)
    found += frames.feed(wire.taken())
    assert wire.disconnecting or not stopped
    assert wire.disconnecting is any(one.opcode == CLOSE for one in found)
    assert all(len(one.payload) <= 2 * MAX_MESSAGE for one in found)
    connection.lose()
    assert not clock.getDelayedCalls()


def read_all(wire: Any) -> None:
    """Read as a peer does, which makes room for what is asked for piece by piece."""
    if wire.producer is not None and not wire.streaming:
        wire.producer.resumeProducing()
