"""
TLS for clients: trust roots, server verification, and a report of the negotiated parameters.

Imported only by L{socketd.cli.transport.connect.load_tls}, and only when TLS is used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from OpenSSL.SSL import X509VerificationCodes as Codes
from service_identity import VerificationError
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    platformTrust,
    trustRootFromCertificates,
)
from zope.interface import implementer

from socketd.cli.common.output import note
from socketd.cli.common.pem import load_certificates, load_key
from socketd.cli.transport.error_text import explain
from socketd.cli.transport.tls_options import ClientTlsOptions
from socketd.common.errors import CommandError
from socketd.common.host_names import is_ip_address
from socketd.common.text import one_line
from socketd.net.tls.certificates import PARSE_ERRORS, alternative_names

INSECURE = "--insecure: the server is NOT VERIFIED, it may be an impostor"

#: Maximum number of certificate names shown: a server's certificate can have thousands.
SHOWN_NAMES = 10

#: Maximum characters shown of each name.
SHOWN_CHARACTERS = 100

UNKNOWN = "is of an authority that is not trusted"

#: OpenSSL's verification errors in words.
REFUSALS: dict[int, str] = {
    Codes.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: "is self-signed and not trusted",
    Codes.ERR_SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN,
    Codes.ERR_UNABLE_TO_GET_ISSUER_CERT: UNKNOWN,
    Codes.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNKNOWN,
    Codes.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN,
    Codes.ERR_CERT_SIGNATURE_FAILURE: "has a wrong signature",
    Codes.ERR_CERT_REVOKED: "is revoked",
    Codes.ERR_INVALID_PURPOSE: "is not for a server",
    Codes.ERR_INVALID_CA: "is of an issuer that is no authority",
    Codes.ERR_PATH_LENGTH_EXCEEDED: "has more authorities above it than they allow",
    Codes.ERR_CERT_CHAIN_TOO_LONG: "has too many authorities above it",
}

#: Seconds per day.
DAY = 86400


def load(options: ClientTlsOptions) -> ClientTls:
    """Load the TLS files, or raise a L{CommandError}; warn when the server is not verified."""
    own = _own(options) if options.certificate else {}
    trust = _trust(options) if options.is_verified else None
    if not options.is_verified:
        note(INSECURE)
    contexts = CertificateOptions(
        trustRoot=trust,
        acceptableProtocols=list(options.protocols) or None,
        raiseMinimumTo=TLSVersion.TLSv1_3 if options.is_newest else None,
        **own,
    )
    with _naming(options.certificate):
        contexts.getContext()
    return ClientTls(contexts, options)


def _own(options: ClientTlsOptions) -> dict[str, Any]:
    """Load the client's private key and certificate chain."""
    first, *chain = load_certificates(options.certificate)
    key = load_key(options.key, first)
    with _naming(options.certificate):
        return {
            "privateKey": crypto.PKey.from_cryptography_key(key),
            "certificate": crypto.X509.from_cryptography(first),
            "extraCertChain": [crypto.X509.from_cryptography(issuer) for issuer in chain],
        }


