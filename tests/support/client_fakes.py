"""Doubles of what the client subcommands talk to, and the command as a process."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.internet.testing import StringTransport
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

import socketd
from socketd.cli.client.stdio import IInput, IInputReceiver, IOutput
from socketd.cli.transport.interface import IClientTransport, Receiver
from socketd.common.text import columns

ROOT = str(Path(socketd.__file__).parent.parent)

#: Standard output, standard error, exit status.
Outcome = tuple[bytes, bytes, int]


@implementer(IInput)
class MemoryInput:
    """An input that a test feeds by hand."""

    def __init__(self, is_terminal: bool = False) -> None:
        self.is_terminal = is_terminal
        self.is_paused = False
        self.receiver: IInputReceiver | None = None

    def start(self, receiver: IInputReceiver) -> None:
        self.receiver = receiver

    def pauseProducing(self) -> None:
        self.is_paused = True

    def resumeProducing(self) -> None:
        self.is_paused = False

    def stopProducing(self) -> None:
        self.is_paused = True

    def feed(self, data: bytes) -> None:
        assert self.receiver is not None
        self.receiver.input_received(data)

    def end(self) -> None:
        assert self.receiver is not None
        self.receiver.input_ended()


@implementer(IOutput)
class MemoryOutput:
    """An output that keeps what is written."""

    def __init__(self) -> None:
        self.data = b""
        self.producer: Any = None
        self.is_finished = False

    def write(self, data: bytes) -> None:
        self.data += data

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming and IPushProducer.providedBy(producer)
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def finish(self) -> Deferred[None]:
        self.is_finished = True
        return succeed(None)

    def take(self) -> bytes:
        """Return what was written since the last time."""
        data, self.data = self.data, b""
        return data


@implementer(IClientTransport)
class MemoryTransport:
    """A client transport without a peer, which records its calls."""

    def __init__(self, is_datagram: bool = False) -> None:
        self.is_datagram = is_datagram
        self.can_half_close = not is_datagram
        self.calls: list[str] = []
        self.sent: list[bytes] = []
        self.producer: Any = None
        self.arrived_at: int | None = None

    def connect(self, receiver: Receiver) -> None:
        """Become the transport of a receiver."""
        transport: Any = self
        receiver.makeConnection(transport)

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def mark(self, ttl: int, tos: int) -> None:
        self.calls.append(f"mark {ttl} {tos}")

    def stamp_arrivals(self) -> None:
        self.calls.append("stamp arrivals")

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.abortConnection()

    def loseWriteConnection(self) -> None:
        self.calls.append("end")

    def loseConnection(self) -> None:
        self.calls.append("close")

    def abortConnection(self) -> None:
        self.calls.append("abort")


class MemoryReceiver(Receiver):
    """Records what a client transport delivers."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[bytes] = []
        self.has_eof = False
        self.reasons: list[Failure] = []

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)

    def readConnectionLost(self) -> None:
        self.has_eof = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reasons.append(reason)


class UpperDatagrams(DatagramProtocol):
    """Answers each datagram in upper case."""

    transport: Any

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.transport.write(datagram.upper(), addr)


class Server(Protocol):
    """The base of servers, with any transport."""

    transport: Any


class HalfCloseTransport(StringTransport):
    """A string transport that can shut down its writing side."""

    has_ended = False
    transport: Any = None

    def loseWriteConnection(self) -> None:
        self.has_ended = True


class Paper:
    """A terminal of carriage return, backspace and line end; the last line has the cursor."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.lines: list[list[str]] = [[]]
        self.column = 0

    def write(self, text: str) -> None:
        for character in text:
            if character == "\n":
                self.lines.append([])
                self.column = 0
            elif character == "\r":
                self.column = 0
            elif character == "\b":
                self.column -= 1
                assert self.column >= 0, "left of the line"
            else:
                self._print(character)

    def _print(self, character: str) -> None:
        assert character.isprintable(), ascii(character)
        line, width = self.lines[-1], columns(character)
        line += [" "] * (self.column + width - len(line))
        line[self.column : self.column + width] = [character, ""][:width]
        self.column += width
        assert self.column < self.width, "the last column is used"

    @property
    def last(self) -> str:
        """The line of the cursor."""
        return "".join(self.lines[-1]).rstrip(" ")


class CommandTestCase(TestCase):
    """A test of the command as a process."""

    timeout = 60

    @property
    def reactor(self) -> Any:
        from twisted.internet import reactor

        return reactor

    def listen(self, protocol: type[Protocol]) -> int:
        """Serve TCP on the loopback interface for the length of the test."""
        factory = Factory.forProtocol(protocol)
        factory.noisy = False
        return self.until_the_end(self.reactor.listenTCP, factory)

    def listen_datagrams(self, protocol: Any) -> int:
        """Serve UDP on the loopback interface for the length of the test."""
        protocol.noisy = False
        return self.until_the_end(self.reactor.listenUDP, protocol)

    async def command(self, *arguments: str, stdin: bytes = b"") -> Outcome:
        """Run C{socketd} to its end."""
        outcome: Outcome = await getProcessOutputAndValue(
            sys.executable, ("-m", "socketd", *arguments), env=environment(), stdinBytes=stdin
        )
        return outcome

    def refusing_port(self, kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
        """Take a port for the length of the test, at which every connection is refused."""
        taken = socket.socket(type=kind)
        self.addCleanup(taken.close)
        taken.bind(("127.0.0.1", 0))
        number: int = taken.getsockname()[1]
        if kind is socket.SOCK_DGRAM:
            # The kernel refuses on its behalf what does not come from the one peer it has.
            taken.connect(("127.0.0.1", 9))
        return number

    def until_the_end(self, listen: Any, *server: Any) -> int:
        """Listen on the loopback interface for the length of the test, and return the port."""
        port = listen(0, *server, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number


def environment() -> dict[str, str]:
    """The environment that makes the command's output the same everywhere."""
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "PYTHONPATH": ROOT, "TZ": "UTC", "PYTHONUTF8": "1"}
