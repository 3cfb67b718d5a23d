"""TLS servers with Twisted, for the tests of clients."""

from __future__ import annotations

from typing import Any

from OpenSSL import crypto
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, CertificateOptions, trustRootFromCertificates
from twisted.python.failure import Failure

from tests.support.certificates import Made


def server_options(
    made: Made, clients_of: Made | None = None, protocols: list[bytes] | None = None
) -> CertificateOptions:
    """Return the TLS options of a server, which may serve the clients of an authority only."""
    trust = None
    if clients_of:
        root = Certificate(crypto.X509.from_cryptography(clients_of.certificate))
        trust = trustRootFromCertificates([root])
    return CertificateOptions(
        privateKey=crypto.PKey.from_cryptography_key(made.key),
        certificate=crypto.X509.from_cryptography(made.certificate),
        trustRoot=trust,
        acceptableProtocols=protocols,
    )


class TrackedProtocol(Protocol):
    """A protocol of a server whose end can be waited for: then C{gone} fires."""

    transport: Any

    def __init__(self) -> None:
        self.gone: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone.callback(None)


class SilentServer(TrackedProtocol):
    """Says nothing."""


class EchoServer(TrackedProtocol):
    """Sends back what comes, and waits for the client to close."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class PlainTextServer(TrackedProtocol):
    """Says something that is not of TLS, and closes."""

    def connectionMade(self) -> None:
        self.transport.write(b"220 mail.example ESMTP\r\n")
        self.transport.loseConnection()


class ClosingServer(TrackedProtocol):
    """Closes."""

    def connectionMade(self) -> None:
        self.transport.loseConnection()


class LongReplyServer(TrackedProtocol):
    """Sends more than all buffers hold for the first word, and closes."""

    answer = bytes(range(256)) * 16384

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(self.answer)
        self.transport.loseConnection()


class TruncatingServer(TrackedProtocol):
    """Answers, and ends the connection below TLS."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"half")
        self.transport.transport.loseConnection()


class TrackedFactory(Factory):
    """Makes protocols and remembers them, so that none outlives the test."""

    noisy = False

    def __init__(self, kind: type[TrackedProtocol]) -> None:
        self.kind = kind
        self.made: list[TrackedProtocol] = []

    def buildProtocol(self, addr: Any) -> Protocol:
        self.made.append(self.kind())
        return self.made[-1]

    def abort(self) -> Deferred[Any]:
        """Break off what is left."""
        for protocol in self.made:
            if not protocol.gone.called:
                protocol.transport.abortConnection()
        return gatherResults([protocol.gone for protocol in self.made])
