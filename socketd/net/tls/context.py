"""
The server side of TLS: contexts that are reloaded from files, and replaced while
connections are open.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import (
    AcceptableCiphers,
    Certificate,
    CertificateOptions,
    TLSVersion,
    trustRootFromCertificates,
)
from zope.interface import implementer

from socketd.net.tls.certificates import (
    CertificateError,
    Dated,
    Identity,
    dated,
    load_authorities,
    load_identity,
)
from socketd.settings.tls import TlsOptions

#: A handshake has at most two flights per side, and one more each for HelloRetryRequest.
MAX_FLIGHTS = 6

#: Bytes per BIO read.
_PIECE = 64 * 1024

#: For TLS 1.2: forward secrecy and AEAD only, as in Mozilla's "intermediate" profile but
#: without DHE, which needs parameters and is slow: every TLS 1.2 client with AES-GCM also
#: has ECDHE. TLS 1.3 has no other suites.
_CIPHERS = AcceptableCiphers.fromOpenSSLCipherString("ECDHE+AESGCM:ECDHE+CHACHA20")

#: Lifetime of session ticket keys (seconds). A stolen key decrypts the TLS 1.2 sessions
#: that had its tickets, so keys must be rotated (RFC 9325, 3.3); a ticket of an old key is
#: ignored, which costs its client one full handshake.
KEY_LIFETIME = 12 * 3600

#: Lifetime of a ticket (seconds): half that of its key, by RFC 9325.
TICKET_LIFETIME = KEY_LIFETIME // 2

_MINIMA = {"1.2": TLSVersion.TLSv1_2, "1.3": TLSVersion.TLSv1_3}

#: An unencrypted alert record: type 21, two bytes of version, length 2, level 2 (fatal),
#: and the description (RFC 8446, 5.1 and 6).
_ALERT_SIZE = 7
_ALERT_TYPE = 21
_ALERT_MIDDLE = b"\0\2\2"

#: RFC 8446, 6.2.
_UNRECOGNIZED_NAME = b"\x70"

#: Mtime, size and inode of a file, to detect a new one; C{None} without a file.
Stamp = tuple[int, int, int] | None

Complaints = list[tuple[str, str]]


class UnknownServerName(SSL.Error):
    """The client's server name (SNI) is unknown, and unknown names are rejected."""

    def __init__(self) -> None:
        # In the form of OpenSSL's error queue, which Twisted inspects.
        super().__init__([("socketd", "", "unknown server name")])


class NoCommonProtocol(SSL.Error):
    """The client offered application protocols (ALPN), and none is supported here."""

    def __init__(self) -> None:
        super().__init__([("socketd", "", "no common application protocol")])


class ServerConnection(SSL.Connection):
    """
    The TLS state of one accepted connection.

    @ivar on_end: called on the peer's close_notify, while data can still be sent to the
        peer.
    """

    def __init__(self, contexts: Contexts) -> None:
        super().__init__(contexts.default)
        # OpenSSL keeps calling the callbacks of the first context after set_context().
        self._contexts = contexts
        self._refused = False
        self._problem: Exception | None = None
        self.on_end: Callable[[], None] = _nothing

    def choose(self) -> None:
        """Select the context for the client's server name (SNI, RFC 6066, 3)."""
        if not self._contexts.resumes:
            # Set here, it suppresses all tickets; set from the start, OpenSSL would still
            # send stateful TLS 1.3 tickets, for a session cache that does not exist.
            self.set_options(SSL.OP_NO_TICKET)
        context: SSL.Context | None
        try:
            context = self._contexts.find(self.get_servername())
        except Exception as problem:
            # Raised by do_handshake: pyOpenSSL would print a traceback to stderr here.
            self._problem = problem
            context = self._contexts.refusing
        if context is None:
            self._refused = True
            context = self._contexts.refusing
        if context is not self._contexts.default:
            self.set_context(context)

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
            if self._refused:
                raise UnknownServerName from None
            raise

    def bio_read(self, bufsiz: int) -> bytes:
        """Read the output; the alert to a rejected client becomes unrecognized_name."""
        data = super().bio_read(bufsiz)
        alert = data[-_ALERT_SIZE:]
        if self._refused and alert[:1] == bytes([_ALERT_TYPE]) and alert[3:6] == _ALERT_MIDDLE:
            return data[:-1] + _UNRECOGNIZED_NAME
        return data

    def recv(self, bufsiz: int, flags: int | None = None) -> bytes:
        """
        Read decrypted data.

        @raise SSL.Error: when there is none yet, or at the end of the session.
        """
        try:
            return super().recv(bufsiz, flags)
        except SSL.ZeroReturnError:
            on_end, self.on_end = self.on_end, _nothing
            on_end()
            raise


