"""Passes one connection on to a server, in both directions, and records it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from socketd.cli.record.recording import CLOSE, RESET, Recording
from socketd.cli.transport.interface import CallbackProducer, Receiver
from socketd.cli.transport.stream import StreamTransport

#: Connects a receiver to the server.
Connect = Callable[[Receiver], Coroutine[Deferred[Any], Any, None]]


class Side(Receiver):
    """
    One side of a conversation; what it says, and its end, go to the other side.

    @ivar finished: fires when this side is gone.
    """

    other: Side

    def __init__(self, said: Callable[[bytes], None], ended: Callable[[str], None]) -> None:
        """
        @param said: called with each piece of data.
        @param ended: called with C{close} or C{reset}, if this side is the first to end.
        """
        super().__init__()
        self.finished: Deferred[None] = Deferred()
        self.has_ended = False
        self._said = said
        self._ended = ended

    def begin(self) -> None:
        """Send to the other side from now on; while that does not read, this is not read from."""
        transport = self.transport
        # Not the transport itself: it would be aborted when the other side is lost.
        producer = CallbackProducer(transport.pauseProducing, transport.resumeProducing)
        self.other.transport.registerProducer(producer, True)

    # Called by the transport.

    def dataReceived(self, data: bytes) -> None:
        self._said(data)
        self.other.transport.write(data)

    def readConnectionLost(self) -> None:
        self._end(CLOSE)
        if self.other.has_ended:
            self.transport.loseConnection()
            self.other.transport.loseConnection()
        else:
            self.other.transport.loseWriteConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        is_clean = reason.check(ConnectionDone) is not None
        self._end(CLOSE if is_clean else RESET)
        self.finished.callback(None)
        if self.other.transport is not None and not self.other.finished.called:
            if is_clean:
                self.other.transport.loseConnection()
            else:
                self.other.transport.abortConnection()

    def _end(self, how: str) -> None:
        if not (self.has_ended or self.other.has_ended):
            self._ended(how)
        self.has_ended = True


class OneClientFactory(Factory[StreamTransport]):
    """
    Accepts one client.

    @ivar accepted: fires with its transport.
    """

    noisy = False

    def __init__(self, client: Side) -> None:
        self.accepted: Deferred[StreamTransport] = Deferred()
        self._client = client

    def buildProtocol(self, addr: IAddress | None) -> StreamTransport | None:
        if self.accepted.called:
            return None
        stream = StreamTransport(self._client)
        stream.ready.addCallback(lambda _: self.accepted.callback(stream))
        return stream


async def pass_on(
    recording: Recording, listen: Callable[[OneClientFactory], Any], connect: Connect
) -> None:
    """
    Accept one client, connect it to the server, and record what both say until both are gone.

    @param listen: makes a listening port for the factory.
    """
    client = Side(recording.asked, lambda how: None)
    server = Side(recording.answered, recording.ended)
    client.other, server.other = server, client
    factory = OneClientFactory(client)
    port = listen(factory)
    stream: Any = await factory.accepted
    client.makeConnection(stream)
    # Not read from before the server is connected.
    stream.pauseProducing()
    port.stopListening()
    try:
        await connect(server)
    except BaseException:
        stream.abortConnection()
        raise
    client.begin()
    server.begin()
    stream.resumeProducing()
    await client.finished
    await server.finished
