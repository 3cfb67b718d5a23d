"""WebSocket messages that are answered by the rules of C{reply}."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from wsproto.frame_protocol import CloseReason

from socketd.protocols.rules.conversation import Script
from socketd.protocols.rules.ruleset import RuleSet
from socketd.protocols.rules.scripted import ScriptedReply
from socketd.protocols.web.message_socket import MessageSocket


class ScriptedSocket(MessageSocket):
    """
    Answers each message by the first rule that matches, as text if it was text.

    @ivar reason: why it closes when the rules are done.
    """

    reason = CloseReason.NORMAL_CLOSURE

    def connectionMade(self) -> None:
        script = Script(self.options.rules or RuleSet())
        self._scripted = ScriptedReply(script, "chunk", self.options.max_message, self.clock)
        self._scripted.makeConnection(MessageTransport(self))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._scripted.connectionLost(reason)

    def drain(self) -> None:
        self.reason = CloseReason.GOING_AWAY
        self._scripted.drain()

    def message_received(self, message: bytes) -> None:
        self._scripted.dataReceived(message)


class MessageTransport:
    """The transport of a protocol whose writes are messages of WebSocket."""

    def __init__(self, socket: ScriptedSocket) -> None:
        self._socket = socket

    @property
    def disconnecting(self) -> bool:
        """Whether closing has begun."""
        return self._socket.disconnecting

    def write(self, data: bytes) -> None:
        """Send a message: text if the last one was text, and it can be."""
        is_text = self._socket.is_text
        try:
            data.decode()
        except UnicodeDecodeError:
            is_text = False
        self._socket.send_message(data, is_text)

    def loseConnection(self) -> None:
        """Close with a close frame."""
        self._socket.close(self._socket.reason)

    def abortConnection(self) -> None:
        """Reset the connection."""
        self._socket.reset()

    def __getattr__(self, name: str) -> Any:
        """Forward all that is about pauses and producers."""
        return getattr(self._socket.transport, name)
