"""Certificates and keys: read from PEM files and validated before use."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise
from typing import Any

from attrs import define, field, frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from socketd.common.system_clock import is_plausible
from socketd.settings.tls import PeerName

#: Bytes: a certificate is 1 to 4 KiB, a chain has few, and peers accept at most 100 KiB;
#: a file of client CAs has more, but never the thousands of a system's store.
MAX_FILE_SIZE = 256 * 1024

#: Shorter RSA keys are insecure, and rejected by OpenSSL and by peers.
MIN_RSA_BITS = 2048

# RFC 5280 requires positive serial numbers; OpenSSL and peers accept others of old tools.
warnings.filterwarnings("ignore", "Parsed a serial number which wasn't positive")

#: The supported types of private key.
Key = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)

_GOOD_KEYS = f"use EC P-256, Ed25519, or RSA of {MIN_RSA_BITS} bits or more"

_BEGIN, _END = b"-----BEGIN ", b"-----END "
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"

#: Exceptions raised when an unusual certificate, or one of its fields, is parsed.
PARSE_ERRORS = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@define(eq=False)
class CertificateError(Exception):
    """
    An unusable file.

    @ivar message: the problem and its remedy in one line, without any of the file's
        contents.
    """

    option: str
    message: str


@frozen
class Validity:
    """
    The validity period of a certificate in a file.

    @ivar place: which certificate of which file.
    """

    option: str
    place: str
    begin: datetime
    end: datetime

    def problem(self, now: float) -> str:
        """
        Say in one line why it is not valid at C{now} (seconds since 1970); empty if it is.

        Also empty while the clock is implausible: a host without an RTC battery boots in
        1970 and gets the time later, perhaps over the network.
        """
        if not is_plausible(now):
            return ""
        if now > self.end.timestamp():
            return f"{self.place} expired at {self.end:%Y-%m-%d %H:%M} UTC; renew it"
        if now < self.begin.timestamp():
            today = datetime.fromtimestamp(now, UTC)
            return (
                f"{self.place} is valid from {self.begin:%Y-%m-%d %H:%M} UTC on;"
                f" the clock says {today:%Y-%m-%d %H:%M}"
            )
        return ""


def validities(
    certificates: Iterable[x509.Certificate], path: str, option: str
) -> tuple[Validity, ...]:
    """List the validity periods of the certificates in a file."""
    return tuple(
        Validity(
            option,
            f"certificate {number} of {path}",
            one.not_valid_before_utc,
            one.not_valid_after_utc,
        )
        for number, one in enumerate(certificates, 1)
    )


@frozen
class Identity:
    """
    A private key with its certificate chain; equal if certificate and chain are.

    @ivar chain: the issuers, each of the one before; without the root.
    @ivar names: the host names of the certificate, in lower case.
    @ivar not_after: when the first certificate of the chain expires (seconds since 1970).
    @ivar fingerprint: SHA-256 of the certificate, in hexadecimal digits.
    """

    key: Key = field(eq=False, repr=False)
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    names: frozenset[str]
    not_after: float
    fingerprint: str

    def __repr__(self) -> str:
        """Show the fingerprint, not the key."""
        return f"<Identity {self.fingerprint}>"


def load_identity(
    certificate: str, key: str, options: tuple[str, str] = ("tls_certificate", "tls_key")
) -> Identity:
    """
    Read and check a certificate, its chain and its key; L{validities} gives the validity
    periods, which are not checked here.

    @param certificate: the path of a PEM file: the certificate, then its chain.
    @raise CertificateError: if a file is unusable.
    """
    certificate_file = _PemFile(certificate, options[0])
    key_file = _PemFile(key, options[1])
    chain = certificate_file.certificates()
    _check_order(chain, certificate_file)
    private = key_file.key()
    public = public_key_of(chain[0])
    if public is None:
        raise certificate_file.error(f"has a public key of an unsupported type; {_GOOD_KEYS}")
    if private.public_key() != public:
        raise key_file.error(f"is not the key of {certificate}; give the two that belong together")
    return Identity(
        key=private,
        certificate=chain[0],
        chain=chain[1:],
        names=frozenset(name.value for name in names_of(chain[0]) if name.kind == "dns"),
        not_after=min(found.not_valid_after_utc.timestamp() for found in chain),
        fingerprint=chain[0].fingerprint(SHA256()).hex(),
    )


def load_authorities(path: str, option: str) -> tuple[x509.Certificate, ...]:
    """
    Read the CA certificates that client certificates are verified against.

    @raise CertificateError: if a file is unusable.
    """
    file = _PemFile(path, option)
    found = file.certificates()
    for number, certificate in enumerate(found, 1):
        if not is_authority(certificate):
            raise file.error("is not that of an authority (CA)", number)
    return found


def alternative_names(certificate: x509.Certificate) -> Iterable[x509.GeneralName]:
    """
    List the subject alternative names of a certificate (RFC 5280, 4.2.1.6).

    @raise Exception: one of L{PARSE_ERRORS}, if they cannot be parsed.
    """
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return found.value


def names_of(certificate: x509.Certificate) -> frozenset[PeerName]:
    """List the names of a certificate that a client can be served by; none if unparsable."""
    try:
        return frozenset(_peer_names(alternative_names(certificate)))
    except PARSE_ERRORS:
        return frozenset()


def peer_certificate(tls: Any) -> x509.Certificate | None:
    """Return the certificate of a TLS peer; C{None} if it sent none, or an unreadable one."""
    try:
        # OpenSSL accepts certificates that cryptography does not, e.g. of unknown version.
        found: x509.Certificate | None = tls.get_peer_certificate(as_cryptography=True)
    except PARSE_ERRORS:
        return None
    return found


def written_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """List the subject of a certificate (RFC 4514), then its alternative names, sorted."""
    try:
        subject = certificate.subject.rfc4514_string()
    except PARSE_ERRORS:
        subject = ""
    return (*filter(None, [subject]), *map(str, sorted(names_of(certificate))))


def _peer_names(names: Iterable[x509.GeneralName]) -> Iterable[PeerName]:
    for name in names:
        value = name.value
        if isinstance(name, x509.DNSName):
            yield PeerName("dns", name.value.lower())
        elif isinstance(name, x509.UniformResourceIdentifier):
            yield PeerName("uri", name.value)
        elif isinstance(name, x509.RFC822Name):
            yield PeerName("email", name.value)
        elif isinstance(value, IPv4Address | IPv6Address):
            yield PeerName("ip", str(value))


@frozen
class _PemFile:
    """A PEM file that an option names."""

    path: str
    option: str

    def error(self, message: str, number: int = 0) -> CertificateError:
        """Make the error of this file, or of one of its certificates."""
        where = f"certificate {number} of {self.path}" if number else self.path
        return CertificateError(self.option, f"{where} {message}")

    def certificates(self) -> tuple[x509.Certificate, ...]:
        """Read all certificates, at least one."""
        data = self._read()
        if _CERTIFICATE not in data:
            raise self.error("has no certificate; give a PEM file with one")
        try:
            return tuple(x509.load_pem_x509_certificates(data))
        except PARSE_ERRORS:
            message = "is damaged: it has something that is no certificate; write it again"
            raise self.error(message) from None

    def key(self) -> Key:
        """Read a private key, which must not be accessible to other users."""
        data = self._read(secret=True)
        if b"PRIVATE KEY-----" not in data:
            raise self.error("has no private key; give the PEM file of the key")
        try:
            # The exception's own text is not used: it might quote the file.
            key: Any = load_pem_private_key(data, None)
        except TypeError:
            message = "is encrypted, and a daemon cannot ask for the password; decrypt it"
            raise self.error(message) from None
        except (ValueError, UnsupportedAlgorithm):
            message = "is damaged, or has a key of an unknown type; write it again"
            raise self.error(message) from None
        is_weak = isinstance(key, rsa.RSAPrivateKey) and key.key_size < MIN_RSA_BITS
        if is_weak or not isinstance(key, Key):
            raise self.error(f"has a key that peers refuse; {_GOOD_KEYS}")
        return key

    def _read(self, secret: bool = False) -> bytes:
        try:
            # Non-blocking: a FIFO at this path must not block the daemon.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:
                mode = os.fstat(descriptor).st_mode
                data = file.read(MAX_FILE_SIZE + 1) if stat.S_ISREG(mode) else b""
        except (OSError, ValueError) as problem:
            reason = os.strerror(getattr(problem, "errno", None) or 0)
            raise self.error(f"cannot be read: {reason}") from None
        if not stat.S_ISREG(mode):
            raise self.error("is not a regular file; give the path of a PEM file")
        if secret and mode & stat.S_IRWXO:
            raise self.error(f"has a key, and other users may access it; chmod o= {self.path}")
        if len(data) > MAX_FILE_SIZE:
            size = MAX_FILE_SIZE // 1024
            raise self.error(f"is longer than {size} KiB; give what is needed only")
        if _BEGIN not in data:
            raise self.error("is not PEM; give a file with -----BEGIN and -----END lines")
        if data.count(_BEGIN) != data.count(_END):
            raise self.error("is cut off; write all of it, to its last END line")
        return data


def public_key_of(certificate: x509.Certificate) -> object:
    """Return the public key of a certificate; C{None} if its type is unsupported."""
    try:
        # Parsed as a plain RSA key, for which OpenSSL then finds no certificate.
        is_pss = certificate.public_key_algorithm_oid == x509.PublicKeyAlgorithmOID.RSASSA_PSS
        return None if is_pss else certificate.public_key()
    except PARSE_ERRORS:
        return None


def is_authority(certificate: x509.Certificate) -> bool:
    """Say whether a certificate is that of a CA (RFC 5280, 4.2.1.9)."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, *PARSE_ERRORS):
        return False
    return found.value.ca


