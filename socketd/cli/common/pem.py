"""Certificates and keys from PEM files (RFC 7468)."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from socketd.common.errors import CommandError, reason_of
from socketd.net.tls.certificates import PARSE_ERRORS, public_key_of

#: Bytes; a system's whole CA bundle has 0.25 MB. Bounded: the path may be a device.
MAX_FILE = 4 * 1024 * 1024


def load_certificates(path: str) -> list[x509.Certificate]:
    """Read all certificates of a file, at least one, or raise L{CommandError}."""
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except PARSE_ERRORS as error:
        raise CommandError(f"{path}: no valid PEM certificate in it") from error


def load_key(path: str, certificate: x509.Certificate) -> Any:
    """Read a certificate's private key, unencrypted; the file may contain certificates."""
    data = _read(path)
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError as error:
        raise CommandError(f"{path}: the key is encrypted; one without would be right") from error
    except PARSE_ERRORS as error:
        raise CommandError(f"{path}: no valid PEM key in it") from error
    public = public_key_of(certificate)
    if public is None:
        raise CommandError(f"{path}: the certificate's key type is not supported")
    if key.public_key() != public:
        raise CommandError(f"{path}: the key is not that of the certificate")
    return key


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        raise CommandError(f"{path}: {reason_of(error)}") from error
    if len(data) > MAX_FILE:
        raise CommandError(f"{path}: more than {MAX_FILE} bytes are no certificate or key")
    return data
