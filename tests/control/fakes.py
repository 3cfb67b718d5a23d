"""A daemon with connections, and nothing bound."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from zope.interface import implementer
from zope.interface.verify import verifyClass

from socketd.common.events import CONNECTION_LOST, CONNECTION_MADE, Event
from socketd.configuration import Configuration
from socketd.control.requests import IOperatorSession
from socketd.daemon.daemon import Daemon
from socketd.daemon.wiring import make_daemon as build_daemon
from socketd.faults.draws import ConnectionDraw
from socketd.net.service_state import Connection, ServiceState
from socketd.net.timer_wheel import NOWHERE
from socketd.protocols.registry import installed
from socketd.protocols.spec import ProtocolContext
from socketd.settings.load import parse

CONFIGURATION = r"""
[ack]
listen = tcp:12345, tcp6:12345
reply = !
operator = always
operator_timeout = 60s
log_messages = text

[shout]
protocol = upper
listen = tcp:8080, udp:8080
"""


def make_daemon(text: str = CONFIGURATION) -> Daemon:
    """Make a daemon of a configuration; its reactor is a L{Clock}."""
    settings = parse(text, "FILE", installed(), "/run/test")
    return build_daemon(Clock(), Configuration(settings), lambda: 0.0)


class FakeContext:
    """What a service shows of itself in TLS."""

    not_after, loads, failures = 1.8e9, 3, 2

    def invalid(self) -> list[tuple[str, str]]:
        """List one certificate that is not valid."""
        return [("tls_certificate", "expired")]


class FakeConnection(StringTransport):
    """A connection of a daemon, in memory."""

    def __init__(self, daemon: Daemon, service_state: ServiceState, peer: str) -> None:
        super().__init__()
        self.connection_id = service_state.connection_table.new_id()
        self.service_state = service_state
        self.peer = peer
        self.began: float = daemon.reactor.seconds()
        self.messages_received = self.bytes_received = self.bytes_sent = 0
        self.protocol: Any = None
        self.tick = NOWHERE
        self.handshaking = False
        self.peer_known = True
        self.half_closed = False
        self.fault: ConnectionDraw | None = None

    def begin(self, protocol: Any) -> None:
        """Connect the protocol."""
        self.protocol = protocol
        self.service_state.enter(self)
        self.service_state.emit(CONNECTION_MADE, peer=self.peer, connection=self.connection_id)
        protocol.makeConnection(self)

    def change_fault(self, draw: ConnectionDraw | None) -> None:
        """Misbehave as was drawn, as far as is shown."""
        self.fault = draw

    def receive(self, data: bytes) -> FakeConnection:
        """Have the peer send data; return this connection."""
        self.messages_received += 1
        self.bytes_received += len(data)
        self.service_state.message(
            self.peer.partition(":")[0], data, self.peer, self.connection_id
        )
        self.protocol.dataReceived(data)
        return self

    def send(self, data: bytes) -> None:
        self.write(data)

    def close(self) -> None:
        self.loseConnection()

    def half_close(self) -> None:
        self.half_closed = True

    def drain_and_close(self) -> None:
        self.close()

    @property
    def source(self) -> tuple[int, Any]:
        """The source that the access policy checked."""
        if self.peer.startswith("unix"):
            return socket.AF_UNIX, self.peer
        host, _, port = self.peer.rpartition(":")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return family, (host.strip("[]"), int(port))

    def reapply_policy(self, slot: Any, reason: str | None) -> None:
        """Stay as it is."""

    def check(self, now: float) -> None:
        """Have no deadline."""

    def write(self, data: bytes) -> None:
        super().write(data)
        self.bytes_sent += len(data)

    def leave(self) -> None:
        """Have the peer close."""
        self.service_state.leave(self)
        self.service_state.emit(
            CONNECTION_LOST,
            peer=self.peer,
            connection=self.connection_id,
            reason="closed",
            received=self.bytes_received,
            sent=self.bytes_sent,
        )
        self.protocol.connectionLost()


def connect(daemon: Daemon, service: str = "ack", peer: str = "127.0.0.1:50001") -> FakeConnection:
    """Connect a peer to a service."""
    (found,) = (one for one in daemon.services if one.name == service)
    around = ProtocolContext(daemon.wall_clock, daemon.operator)
    protocol = found.settings.declared.stream(found.settings.options, around)
    connection = FakeConnection(daemon, found.service_state, peer)
    _: Connection = connection
    connection.begin(protocol)
    return connection


@implementer(IOperatorSession)
class FakeOperatorSession:
    """Keeps what commands ask of an operator's session."""

    who = "operator"

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    def watch(self, service: str | None) -> None:
        self.asked.append(service)

    def attend(self) -> None:
        self.asked.append("attend")

    def leave(self) -> None:
        self.asked.append("leave")


verifyClass(IOperatorSession, FakeOperatorSession)


def watch(daemon: Daemon) -> list[tuple[str, str]]:
    """Watch a daemon: return a list that grows, of each event's name and its text."""
    seen: list[tuple[str, str]] = []

    def watcher(event: Event, facts: dict[str, Any]) -> None:
        seen.append((event.name, event.format.format(**facts)))

    daemon.event_bus.watch(watcher)
    return seen
