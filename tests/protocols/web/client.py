"""A client of C{http} in memory."""

from __future__ import annotations

import json
from http.client import HTTPResponse
from io import BytesIO
from typing import Any, TypeVar
from unittest import mock

from attrs import evolve, frozen
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.events import Event
from socketd.protocols.spec import NoRecord
from tests.protocols.fakes import Wire, context, make_stream

#: Later than any timer that is set for others' sake.
SOON = 0.001

#: The head of a request.
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


def request(
    target: str = "/", method: str = "GET", body: bytes | None = None, **headers: str
) -> bytes:
    """Write a request; C{_} in the name of a header is a hyphen."""
    lines = [f"{method} {target} HTTP/1.1", "Host: x"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


@frozen
class Response:
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The value of its body."""
        return json.loads(self.body)


def responses(sent: bytes, method: str = "GET") -> list[Response]:
    """Parse all that a connection sent."""
    file, found = BytesIO(sent), []
    while file.tell() < len(sent):
        sock = mock.Mock(makefile=lambda *_, **__: _Unclosed(file))
        response = HTTPResponse(sock, method=method)
        response.begin()
        found.append(Response(response.status, dict(response.headers), response.read()))
    return found


class _Unclosed(BytesIO):
    """A file of what another one has, which is read on where this one ends."""

    def __init__(self, file: BytesIO) -> None:
        self._file = file
        super().__init__(file.getvalue())
        self.seek(file.tell())

    def close(self) -> None:
        self._file.seek(self.tell())


class Record(NoRecord):
    """
    The record of a service in memory.

    @ivar events: each event, whether it is logged, and its facts.
    """

    def __init__(self) -> None:
        super().__init__(announced=True, log_connections=True)
        self.events: list[tuple[Event, bool, dict[str, Any]]] = []

    def emit(self, event: Event, logged: bool = True, **facts: Any) -> None:
        self.events.append((event, logged, facts))


class WebWire(Wire):
    """
    A string transport with a peer.

    @ivar protocol: what gets received data.
    """

    peer = "192.0.2.1:54321"
    protocol: Any


class Connection:
    """One connection to a service."""

    def __init__(self, clock: Clock, name: str = "http", **options: Any) -> None:
        self.clock = clock
        self.record = Record()
        around = evolve(context(now=1e9), clock=clock, service="web", record=self.record)
        self.channel = make_stream(name, around, **options)
        self.wire = WebWire()
        self.wire.protocol = self.channel
        self.channel.makeConnection(self.wire)

    def send(self, *pieces: bytes) -> None:
        """Send pieces, as long as the connection is read, and let their turns pass."""
        for piece in pieces:
            if not self.wire.disconnecting:
                self.wire.protocol.dataReceived(piece)
            self.clock.advance(SOON)

    def taken(self, method: str = "GET") -> list[Response]:
        """Take the responses that were sent since the last time."""
        return responses(self.wire.taken(), method)

    def lose(self) -> None:
        """End the connection."""
        self.wire.protocol.connectionLost(Failure(ConnectionDone()))


AnyConnection = TypeVar("AnyConnection", bound=Connection)


class WebCase(SynchronousTestCase):
    """A service, and connections to it."""

    def setUp(self) -> None:
        self.clock = Clock()

    def connect(self, **options: Any) -> Connection:
        """Make a connection, which leaves no timer when it is lost."""
        return self.lost_at_last(Connection(self.clock, **options))

    def lost_at_last(self, connection: AnyConnection) -> AnyConnection:
        """Lose a connection at the end of the test, and see that it leaves no timer."""
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))
        self.addCleanup(connection.lose)
        return connection

    def ask(self, *pieces: bytes, method: str = "GET", **options: Any) -> Response:
        """Make one request on a connection of its own."""
        connection = self.connect(**options)
        connection.send(*pieces)
        (response,) = connection.taken(method)
        return response

    def get(self, target: str, **headers: str) -> Response:
        """Ask for a path."""
        return self.ask(request(target, "GET", None, **headers))
