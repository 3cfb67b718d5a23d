"""TLS handshakes: a context is chosen by the client's server name; and trials in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from OpenSSL import SSL

from socketd.net.tls.contexts import Contexts
from socketd.net.tls.direct import MAX_READ, fastest

#: A handshake has at most two flights per side, and one more each for HelloRetryRequest.
MAX_FLIGHTS = 6

#: An unencrypted alert record: type 21, two bytes of version, length 2, level 2 (fatal),
#: and the description (RFC 8446, 5.1 and 6).
_ALERT_SIZE = 7
_ALERT_TYPE = b"\x15"
_ALERT_MIDDLE = b"\0\2\2"

#: RFC 8446, 6.2.
_UNRECOGNIZED_NAME = b"\x70"


class UnknownServerName(SSL.Error):
    """The client's server name (SNI) is unknown, and unknown names are rejected."""

    def __init__(self) -> None:
        # In the form of OpenSSL's error queue, which Twisted inspects.
        super().__init__([("socketd", "", "unknown server name")])


class NoCommonProtocol(SSL.Error):
    """The client offered application protocols (ALPN), and none is supported here."""

    def __init__(self) -> None:
        super().__init__([("socketd", "", "no common application protocol")])


_Connection: Any = fastest()


class ServerConnection(_Connection):  # type: ignore[misc]
    """The TLS state of one accepted connection."""

    def __init__(self, contexts: Contexts) -> None:
        super().__init__(contexts.default)
        # OpenSSL keeps calling the callbacks of the first context after set_context().
        self._contexts = contexts
        self._problem: Exception | None = None

    def choose_context(self) -> None:
        """
        Select the context for the client's server name (SNI, RFC 6066, 3); OpenSSL's callback.
        """
        contexts = self._contexts
        if not contexts.resumes:
            # Set here, it suppresses all tickets; set from the start, OpenSSL would still
            # send stateful TLS 1.3 tickets, for a session cache that does not exist.
            self.set_options(SSL.OP_NO_TICKET)
        found: SSL.Context | None = None
        try:
            found = contexts.find(self.get_servername())
            if found is None:
                self.__class__ = RefusedConnection
        except Exception as problem:
            # Raised by do_handshake: pyOpenSSL would print a traceback to stderr here.
            self._problem = problem
        if found is not contexts.default:
            self.set_context(found or contexts.refusing)

    def do_handshake(self) -> None:
        """
        Advance the handshake.

        @raise SSL.Error: when it failed, or needs more data from the peer.
        """
        try:
            super().do_handshake()
        except SSL.WantReadError:
            raise
        except SSL.Error:
            if self._problem is not None:
                raise self._problem from None
            if isinstance(self, RefusedConnection):
                raise UnknownServerName from None
            raise


class RefusedConnection(ServerConnection):
    """One whose client is rejected for its server name."""

    def bio_read(self, bufsiz: int) -> bytes:
        """Read the output; the alert becomes unrecognized_name."""
        data: bytes = super().bio_read(bufsiz)
        alert = data[-_ALERT_SIZE:]
        if alert[:1] == _ALERT_TYPE and alert[3:6] == _ALERT_MIDDLE:
            return data[:-1] + _UNRECOGNIZED_NAME
        return data


def pending(connection: SSL.Connection) -> bytes:
    """Read all pending output of a connection."""
    pieces: list[bytes] = []
    try:
        while not pieces or len(pieces[-1]) == MAX_READ:
            pieces.append(connection.bio_read(MAX_READ))
    except SSL.WantReadError:
        pass
    return b"".join(pieces)


def reason_of(problem: BaseException | None) -> str:
    """Return OpenSSL's reason for a failed handshake, without any data of the peer."""
    queue = problem.args[0] if problem is not None and problem.args else None
    if isinstance(queue, list) and queue:
        return str(queue[-1][-1])
    return "the connection ended"


def try_handshake(
    server: SSL.Connection, alpn: Sequence[bytes] = (), name: str | None = None
) -> None:
    """
    Test a server connection by a handshake in memory, with a client that verifies nothing.

    @raise SSL.Error: if the handshake fails.
    """
    client = SSL.Connection(SSL.Context(SSL.TLS_METHOD))
    if alpn:
        client.set_alpn_protos(list(alpn))
    if name is not None:
        client.set_tlsext_host_name(name.encode())
    client.set_connect_state()
    server.set_accept_state()
    # The test client has no certificate.
    server.set_verify(SSL.VERIFY_NONE)
    for _ in range(MAX_FLIGHTS):
        if all([_advance(client, server), _advance(server, client)]):
            return
    raise SSL.Error([("socketd", "", "it does not end")])


def _advance(one: SSL.Connection, other: SSL.Connection) -> bool:
    """Advance the handshake of one side, and pass its output on; return whether it is done."""
    done = True
    try:
        one.do_handshake()
    except SSL.WantReadError:
        done = False
    if output := pending(one):
        other.bio_write(output)
    return done
