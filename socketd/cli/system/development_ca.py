"""
A certificate authority for development, and the certificates that it issues.

The certificates follow the profiles of RFC 5280, section 4.2, and RFC 9525.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from socketd.cli.common.pem import load_certificates, load_key
from socketd.common.errors import CommandError
from socketd.common.host_names import is_ip_address
from socketd.net.tls.certificates import STRANGE, is_authority

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


@frozen
class Issued:
    """
    A certificate and its private key.

    @ivar certificate: the certificate.
    @ivar key: a private key of C{cryptography}.
    """

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
    """
    Create an authority.

    @param now: the current time.
    @return: its self-signed certificate, valid for L{AUTHORITY_DAYS}.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # A unique name: clients look up issuers by name.
    subject = _subject(f"socketd development CA {serial % 2**32:08x}")
    builder = _builder(subject, subject, key.public_key(), serial)
    builder = builder.not_valid_before(now - BACKDATED)
    builder = builder.not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
    builder = builder.add_extension(_authority_identifier(key.public_key()), critical=False)
    return Issued(builder.sign(key, hashes.SHA256()), key)


def load_authority(certificate_path: str, key_path: str, now: datetime) -> Issued:
    """
    Load an authority.

    @param certificate_path: the file of its certificate.
    @param key_path: the file of its key.
    @param now: the current time.
    @return: the authority.
    @raise CommandError: if it cannot issue a certificate now.
    """
    certificate = load_certificates(certificate_path)[0]
    key = load_key(key_path, certificate)
    if not is_authority(certificate) or not _has_name(certificate):
        raise CommandError(f"{certificate_path}: the certificate is not that of an authority")
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise CommandError(f"{key_path}: a key of that kind is not used here; EC or RSA are")
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        raise CommandError(f"{certificate_path}: not valid now; remove it and its key")
    return Issued(certificate, key)


def issue_server(authority: Issued, names: Sequence[str], now: datetime, days: int) -> Issued:
    """
    Issue a server certificate.

    @param authority: the issuer.
    @param names: results of L{socketd.common.host_names.parse_name}, at least one.
    @param now: the current time.
    @param days: the validity, limited to that of the authority.
    @return: the certificate.
    """
    common = names[0] if len(names[0]) <= MAX_COMMON_NAME else SERVER
    alternatives = [_general_name(name) for name in names]
    return _issue(authority, common, alternatives, ExtendedKeyUsageOID.SERVER_AUTH, now, days)


def issue_client(authority: Issued, now: datetime, days: int) -> Issued:
    """
    Issue a client certificate.

    @param authority: the issuer.
    @param now: the current time.
    @param days: the validity, limited to that of the authority.
    @return: the certificate.
    """
    names = [x509.DNSName(CLIENT)]
    return _issue(authority, CLIENT, names, ExtendedKeyUsageOID.CLIENT_AUTH, now, days)


def utc(seconds: float) -> datetime:
    """
    Convert a Unix time for use in a certificate.

    @param seconds: seconds since 1970.
    @return: the UTC time in whole seconds.
    """
    return datetime.fromtimestamp(int(seconds), UTC)


def _issue(
    authority: Issued,
    common: str,
    names: Sequence[x509.GeneralName],
    purpose: x509.ObjectIdentifier,
    now: datetime,
    days: int,
) -> Issued:
    above = authority.certificate
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    builder = _builder(_subject(common), above.subject, key.public_key(), serial)
    end = min(now + timedelta(days=days), above.not_valid_after_utc)
    builder = builder.not_valid_before(max(now - BACKDATED, above.not_valid_before_utc))
    builder = builder.not_valid_after(end)
    for extension, critical in (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(digital_signature=True), True),
        (x509.ExtendedKeyUsage([purpose]), False),
        (x509.SubjectAlternativeName(names), False),
        (_authority_identifier(above.public_key(), above), False),
    ):
        builder = builder.add_extension(extension, critical)
    return Issued(builder.sign(authority.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: Any, serial: int
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer)
    builder = builder.public_key(public_key).serial_number(serial)
    identifier = x509.SubjectKeyIdentifier.from_public_key(public_key)
    return builder.add_extension(identifier, critical=False)


def _authority_identifier(
    public_key: Any, certificate: x509.Certificate | None = None
) -> x509.AuthorityKeyIdentifier:
    # An authority created by another program may use another key identifier method.
    try:
        if certificate is not None:
            found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
            return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)
    except x509.ExtensionNotFound:
        pass
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key)


def _has_name(certificate: x509.Certificate) -> bool:
    """Return whether a certificate has a subject that can be used as an issuer."""
    try:
        return bool(list(certificate.subject))
    except STRANGE:
        return False


def _usage(
    digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(name: str) -> x509.GeneralName:
    if is_ip_address(name):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)