def _check_order(chain: Iterable[x509.Certificate], file: _PemFile) -> None:
    for number, (certificate, issuer) in enumerate(pairwise(chain), 1):
        if not _issued(issuer, certificate):
            raise file.error(
                f"did not issue certificate {number}; write the server's own first, then each"
                " issuer behind the one it issued",
                number + 1,
            )


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """
    Say whether one certificate issued another: the names match by OpenSSL's rules, and
    the signature verifies.
    """
    try:
        if _canonical(issuer.subject) != _canonical(certificate.issuer):
            return False
        _verify_signature(certificate, issuer.public_key())
    except (InvalidSignature, *PARSE_ERRORS):
        return False
    return True


def _canonical(name: x509.Name) -> list[list[tuple[str, bytes]]]:
    """
    Normalise a name for comparison (RFC 5280, 7.1): string types, the case of ASCII and
    the number of spaces are not significant.
    """
    return [
        sorted((one.oid.dotted_string, _canonical_value(one.value)) for one in part)
        for part in name.rdns
    ]


def _canonical_value(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else b" ".join(value.encode().lower().split())


def _verify_signature(certificate: x509.Certificate, key: Any) -> None:
    """Raise C{InvalidSignature} if a certificate was signed by another key."""
    arguments: list[Any] = [certificate.signature, certificate.tbs_certificate_bytes]
    if isinstance(key, rsa.RSAPublicKey):
        arguments += [certificate.signature_algorithm_parameters]
        arguments += [certificate.signature_hash_algorithm]
    elif isinstance(key, ec.EllipticCurvePublicKey):
        arguments += [certificate.signature_algorithm_parameters]
    key.verify(*arguments)
