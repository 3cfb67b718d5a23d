"""A connection that speaks WebSocket (RFC 6455) on wsproto, and echoes messages."""

from __future__ import annotations

import struct
from itertools import islice
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, TextMessage
from wsproto.frame_protocol import CloseReason, Opcode
from zope.interface import implementer

from socketd.common.timer import Timer
from socketd.protocols.spec import IDrainable, IFarewell
from socketd.protocols.web.options import WebSocketOptions

#: Frames of one connection that are served in one turn of the reactor (about 2 ms), so that others
#: are served in turn.
BATCH = 64


def frame(opcode: int, payload: bytes) -> bytes:
    """Write a whole message in a frame of a server (RFC 6455, 5.2): wsproto takes 2 us longer."""
    length = len(payload)
    if length < 126:
        return bytes((0x80 | opcode, length)) + payload
    if length < 1 << 16:
        return struct.pack("!BBH", 0x80 | opcode, 126, length) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, length) + payload


@implementer(IDrainable, IFarewell)
class MessageSocket(Protocol):
    """A connection that speaks WebSocket; C{is_text}: whether the last message was text."""

    transport: Any

    def __init__(
        self,
        options: WebSocketOptions,
        connection: Connection,
        is_compressing: bool,
        clock: IReactorTime,
    ) -> None:
        """
        @param connection: what reads and writes frames.
        @param is_compressing: whether it compresses messages.
        """
        self.options = options
        self.clock = clock
        self.is_text = True
        self._connection = connection
        self._is_compressing = is_compressing
        self._message = bytearray()
        self._output: list[bytes] = []
        self._next = Timer(clock)
        self._busy = self._closed = False

    def message_received(self, message: bytes) -> None:
        """Answer a message, which is UTF-8 if C{is_text}."""
        raise NotImplementedError

    @property
    def disconnecting(self) -> bool:
        """Whether closing has begun."""
        return self._closed or bool(self.transport.disconnecting)

    def dataReceived(self, data: bytes) -> None:
        """Serve the frames that the data completes."""
        if not self._closed:
            self._connection.receive_data(data)
            if not self._next.is_running:
                self._work()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._closed = True
        self._next.stop()

    def drain(self) -> None:
        """Close since the daemon goes away (RFC 6455, 7.4.1)."""
        self.close(CloseReason.GOING_AWAY)

    def say_farewell(self) -> None:
        """Close since this side wants to, not the daemon that goes away (RFC 6455, 7.4.1)."""
        self.close(CloseReason.NORMAL_CLOSURE)

    def send_message(self, message: bytes, is_text: bool) -> None:
        """Send a message in one frame; none after a close."""
        if self._closed:
            return
        if self._is_compressing:
            self._send(TextMessage(message.decode()) if is_text else BytesMessage(message))
        else:
            self._put(frame(Opcode.TEXT if is_text else Opcode.BINARY, message))

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame, and close."""
        if self._closed:
            return
        self._send(CloseConnection(code, reason))
        self._closed = True
        self._next.stop()
        if not self._busy:
            self.transport.loseConnection()

    def reset(self) -> None:
        """Reset the connection."""
        self._closed = True
        self.transport.abortConnection()

    def _work(self, was_waiting: bool = False) -> None:
        """Serve frames, until more is needed or others are to be served."""
        self._busy, count = True, 0
        for event in islice(self._connection.events(), BATCH):
            self._handle(event)
            count += 1
            if self._closed:
                break
        self._busy = False
        output, self._output = b"".join(self._output), []
        self.transport.write(output)
        if self._closed:
            self.transport.loseConnection()
        elif count == BATCH:
            self._next.start(0, self._work, True)
            self.transport.pauseProducing()
        elif was_waiting:
            self.transport.resumeProducing()

    def _handle(self, event: Event) -> None:
        if isinstance(event, Message):
            self._collect(event)
        elif isinstance(event, Ping):
            self._send(event.response())
        elif isinstance(event, CloseConnection):
            self._send(event.response())
            self._closed = True

    def _collect(self, event: Message[Any]) -> None:
        """Collect a message until it is complete, in one piece: its frames may be empty."""
        self.is_text = isinstance(event.data, str)
        data = event.data.encode() if self.is_text else event.data
        if len(self._message) + len(data) > self.options.max_message:
            text = f"messages have up to {self.options.max_message} bytes"
            self.close(CloseReason.MESSAGE_TOO_BIG, text)
            return
        self._message += data
        if event.message_finished:
            whole, self._message = bytes(self._message), bytearray()
            self.message_received(whole)

    def _send(self, event: Event) -> None:
        self._put(self._connection.send(event))

    def _put(self, data: bytes) -> None:
        if self._busy:
            self._output.append(data)
        else:
            self.transport.write(data)


class EchoSocket(MessageSocket):
    """Sends each message back."""

    def message_received(self, message: bytes) -> None:
        self.send_message(message, self.is_text)
