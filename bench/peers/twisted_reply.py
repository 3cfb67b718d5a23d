"""The plain Twisted peer that answers a line with another one: C{LineOnlyReceiver}."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver

from bench.peers.conversation import ANSWER, QUESTION
from bench.peers.listening import BACKLOG, BESIDE, HOST, announce, read_port
from bench.peers.twisted_plain import Echo

_ANSWERS = {QUESTION.rstrip().encode(): ANSWER.rstrip().encode()}


class Reply(LineOnlyReceiver):
    """Looks each line up in a dictionary."""

    def lineReceived(self, line: bytes) -> None:
        """Answer."""
        self.sendLine(_ANSWERS.get(line, b"ERROR"))


def serve(reactor: Any, port: int) -> None:
    """Serve the answers, and the echo beside them, until the process is ended."""
    reactor.listenTCP(port, Factory.forProtocol(Reply), BACKLOG, BESIDE)
    reactor.listenTCP(port, Factory.forProtocol(Echo), BACKLOG, HOST)
    reactor.callWhenRunning(announce, port)
    reactor.run()


if __name__ == "__main__":
    from twisted.internet import reactor as chosen

    serve(chosen, read_port("plain Twisted: a line is answered with another one"))
