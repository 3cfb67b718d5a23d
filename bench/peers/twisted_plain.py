"""The plain Twisted peer: TCP echo and UDP time on the reactor that Twisted chooses."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from zope.interface import implementer

from bench.peers.listening import BACKLOG, HOST, announce, read_port, time_reply


@implementer(IHalfCloseableProtocol)
class Echo(Protocol):
    """
    Sends back what comes.

    Half-close is provided for because without it Twisted drops the unsent reply at EOF, and a
    peer that loses replies cannot be compared.
    """

    def dataReceived(self, data: bytes) -> None:
        """Answer."""
        assert self.transport is not None
        self.transport.write(data)

    def readConnectionLost(self) -> None:
        """The client has said all: close once the reply is out."""
        assert self.transport is not None
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Nothing to do."""


class Time(DatagramProtocol):
    """Answers the time to every datagram."""

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Answer."""
        assert self.transport is not None
        self.transport.write(time_reply(), addr)


def serve(reactor: Any, port: int) -> None:
    """Serve both on one port until the process is ended."""
    listening = reactor.listenTCP(port, Factory.forProtocol(Echo), BACKLOG, HOST)
    bound = listening.getHost().port
    reactor.listenUDP(bound, Time(), HOST)
    reactor.callWhenRunning(announce, bound)
    reactor.run()


if __name__ == "__main__":
    from twisted.internet import reactor as chosen

    serve(chosen, read_port("plain Twisted: TCP echo and UDP time"))
