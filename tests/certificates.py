"""
Throw-away authorities, certificates and keys for tests; each is made once.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_address
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from OpenSSL.crypto import X509

#: A time of day at which what is made here is valid; so is the real one, up to 2049.
NOW = 1_790_000_000.0

BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
END = datetime(2049, 1, 1, tzinfo=UTC)

#: A past and a future, seen from L{NOW}.
PAST = datetime(2021, 1, 1, tzinfo=UTC)
FUTURE = datetime(2048, 1, 1, tzinfo=UTC)

PASSWORD = b"open sesame"

#: What a key may be used for, as cryptography calls it: each has to be said.
USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
    "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)

#: A file that only its owner can read.
PRIVATE_MODE = 0o600


@frozen(eq=False)
class Made:
    """
    A certificate, its key, and those who vouch for it.
    """

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    def pem(self) -> bytes:
        """
        Write the certificate and its chain.
        """
        return b"".join(one.public_bytes(Encoding.PEM) for one in (self.certificate, *self.chain))

    def key_pem(self) -> bytes:
        """
        Write the key.
        """
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def locked_pem(self) -> bytes:
        """
        Write the key with L{PASSWORD}.
        """
        lock = BestAvailableEncryption(PASSWORD)
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)


def authority(name: str = "authority") -> Made:
    """
    Make an authority that vouches for itself.
    """
    return _authority(name)


@cache
def _authority(name: str) -> Made:
    key = ec.generate_private_key(ec.SECP256R1())
    return Made(key, _sign(name, key, name, key, BEGIN, END, _vouching()))


@cache
def intermediate() -> Made:
    """
    Make an authority that L{authority} vouches for.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    above = authority()
    return Made(
        key, _sign("intermediate", key, "authority", above.key, BEGIN, END, _vouching())
    )


@cache
def issued(
    *names: str,
    issuer: str = "authority",
    begin: datetime = BEGIN,
    end: datetime = END,
    number: int = 0,
) -> Made:
    """
    Make a certificate for names: hosts, C{user@host}, addresses or URIs.

    @param number: tells two with the same names apart.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    extensions = (x509.SubjectAlternativeName(map(_general_name, names)),) if names else ()
    above = authority(issuer)
    return Made(key, _sign("subject", key, issuer, above.key, begin, end, extensions))


@cache
def issued_below(*names: str) -> Made:
    """
    Make a certificate that L{intermediate} vouches for, and that has it as its chain.
    """
    key, above = ec.generate_private_key(ec.SECP256R1()), intermediate()
    extensions = (x509.SubjectAlternativeName(map(_general_name, names)),)
    certificate = _sign("subject", key, "intermediate", above.key, BEGIN, END, extensions)
    return Made(key, certificate, (above.certificate,))


def write_private(path: str, data: bytes) -> str:
    """
    Write a file that only its owner can read, in place of another.

    @return: its path.
    """
    fresh = f"{path}.new"
    Path(fresh).write_bytes(data)
    os.chmod(fresh, PRIVATE_MODE)
    os.rename(fresh, path)
    return path


def client_context(
    client: Made | None = None, issuer: str = "authority", newest: int | None = None
) -> SSL.Context:
    """
    Make the context of a client that trusts an authority.

    @param client: what it proves itself with.
    @param newest: the newest version of TLS that it speaks.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    store = context.get_cert_store()
    assert store is not None
    store.add_cert(X509.from_cryptography(authority(issuer).certificate))
    context.set_verify(SSL.VERIFY_PEER)
    if client is not None:
        context.use_certificate(client.certificate)
        context.use_privatekey(client.key)
    if newest is not None:
        context.set_max_proto_version(newest)
        # OpenSSL speaks versions that are broken at this level only.
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
    return context


def _vouching() -> tuple[x509.ExtensionType, ...]:
    usage = dict.fromkeys(USAGES, False) | {"key_cert_sign": True}
    return x509.BasicConstraints(ca=True, path_length=None), x509.KeyUsage(**usage)


def _general_name(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    if "@" in name:
        return x509.RFC822Name(name)
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _sign(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    begin: datetime,
    end: datetime,
    extensions: tuple[x509.ExtensionType, ...],
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    # From Python 3.13 on, ssl believes only those that RFC 5280 has so, section 4.2.1.
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    for extension in (*extensions, own, above):
        is_critical = isinstance(extension, x509.BasicConstraints)
        builder = builder.add_extension(extension, critical=is_critical)
    return builder.sign(issuer_key, SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
