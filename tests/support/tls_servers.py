"""Certificates and TLS servers for tests."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import crypto
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, CertificateOptions, trustRootFromCertificates
from twisted.python.failure import Failure

from socketd.cli.system.development_ca import Issued, issue_client, issue_server, make_authority

NAMES = ["localhost", "127.0.0.1", "*.example.com"]


def today() -> datetime:
    """Return the current time, in whole seconds."""
    return datetime.fromtimestamp(int(time.time()), UTC)


@cache
def authority() -> Issued:
    """Return the authority that the tests trust."""
    return make_authority(today())


@cache
def stranger() -> Issued:
    """Return an authority that no test trusts."""
    return make_authority(today())


@cache
def server() -> Issued:
    """Return the certificate of a good server, for L{NAMES}."""
    return issue_server(authority(), NAMES, today(), 30)


@cache
def client(by: Issued) -> Issued:
    """Return the certificate of a client."""
    return issue_client(by, today(), 30)


def server_of_days(first: int, days: int) -> Issued:
    """Return a certificate that is valid for so many days, from some days from now on."""
    by = make_authority(today() - timedelta(days=100))
    trusted = Issued(_signed_again(by.certificate), authority().key)
    return issue_server(trusted, NAMES, today() + timedelta(days=first), days)


def _signed_again(old: x509.Certificate) -> x509.Certificate:
    # The same authority as the trusted one, but for the time when it began.
    new = authority().certificate
    builder = x509.CertificateBuilder(
        new.subject, new.subject, new.public_key(), new.serial_number,
        old.not_valid_before_utc, new.not_valid_after_utc, list(new.extensions),
    )
    return builder.sign(authority().key, hashes.SHA256())


def nameless_server(by: Issued | None) -> Issued:
    """Return a certificate with a name in its subject only; by default it is self-signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    issuer, signer = (by.certificate.subject, by.key) if by else (subject, key)
    builder = x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(),
        today() - timedelta(hours=1), today() + timedelta(days=1),
    )
    return Issued(builder.sign(signer, hashes.SHA256()), key)


def contexts(
    issued: Issued, clients_of: Issued | None = None, protocols: list[bytes] | None = None
) -> CertificateOptions:
    """Return the TLS options of a server, which may serve the clients of an authority only."""
    trust = None
    if clients_of:
        root = Certificate(crypto.X509.from_cryptography(clients_of.certificate))
        trust = trustRootFromCertificates([root])
    return CertificateOptions(
        privateKey=crypto.PKey.from_cryptography_key(issued.key),
        certificate=crypto.X509.from_cryptography(issued.certificate),
        trustRoot=trust,
        acceptableProtocols=protocols,
    )


def write_pems(directory: Path, **pems: bytes) -> dict[str, str]:
    """Write files into a new directory, and return their paths, by name."""
    directory.mkdir(exist_ok=True, parents=True)
    for name, data in pems.items():
        (directory / name).write_bytes(data)
    return {name: str(directory / name) for name in pems}


class Noted(Protocol):
    """
    A protocol of a server whose end can be waited for.

    @ivar gone: fires when the connection is.
    """

    def __init__(self) -> None:
        self.gone: Deferred[None] = Deferred()

    @property
    def peer(self) -> Any:
        """The way to the client."""
        return self.transport

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone.callback(None)


class Silent(Noted):
    """Says nothing."""


class EchoPeer(Noted):
    """Sends back what comes, and waits for the client to close."""

    def dataReceived(self, data: bytes) -> None:
        self.peer.write(data)


class Talkative(Noted):
    """Says something that is not of TLS, and closes."""

    def connectionMade(self) -> None:
        self.peer.write(b"220 mail.example ESMTP\r\n")
        self.peer.loseConnection()


class Closing(Noted):
    """Closes."""

    def connectionMade(self) -> None:
        self.peer.loseConnection()


class LongAnswer(Noted):
    """Sends more than all buffers hold for the first word, and closes."""

    answer = bytes(range(256)) * 16384

    def dataReceived(self, data: bytes) -> None:
        self.peer.write(self.answer)
        self.peer.loseConnection()


class CutOff(Noted):
    """Answers, and ends the connection below TLS."""

    def dataReceived(self, data: bytes) -> None:
        self.peer.write(b"half")
        self.peer.transport.loseConnection()


class Connections(Factory):
    """Makes protocols and remembers them, so that none outlives the test."""

    noisy = False

    def __init__(self, kind: type[Noted]) -> None:
        self.kind = kind
        self.made: list[Noted] = []

    def buildProtocol(self, addr: Any) -> Protocol:
        self.made.append(self.kind())
        return self.made[-1]

    def abort(self) -> Deferred[Any]:
        """Break off what is left."""
        for protocol in self.made:
            if not protocol.gone.called:
                protocol.peer.abortConnection()
        return gatherResults([protocol.gone for protocol in self.made])


def joined(items: Iterable[Issued]) -> bytes:
    """Put certificates into one file."""
    return b"".join(one.certificate_pem for one in items)
