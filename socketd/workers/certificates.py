"""
Certificates and their keys, on their way from the master to a worker.

The master alone reads the files, so all workers have the same, also one that is started when the
files are damaged; and what is wrong with them is found, and told, once.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

from socketd.daemon.service import SocketService
from socketd.settings.model import Settings
from socketd.workers.link import LinkFailed

if TYPE_CHECKING:
    from socketd.net.tls.context import ServerContext

#: The pickled parts of contexts, by service.
Certificates = dict[str, bytes]


def pack_certificates(services: Iterable[SocketService]) -> Certificates:
    """Pickle the certificates that services use."""
    found = ((one.name, one.context and one.context.parts) for one in services)
    return {name: _pickled(parts) for name, parts in found if parts is not None}


def _pickled(parts: object) -> bytes:
    # Lazy, as everywhere: a daemon without TLS does not load it.
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509 import Certificate

    from socketd.net.tls.certificates import Key

    class Pickler(pickle.Pickler):
        def reducer_override(self, found: Any) -> Any:
            if isinstance(found, Certificate):
                return _certificate, (found.public_bytes(Encoding.DER),)
            if isinstance(found, Key):
                how = Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
                return _key, (found.private_bytes(*how),)
            return NotImplemented

    file = BytesIO()
    Pickler(file).dump(parts)
    return file.getvalue()


def _certificate(found: bytes) -> Any:
    from cryptography.x509 import load_der_x509_certificate

    return load_der_x509_certificate(found)


def _key(found: bytes) -> Any:
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    # The master has validated it, which takes long for RSA.
    return load_der_private_key(found, None, unsafe_skip_rsa_key_validation=True)


def unpack_certificates(settings: Settings, packed: Certificates) -> Mapping[str, ServerContext]:
    """Make the contexts of a worker, which look at no file."""
    if not packed:
        return {}
    from socketd.net.tls.context import ServerContext

    found = {}
    for service in settings.services:
        if service.name in packed:
            context = ServerContext(service.tls, time.time)
            take_certificates(context, packed[service.name])
            found[service.name] = context
    return found


def take_certificates(context: ServerContext, packed: bytes) -> None:
    """
    Have new connections use other certificates.

    @raise LinkFailed: if this process cannot use what its master can.
    """
    problems = context.take(pickle.loads(packed))
    if problems:
        raise LinkFailed("; ".join(f"{option}: {text}" for option, text in problems))