def _trust(options: ClientTlsOptions) -> Any:
    if not options.authorities:
        return platformTrust()
    trusted = load_certificates(options.authorities)
    with _naming(options.authorities):
        return trustRootFromCertificates(
            [Certificate(crypto.X509.from_cryptography(root)) for root in trusted]
        )


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Add the file name to errors of OpenSSL."""
    try:
        yield
    except (crypto.Error, SSL.Error) as error:
        raise CommandError(f"{path}: {explain(error)}") from error
    except TypeError as error:
        raise CommandError(f"{path}: a key of that kind is not for TLS") from error


@implementer(IOpenSSLClientConnectionCreator)
class ClientTls:
    """
    Adds TLS to one connection.

    Twisted's C{optionsForClientTLS} is not used: it only logs unexpected errors of the name check
    and accepts the connection, so a certificate without names would be valid for every server.
    Here every error of the check is a C{refusal}.
    """

    def __init__(self, contexts: CertificateOptions, options: ClientTlsOptions) -> None:
        self.refusal = ""
        self._contexts = contexts
        self._options = options

    def wrap(self, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        """Add TLS to the endpoint of a plain stream."""
        wrapped: IStreamClientEndpoint = wrapClientTLS(self, endpoint)
        return wrapped

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection: SSL.Connection = self._contexts.clientConnectionForTLS(tlsProtocol)
        name = self._options.name
        # SNI does not permit IP addresses (RFC 6066, section 3).
        if name and not is_ip_address(name):
            connection.set_tlsext_host_name(name.encode("ascii"))
        if self._options.is_verified:
            connection.set_verify(SSL.VERIFY_PEER, self._verify)
        else:
            connection.set_verify(SSL.VERIFY_NONE, lambda *_: True)
        return connection

    def explained(self, error: Exception, is_connected: bool) -> Exception:
        """Return what to raise instead of an error, before or after the plain connection."""
        if self.refusal:
            return CommandError(f"TLS: {self.refusal}")
        if is_connected and isinstance(error, ConnectionDone | ConnectionLost):
            return CommandError("TLS: the peer ended the handshake; does it speak TLS?")
        return error

    def report(self, transport: Any, wall_clock: Callable[[], float] = time.time) -> None:
        """Report what was negotiated on a TLS transport, if C{--verbose} is set."""
        if self._options.is_verbose:
            for line in describe(transport.getHandle(), wall_clock()):
                note(line)

    def _verify(
        self, connection: object, certificate: crypto.X509, number: int, depth: int, good: int
    ) -> bool:
        # An exception raised here would be reported as a handshake error, without its cause.
        try:
            found = certificate.to_cryptography()
            if not good:
                self.refusal = _refusal(found, number, depth)
            elif depth == 0:
                name = self._options.name
                is_address = is_ip_address(name)
                verify = (
                    verify_certificate_ip_address if is_address else verify_certificate_hostname
                )
                verify(found, name)
        except VerificationError:
            names = ", ".join(peer_names(found)) or "no name"
            self.refusal = f"the certificate is for {names}, not for {self._options.name}"
        except Exception as error:
            self.refusal = f"the certificate cannot be verified: {error}"
        return not self.refusal


def _refusal(certificate: x509.Certificate, number: int, depth: int) -> str:
    whose = "the certificate" if depth == 0 else "the certificate of an authority above it"
    if number == Codes.ERR_CERT_HAS_EXPIRED:
        return f"{whose} expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    if number == Codes.ERR_CERT_NOT_YET_VALID:
        return f"{whose} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    # OpenSSL reports an unknown issuer for the last certificate of the chain.
    if REFUSALS.get(number) == UNKNOWN:
        return f"the certificate {UNKNOWN}"
    return f"{whose} {REFUSALS.get(number, f'was refused (verification error {number})')}"


def describe(connection: SSL.Connection, now: float) -> Iterator[str]:
    """Describe a TLS connection after the handshake, in lines that are safe for a terminal."""
    protocol = connection.get_alpn_proto_negotiated().decode("utf-8", "backslashreplace")
    version, cipher = connection.get_protocol_version_name(), connection.get_cipher_name()
    yield f"TLS: {version}, {cipher}, ALPN {one_line(protocol) or 'none'}"
    certificate = connection.get_peer_certificate()
    if certificate is not None:
        yield f"TLS: the certificate {_about(certificate, now)}"


def _about(certificate: crypto.X509, now: float) -> str:
    try:
        found = certificate.to_cryptography()
    except PARSE_ERRORS:
        return "cannot be read"
    names = ", ".join(peer_names(found)) or "no name"
    return f"is for {names}; {days_left(found, now)}"


def peer_names(certificate: x509.Certificate) -> list[str]:
    """List the first names of a certificate, which may be malformed; safe for a terminal."""
    try:
        names = [str(getattr(name, "value", name)) for name in alternative_names(certificate)]
    except PARSE_ERRORS:
        return ["names that cannot be read"]
    shown = [one_line(name[:SHOWN_CHARACTERS]) for name in names[:SHOWN_NAMES]]
    if len(names) > SHOWN_NAMES:
        shown.append(f"{len(names) - SHOWN_NAMES} more")
    return shown


def days_left(certificate: x509.Certificate, now: float) -> str:
    """Describe the remaining validity, or the time since expiry, in whole days."""
    left = certificate.not_valid_after_utc - datetime.fromtimestamp(now, UTC)
    days = int(abs(left.total_seconds()) // DAY)
    unit = "day" if days == 1 else "days"
    return f"{days} {unit} left" if left.total_seconds() >= 0 else f"expired {days} {unit} ago"
