"""
A certificate authority for development, and the certificates that it issues.

The certificates follow the profiles of RFC 5280, section 4.2, and RFC 9525.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from socketd.cli.common.pem import load_certificates, load_key
from socketd.common.errors import CommandError
from socketd.common.host_names import is_ip_address
from socketd.net.tls.certificates import PARSE_ERRORS, is_authority

#: Validity of an authority: longer than that of its certificates, so that clients rarely need a
#: new one.
AUTHORITY_DAYS = 3650

#: How far in the past a validity begins, for peers whose clocks are slow.
BACKDATED = timedelta(hours=1)

#: Characters of a common name (RFC 5280, appendix A.1).
MAX_COMMON_NAME = 64

SERVER = "socketd development server"

#: The client's name, a DNS name in syntax only.
CLIENT = "socketd-client"

#: What a key may be used for (RFC 5280, 4.2.1.3); C{x509.KeyUsage} needs each of them.
USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
    "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


@frozen
class Issued:
    """A certificate and its private key of C{cryptography}."""

    certificate: x509.Certificate
    key: Any

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key as unencrypted PEM."""
        data: bytes = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return data


def make_authority(now: datetime) -> Issued:
    """Create an authority, self-signed and valid for L{AUTHORITY_DAYS}."""
    # A unique name: clients look up issuers by name.
    name = f"socketd development CA {secrets.token_hex(4)}"
    return _signed(
        None,
        name,
        (now - BACKDATED, now + timedelta(days=AUTHORITY_DAYS)),
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (_key_usage("key_cert_sign", "crl_sign"), True),
    )


def load_authority(certificate_path: str, key_path: str, now: datetime) -> Issued:
    """Load an authority, or raise L{CommandError} if it cannot issue a certificate now."""
    certificate = load_certificates(certificate_path)[0]
    key = load_key(key_path, certificate)
    if not is_authority(certificate) or not _has_name(certificate):
        raise CommandError(f"{certificate_path}: the certificate is not that of an authority")
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise CommandError(f"{key_path}: key type not supported here; EC or RSA would be right")
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        raise CommandError(f"{certificate_path}: not valid now; remove it and its key")
    return Issued(certificate, key)


def issue(
    authority: Issued, names: Sequence[str], now: datetime, days: int, is_client: bool = False
) -> Issued:
    """Issue a certificate for results of C{parse_name}, within the authority's validity."""
    common = names[0] if len(names[0]) <= MAX_COMMON_NAME else SERVER
    purpose = ExtendedKeyUsageOID.CLIENT_AUTH if is_client else ExtendedKeyUsageOID.SERVER_AUTH
    above = authority.certificate
    begin = max(now - BACKDATED, above.not_valid_before_utc)
    end = min(now + timedelta(days=days), above.not_valid_after_utc)
    return _signed(
        authority,
        common,
        (begin, end),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage("digital_signature"), True),
        (x509.ExtendedKeyUsage([purpose]), False),
        (x509.SubjectAlternativeName(map(_general_name, names)), False),
    )


def utc(seconds: float) -> datetime:
    """Convert a Unix time to UTC in whole seconds, as a certificate has it."""
    return datetime.fromtimestamp(int(seconds), UTC)


def _signed(
    issuer: Issued | None,
    common: str,
    validity: tuple[datetime, datetime],
    *extensions: tuple[x509.ExtensionType, bool],
) -> Issued:
    """Create a key, and have its certificate signed, by its own key if there is no issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    above, signer, identifier = (
        subject,
        key,
        x509.AuthorityKeyIdentifier.from_issuer_public_key(public),
    )
    if issuer is not None:
        above, signer = issuer.certificate.subject, issuer.key
        identifier = _identifier_of(issuer.certificate)
    serial = x509.random_serial_number()
    builder = x509.CertificateBuilder(above, subject, public, serial, *validity)
    own = x509.SubjectKeyIdentifier.from_public_key(public)
    for extension, critical in ((own, False), (identifier, False), *extensions):
        builder = builder.add_extension(extension, critical)
    return Issued(builder.sign(signer, hashes.SHA256()), key)


def _identifier_of(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    # An authority created by another program may use another key identifier method, or none.
    try:
        found = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        public_key: Any = authority.public_key()
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)


def _has_name(certificate: x509.Certificate) -> bool:
    """Whether a certificate has a subject that can be used as an issuer."""
    try:
        return bool(list(certificate.subject))
    except PARSE_ERRORS:
        return False


def _key_usage(*allowed: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in allowed for usage in USAGES})


def _general_name(name: str) -> x509.GeneralName:
    if is_ip_address(name):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)
