"""Throw-away authorities, certificates and keys for tests; each is made once."""

from __future__ import annotations

import os
import time
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.name import _ASN1Type
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

CERTIFICATE_BEGIN, CERTIFICATE_END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

PASSWORD = b"open sesame"

#: What a key may be used for, as cryptography calls it: each has to be said.
USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
    "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)

#: The kinds of keys that a server may have.
Key = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)

#: The version of a certificate, as it is written.
V3 = bytes.fromhex("a003020102")

#: The algorithm of a signature, as it is written (RFC 5758, 3.2).
ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")

#: The kind of a public key, as it is written: RSA, and RSA for PSS (RFC 4055, 1.2).
RSA = bytes.fromhex("2a864886f70d0101010500")
RSA_PSS = bytes.fromhex("2a864886f70d01010a3000")

#: A file that only its owner can read.
PRIVATE_MODE = 0o600


@frozen(eq=False)
class Made:
    """A certificate with its key and its chain."""

    key: Key
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    def pem(self) -> bytes:
        """Write the certificate and its chain."""
        return b"".join(one.public_bytes(Encoding.PEM) for one in (self.certificate, *self.chain))

    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def write(self, path: str) -> str:
        """Write the certificate with its key, as L{write_private} does."""
        return write_private(path, self.pem() + self.key_pem())

    def locked_pem(self) -> bytes:
        """Write the key with L{PASSWORD}."""
        lock = BestAvailableEncryption(PASSWORD)
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def authority(name: str = "authority", end: datetime = END) -> Made:
    """Make a self-signed authority."""
    return _authority(name, end)


@cache
def _authority(name: str, end: datetime) -> Made:
    return authority_of(ec.generate_private_key(ec.SECP256R1()), name, end)


def authority_of(key: Key, name: str, end: datetime = END) -> Made:
    """Make an authority that has a key of any kind."""
    return Made(key, _sign(name_of(name), key, name_of(name), key, BEGIN, end, _ca_extensions()))


def issued_for(
    key: Key, *names: str, above: Made | None = None, issuer: x509.Name | None = None
) -> Made:
    """
    Make a certificate for a key of any kind.

    @param above: the issuer; L{authority} where not given.
    @param issuer: the issuer's name in it, if it is another one.
    """
    above = above or authority()
    issuer = issuer or above.certificate.subject
    extensions = _subject_names(names)
    certificate = _sign(name_of("subject"), key, issuer, above.key, BEGIN, END, extensions)
    return Made(key, certificate, (above.certificate,))


@cache
def intermediate() -> Made:
    """Make an authority below L{authority}."""
    key = ec.generate_private_key(ec.SECP256R1())
    above = authority()
    names = name_of("intermediate"), name_of("authority")
    return Made(key, _sign(names[0], key, names[1], above.key, BEGIN, END, _ca_extensions()))


@cache
def issued(
    *names: str,
    issuer: str = "authority",
    begin: datetime = BEGIN,
    end: datetime = END,
    number: int = 0,
    purpose: x509.ObjectIdentifier | None = None,
) -> Made:
    """
    Make a certificate for names: hosts, C{user@host}, addresses or URIs.

    @param number: tells two with the same names apart.
    @param purpose: its only extended key usage; any where not given.
    """
    key, above = ec.generate_private_key(ec.SECP256R1()), authority(issuer)
    extensions = _subject_names(names)
    if purpose is not None:
        extensions += (x509.ExtendedKeyUsage([purpose]),)
    subject = name_of("subject")
    return Made(key, _sign(subject, key, name_of(issuer), above.key, begin, end, extensions))


@cache
def self_signed(name: str = "localhost") -> Made:
    """Make a certificate without an issuer, and without a name but in its subject."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Made(key, _sign(name_of(name), key, name_of(name), key, BEGIN, END, ()))


@cache
def issued_below(*names: str) -> Made:
    """Make a certificate below L{intermediate}, which is its chain."""
    return issued_for(ec.generate_private_key(ec.SECP256R1()), *names, above=intermediate())


def days_from_now(days: float) -> datetime:
    """Return a time of day, in whole seconds."""
    return datetime.fromtimestamp(int(time.time()), UTC) + timedelta(days=days)


def write_pems(directory: Path, **pems: bytes) -> dict[str, str]:
    """Write files into a directory, which is made, and return their paths by name."""
    directory.mkdir(exist_ok=True, parents=True)
    for name, data in pems.items():
        (directory / name).write_bytes(data)
    return {name: str(directory / name) for name in pems}


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


def pem_of(der: bytes) -> bytes:
    """Write the bytes of a certificate, whatever they are."""
    text = b64encode(der).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([CERTIFICATE_BEGIN, *lines, CERTIFICATE_END, ""]).encode()


def of_unknown_version(made: Made, issuer: str = "authority") -> bytes:
    """
    Write a certificate as one of a version that there is not (RFC 5280, 4.1.2.1), signed
    by an authority all the same.
    """
    return signed_again(made, V3, V3[:-1] + b"B", issuer)


def signed_again(made: Made, old: bytes, new: bytes, issuer: str = "authority") -> bytes:
    """Write a certificate with some bytes replaced by as many others, and signed."""
    body = made.certificate.tbs_certificate_bytes.replace(old, new, 1)
    key = authority(issuer).key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signature = b"\0" + key.sign(body, ec.ECDSA(SHA256()))
    return pem_of(_element(0x30, body + ECDSA_WITH_SHA256 + _element(3, signature)))


def _element(tag: int, content: bytes) -> bytes:
    """Write an element of DER (X.690, 8.1)."""
    size = len(content)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2)
    return bytes([tag]) + length + content


def client_context(
    client: Made | None = None, issuer: str = "authority", newest: int | None = None
) -> SSL.Context:
    """
    Make the context of a client that trusts an authority.

    @param client: its certificate.
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


def _ca_extensions() -> tuple[x509.ExtensionType, ...]:
    usage = dict.fromkeys(USAGES, False) | {"key_cert_sign": True}
    return x509.BasicConstraints(ca=True, path_length=None), x509.KeyUsage(**usage)


def _subject_names(names: tuple[str, ...]) -> tuple[x509.ExtensionType, ...]:
    return (x509.SubjectAlternativeName(map(_general_name, names)),) if names else ()


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
    subject: x509.Name,
    key: Key,
    issuer: x509.Name,
    issuer_key: Key,
    begin: datetime,
    end: datetime,
    extensions: tuple[x509.ExtensionType, ...],
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
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
    has_own_hash = isinstance(issuer_key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return builder.sign(issuer_key, None if has_own_hash else SHA256())


def name_of(text: str, kind: _ASN1Type = _ASN1Type.UTF8String) -> x509.Name:
    """Make the name of a subject or an issuer."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text, kind)])
