"""TLS clients of the real daemon, with Python's C{ssl}, and a daemon with a certificate."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from tests.support.certificates import Made, authority, issued, write_private
from tests.support.polling import DEADLINE
from tests.support.processes import Daemon, SystemCase

LOOPBACK = "tls:0:interface=127.0.0.1"
NAME = "www.example.org"


def trusting_context(issuer: str | Path = "", client: str | Path = "") -> ssl.SSLContext:
    """
    Make a client that trusts an authority.

    @param issuer: its file; that of L{tests.support.certificates} if empty.
    @param client: a file with its certificate and key.
    """
    context = ssl.create_default_context(
        cafile=str(issuer) or None,
        cadata=None if str(issuer) else authority().pem().decode(),
    )
    if client:
        context.load_cert_chain(str(client))
    return context


def unverifying_context() -> ssl.SSLContext:
    """Make a client that verifies nothing."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def start_tls(
    sock: socket.socket,
    context: ssl.SSLContext | None = None,
    name: str = NAME,
    session: ssl.SSLSession | None = None,
) -> ssl.SSLSocket:
    """
    Do the handshake over a connection; an end without C{close_notify} is an error.

    @param session: one of the same client's, to be resumed.
    """
    return (context or trusting_context()).wrap_socket(
        sock, server_hostname=name, suppress_ragged_eofs=False, session=session
    )


def connect_tls(
    daemon: Daemon, service: str, context: ssl.SSLContext | None = None, name: str = NAME
) -> ssl.SSLSocket:
    """Connect to a service, and do the handshake."""
    return start_tls(connect_raw(daemon, service), context, name)


def connect_raw(daemon: Daemon, service: str, kind: str = "tls") -> socket.socket:
    """Connect to a service, and send nothing."""
    sock = socket.create_connection(daemon.address(service, kind), DEADLINE)
    sock.settimeout(DEADLINE)
    return sock


def peer_certificate(client: ssl.SSLSocket) -> bytes:
    """Get the certificate of the server, in DER."""
    found = client.getpeercert(binary_form=True)
    assert found is not None
    return found


def der(made: Made) -> bytes:
    """Write a certificate in DER."""
    return ssl.PEM_cert_to_DER_cert(made.pem().decode())


def client_hello(name: str = NAME) -> bytes:
    """Make the first flight of a client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting_context().wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


class TlsCase(SystemCase):
    """A daemon with a certificate for L{NAME}."""

    def setUp(self) -> None:
        super().setUp()
        self.made = issued(NAME)
        self.replace(self.made.pem() + self.made.key_pem())
        self.write("ca.pem", authority().pem())

    def replace(self, data: bytes, name: str = "server.pem") -> Path:
        """Replace a file in one step, as at the renewal of a certificate."""
        return Path(write_private(str(self.directory / name), data))

    def client_file(self, name: str) -> Path:
        """Write the certificate and key of a client."""
        made = issued(name)
        return self.replace(made.pem() + made.key_pem(), f"{name}.pem")

    def ini(self, *lines: str, service: str = "echo", listen: str = LOOPBACK) -> str:
        """Write a configuration of one service with TLS."""
        certificate = f"tls_certificate = {self.directory}/server.pem"
        return "\n".join([f"[{service}]", f"listen = {listen}", certificate, *lines, ""])