@frozen(eq=False)
class Names:
    """
    The contexts by server name.

    @ivar exact: by full name, in lower case.
    @ivar wildcards: by the name after its first label, leading dot included.
    @ivar own: the names of the default context, wildcards with their C{*}.
    """

    exact: Mapping[bytes, SSL.Context]
    wildcards: Mapping[bytes, SSL.Context]
    own: frozenset[bytes]


@frozen
class Parts:
    """
    The input of a set of contexts; equal parts make equivalent contexts.

    @ivar options: the TLS options of the service.
    @ivar default: the identity for a client without a server name.
    @ivar named: the identities by server name.
    @ivar authorities: the CAs of client certificates.
    @ivar dated: the validity periods of all these certificates.
    """

    options: TlsOptions
    default: Identity
    named: Mapping[str, Identity]
    authorities: tuple[x509.Certificate, ...]
    dated: tuple[Dated, ...]


@frozen(eq=False)
class Contexts:
    """
    The set of contexts that new connections use.

    @ivar parts: the input that they were made from.
    @ivar default: for a client without a server name.
    @ivar refusing: has no certificate, so that every handshake with it fails.
    @ivar names: the contexts by server name.
    @ivar refuses: whether an unknown server name is rejected.
    @ivar resumes: whether clients get session tickets.
    @ivar made_at: when these were made, by the monotonic clock (seconds).
    @ivar not_after: when the first certificate expires (seconds since 1970).
    """

    parts: Parts
    default: SSL.Context
    refusing: SSL.Context
    names: Names
    refuses: bool
    resumes: bool
    made_at: float
    not_after: float

    def find(self, asked: bytes | None) -> SSL.Context | None:
        """
        Find the context for a server name, as sent by the client.

        @return: C{None} if the client must be rejected.
        """
        if asked is None:
            return self.default
        name = asked.lower()
        _, dot, parent = name.partition(b".")
        found = self.names.exact.get(name) or self.names.wildcards.get(dot + parent)
        if found is not None:
            return found
        known = name in self.names.own or b"*" + dot + parent in self.names.own
        return None if self.refuses and not known else self.default


