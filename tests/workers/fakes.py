"""Two ends of a link, and a reactor that starts no process."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.error import ConnectionLost, ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from socketd.workers.link import Handlers, Link


class Wire:
    """
    The transport of one end: what is written is at the other end at once, or after what that has
    just got.

    @ivar peer: the link there.
    """

    def __init__(self) -> None:
        self.peer: Link | None = None
        self.aborted = False
        self._waiting: list[bytes] = []

    def write(self, data: bytes) -> None:
        self._waiting.append(data)
        # Else the call that delivers the first one goes on with this.
        while self.peer is not None and self._waiting[0] is data:
            self.peer.dataReceived(data)
            self._waiting.pop(0)
            if not self._waiting:
                return
            data = self._waiting[0]

    def sendFileDescriptor(self, descriptor: int) -> None:
        if self.peer is not None:
            self.peer.fileDescriptorReceived(os.dup(descriptor))

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Do nothing: it is never full by itself."""

    def abortConnection(self) -> None:
        self.aborted = True

    def loseConnection(self) -> None:
        self.aborted = True


def connect(one: Link, other: Link) -> None:
    """Connect two links."""
    for link, peer in ((one, other), (other, one)):
        wire = Wire()
        wire.peer = peer
        link.makeConnection(wire)


def part(*links: Link) -> None:
    """End the connection of links."""
    for link in links:
        link.connectionLost(Failure(ConnectionLost()))


class FakeProcess:
    """
    A process of a worker.

    @ivar link: the worker's end of the link, which answers as told.
    @ivar killed: whether it was sent SIGKILL.
    """

    def __init__(self, protocol: Any, pid: int, handlers: Handlers) -> None:
        self.pid = pid
        self.protocol = protocol
        self.link = Link(handlers, lambda: None)
        self.killed = False

    def signalProcess(self, name: str) -> None:
        self.killed = name == "KILL"

    def end(self, number: int | None = None) -> None:
        """End it, by a signal if one is named."""
        reason = ProcessDone(0) if number is None else ProcessTerminated(None, number, number)
        link = self.protocol.link
        self.protocol.processEnded(Failure(reason))
        if link is not None:
            part(link)


class ProcessReactor(Clock):
    """
    Starts fake processes, each with a link.

    @ivar processes: those that were started, in their order.
    @ivar handlers: what they answer.
    @ivar failure: raised in place of a start; C{None}: none.
    """

    def __init__(self, handlers: Handlers) -> None:
        super().__init__()
        self.processes: list[FakeProcess] = []
        self.handlers = handlers
        self.failure: OSError | None = None

    def spawnProcess(
        self, protocol: Any, executable: str, args: Any, env: Any, childFDs: dict[int, int]
    ) -> FakeProcess:
        if self.failure is not None:
            raise self.failure
        process = FakeProcess(protocol, 1000 + len(self.processes), self.handlers)
        self.processes.append(process)
        protocol.transport = process
        return process

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Any) -> None:
        with socket.socket(fileno=os.dup(descriptor)) as found:
            assert found.family == family
        connect(factory.buildProtocol(None), self.processes[-1].link)