@implementer(IOpenSSLServerConnectionCreator)
class ServerContext:
    """
    Makes the TLS state of new connections, from files that can be reloaded.

    No connection can be made before the first successful L{load}.

    @ivar loads: the number of successful loads.
    @ivar failures: the number of failed loads.
    @ivar last_error: the error of the last load in one line; empty if it succeeded.
    """

    def __init__(
        self,
        options: TlsOptions,
        wall_clock: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._wall_clock = wall_clock
        self._clock = clock
        self._contexts: Contexts | None = None
        self._tried: dict[str, Stamp] = {}
        self.loads = self.failures = 0
        self.last_error = ""

    @property
    def not_after(self) -> float:
        """When the first certificate in use expires (seconds since 1970); 0 if none is loaded."""
        return 0.0 if self._contexts is None else self._contexts.not_after

    def serverConnectionForTLS(self, protocol: Any) -> ServerConnection:
        """
        Make the TLS state of a new connection.

        @raise RuntimeError: if no certificate is loaded yet.
        """
        if self._contexts is None:
            raise RuntimeError(f"there is no certificate: {self.last_error or 'none loaded'}")
        return ServerConnection(self._contexts)

    def load(self) -> Complaints:
        """
        Reload the files for new connections; open connections keep their context.

        @return: the errors, each with its option's name; if any, nothing changes.
        """
        # Before they are read, so that a concurrent write triggers another reload.
        self._tried = self._stamps()
        maker = _Maker(self._options, self._clock)
        contexts = maker.make(self._contexts)
        if contexts is None:
            self.failures += 1
            self.last_error = "; ".join(f"{name}: {text}" for name, text in maker.diagnostics)
        else:
            self._contexts = contexts
            self.loads += 1
            self.last_error = ""
        return maker.diagnostics

    def inherit(self, other: ServerContext) -> None:
        """
        Take over the contexts of a predecessor: they are kept if L{load} finds the same
        contents, so that the session tickets of clients stay valid.
        """
        self._contexts = other._contexts

    def rotate(self) -> None:
        """Replace the session ticket keys after L{KEY_LIFETIME}."""
        contexts = self._contexts
        if contexts is None or not contexts.resumes:
            return
        if self._clock() - contexts.made_at >= KEY_LIFETIME:
            self._contexts = _Maker(self._options, self._clock).build(contexts.parts) or contexts

    def changed(self) -> bool:
        """Say whether a file has changed since the last attempt to load."""
        return self._stamps() != self._tried

    def invalid(self) -> Complaints:
        """
        List the certificates in use that are not valid now, each with its option and why.

        They are still used: a client may accept what another rejects, and a stopped
        service helps neither.
        """
        if self._contexts is None:
            return []
        now = self._wall_clock()
        faults = [(one.option, one.fault(now)) for one in self._contexts.parts.dated]
        return [(option, text) for option, text in faults if text]

    def _stamps(self) -> dict[str, Stamp]:
        return {path: _stamp(path) for path in _paths(self._options)}


def trial(options: TlsOptions) -> Complaints:
    """
    Load a service's certificates and keys, and test each with a handshake in memory.

    @return: each option that is unusable, and why.
    """
    return ServerContext(options, time.time).load()


@define(eq=False)
class _Maker:
    """Makes contexts, and collects the errors in the files."""

    options: TlsOptions
    clock: Callable[[], float]
    diagnostics: Complaints = field(factory=list)
    dated: list[Dated] = field(factory=list)

    def make(self, before: Contexts | None) -> Contexts | None:
        """
        Make all contexts; C{None} on any error.

        @param before: the current contexts; returned if their parts are unchanged.
        """
        default = self._default()
        named = self._named()
        authorities = self._authorities()
        if default is None or self.diagnostics:
            return None
        parts = Parts(self.options, default, named, authorities, tuple(self.dated))
        return before if before is not None and before.parts == parts else self.build(parts)

    def build(self, parts: Parts) -> Contexts | None:
        """Make contexts from their parts; C{None} if OpenSSL rejects them."""
        try:
            return self._build(parts)
        except MemoryError:
            # Raised by cffi where memory cannot be writable and executable, as callbacks need.
            self._complain(
                "tls_certificate",
                "this process may not have callbacks; run it without MemoryDenyWriteExecute",
            )
        return None

    def _complain(self, option: str, message: str) -> None:
        self.diagnostics.append((option, message))

    def _try(self, load: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return load(*arguments)
        except CertificateError as error:
            self._complain(error.option, error.message)
            return None

    def _default(self) -> Identity | None:
        options = self.options
        if not options.tls_certificate:
            self._complain("tls_certificate", "is not given; write the path of a PEM file")
            return None
        key = options.tls_key or options.tls_certificate
        return self._identity(options.tls_certificate, key, ("tls_certificate", "tls_key"))

    def _identity(self, path: str, key: str, options: tuple[str, str]) -> Identity | None:
        found: Identity | None = self._try(load_identity, path, key, options)
        if found is not None:
            self.dated += dated((found.certificate, *found.chain), path, options[0])
        return found

    def _named(self) -> dict[str, Identity]:
        """Load the identities by name, each pair of files only once."""
        loaded: dict[tuple[str, str], Identity | None] = {}
        found: dict[str, Identity] = {}
        for named in self.options.tls_names:
            pair = (named.certificate, named.key)
            if pair not in loaded:
                loaded[pair] = self._identity(*pair, ("tls_names", "tls_names"))
            identity = loaded[pair]
            if identity is not None:
                found[named.name] = identity
        return found

    def _authorities(self) -> tuple[x509.Certificate, ...]:
        options = self.options
        if options.tls_client_ca:
            path = options.tls_client_ca
            found = self._try(load_authorities, path, "tls_client_ca") or ()
            self.dated += dated(found, path, "tls_client_ca")
            return tuple(found)
        if options.tls_client_names:
            self._complain(
                "tls_client_names", "needs tls_client_ca: without it no client has to have a name"
            )
        return ()

    def _build(self, parts: Parts) -> Contexts | None:
        trusted = self._trusted(parts.authorities)
        default = self._context("tls_certificate", parts.default, trusted)
        made = {
            identity.fingerprint: self._context("tls_names", identity, trusted)
            for identity in parts.named.values()
        }
        if default is None or self.diagnostics:
            return None
        refuses = self.options.tls_unknown_name == "refuse"
        by_name = {name: made[identity.fingerprint] for name, identity in parts.named.items()}
        contexts = Contexts(
            parts=parts,
            default=default,
            refusing=SSL.Context(SSL.TLS_METHOD),
            names=_names(by_name, parts.default),
            refuses=refuses,
            # A ticket resumes in the default context, whatever the server name is then, and
            # OpenSSL does not verify the client's certificate again.
            resumes=not (parts.named or parts.authorities or refuses),
            made_at=self.clock(),
            not_after=min(one.not_after for one in [parts.default, *parts.named.values()]),
        )
        # Not a closure: a replaced set would stay alive in a reference cycle via OpenSSL.
        default.set_tlsext_servername_callback(_choose)
        self._shake_hands(contexts, parts.named)
        return None if self.diagnostics else contexts

    def _trusted(self, authorities: Iterable[x509.Certificate]) -> list[Certificate]:
        try:
            return [Certificate(crypto.X509.from_cryptography(one)) for one in authorities]
        except crypto.Error as problem:
            self._refuse("tls_client_ca", problem)
            return []

    def _context(
        self, option: str, identity: Identity, trusted: Sequence[Certificate]
    ) -> SSL.Context | None:
        """
        Make a context; set_context() switches more than the key and certificate, so all
        contexts have the same other settings.
        """
        # pyOpenSSL accepts these cryptography objects and Twisted passes them through;
        # Twisted's annotations still name the types that pyOpenSSL deprecates.
        identified: dict[str, Any] = {
            "privateKey": identity.key,
            "certificate": identity.certificate,
            "extraCertChain": identity.chain,
        }
        try:
            context: SSL.Context = CertificateOptions(
                **identified,
                raiseMinimumTo=_MINIMA[self.options.tls_minimum],
                acceptableCiphers=_CIPHERS,
                enableSessionTickets=True,
                trustRoot=trustRootFromCertificates(trusted) if trusted else None,
            ).getContext()
        except (SSL.Error, crypto.Error) as problem:
            self._refuse(option, problem)
            return None
        context.set_options(SSL.OP_NO_RENEGOTIATION)
        context.set_timeout(TICKET_LIFETIME)
        # Replaces Twisted's callback, which continues without a common protocol.
        context.set_alpn_select_callback(_Agreement(self.options.tls_alpn))
        return context

    def _refuse(self, option: str, problem: Exception) -> None:
        self._complain(option, f"OpenSSL refuses it: {reason_of(problem)}")

    def _shake_hands(self, contexts: Contexts, named: Mapping[str, Identity]) -> None:
        self._shake_hand(contexts, "tls_certificate", None)
        for name in named:
            # A wildcard is tested with a name that it matches.
            self._shake_hand(contexts, "tls_names", name.replace("*", "trial"))

    def _shake_hand(self, contexts: Contexts, option: str, name: str | None) -> None:
        try:
            shake_hands(ServerConnection(contexts), self.options.tls_alpn[:1], name)
        except SSL.Error as problem:
            self._complain(option, f"a trial with {name or 'it'} failed: {reason_of(problem)}")


@frozen
class _Agreement:
    """The ALPN callback: selects the first of our protocols that the peer offers."""

    ours: tuple[bytes, ...]

    def __call__(self, connection: SSL.Connection, theirs: Sequence[bytes]) -> Any:
        """
        Select the protocol; if none are configured, ALPN is ignored.

        @raise NoCommonProtocol: if there is no common one; OpenSSL sends the alert (RFC
            7301, 3.2), and pyOpenSSL raises this from the handshake.
        """
        for name in self.ours:
            if name in theirs:
                return name
        if not self.ours:
            return SSL.NO_OVERLAPPING_PROTOCOLS
        raise NoCommonProtocol


def shake_hands(
    server: SSL.Connection, alpn: Sequence[bytes] = (), name: str | None = None
) -> None:
    """
    Test a server connection by a handshake in memory, with a client that verifies nothing.

    @param alpn: the application protocols that the client offers.
    @param name: the server name that it requests.
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
    done = False
    for _ in range(MAX_FLIGHTS):
        done = all([_advance(client, server), _advance(server, client)])
        if done:
            return
    raise SSL.Error([("socketd", "", "it does not end")])


def reason_of(problem: BaseException) -> str:
    """Return OpenSSL's reason for a failed handshake, without any data of the peer."""
    queue = problem.args[0] if problem.args else None
    if isinstance(queue, list) and queue:
        return str(queue[-1][-1])
    return "the connection ended"


def _advance(one: SSL.Connection, other: SSL.Connection) -> bool:
    """
    Advance the handshake of one side, and pass its output to the other.

    @return: whether its handshake is done.
    """
    try:
        one.do_handshake()
        done = True
    except SSL.WantReadError:
        done = False
    for piece in pending(one):
        other.bio_write(piece)
    return done


def pending(connection: SSL.Connection) -> Iterator[bytes]:
    """Read all pending output of a connection."""
    length = _PIECE
    while length == _PIECE:
        try:
            piece = connection.bio_read(_PIECE)
        except SSL.WantReadError:
            return
        length = len(piece)
        yield piece


def _choose(connection: SSL.Connection) -> None:
    assert isinstance(connection, ServerConnection)
    connection.choose()


def _names(by_name: Mapping[str, Any], default: Identity) -> Names:
    return Names(
        exact={name.encode(): found for name, found in by_name.items() if name[0] != "*"},
        wildcards={name[1:].encode(): found for name, found in by_name.items() if name[0] == "*"},
        own=frozenset(name.encode("ascii", "replace") for name in default.names),
    )


def _paths(options: TlsOptions) -> list[str]:
    paths = [options.tls_certificate, options.tls_key, options.tls_client_ca]
    for named in options.tls_names:
        paths += [named.certificate, named.key]
    return list(filter(None, paths))


def _stamp(path: str) -> Stamp:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _nothing() -> None:
    """No-op default callback."""
