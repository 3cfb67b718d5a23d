"""
The server's side of TLS: contexts that are made anew from the files, and swapped while
connections live.
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

#: A handshake has at most two flights of each side, and one more for a second hello.
MAX_FLIGHTS = 6

#: What is moved from one end of a trial to the other at a time (bytes).
_PIECE = 64 * 1024

#: For TLS 1.2: forward secrecy and authenticated encryption only, as Mozilla's
#: "intermediate" has it, without DHE: that needs parameters, it is slow, and every client
#: of TLS 1.2 that has AES-GCM has elliptic curves.  TLS 1.3 has no others.
_CIPHERS = AcceptableCiphers.fromOpenSSLCipherString("ECDHE+AESGCM:ECDHE+CHACHA20")

#: How long the keys of session tickets are used (seconds). With a stolen one the sessions of
#: TLS 1.2 can be read that had its tickets, so they have to change (RFC 9325, 3.3); a ticket
#: of old keys is worth nothing, which costs its client one full handshake.
KEY_LIFETIME = 12 * 3600

#: How long a ticket is good (seconds): half as long, as RFC 9325 has it.
TICKET_LIFETIME = KEY_LIFETIME // 2

_MINIMA = {"1.2": TLSVersion.TLSv1_2, "1.3": TLSVersion.TLSv1_3}

#: An alert as it goes over the wire while no key is agreed on: type 21, two bytes of
#: version, a length of two, level 2 (fatal), and which (RFC 8446, 5.1 and 6).
_ALERT_SIZE = 7
_ALERT_TYPE = 21
_ALERT_MIDDLE = b"\0\2\2"

#: RFC 8446, 6.2.
_UNRECOGNIZED_NAME = b"\x70"

#: The time, size and inode of a file, by which a new one is told; none if there is none.
Stamp = tuple[int, int, int] | None

Complaints = list[tuple[str, str]]


class UnknownServerName(SSL.Error):
    """
    The client asked for a server that nobody here is.
    """

    def __init__(self) -> None:
        # In the form of OpenSSL's own: Twisted looks into it.
        super().__init__([("socketd", "", "unknown server name")])


class NoCommonProtocol(SSL.Error):
    """
    The client offered application protocols, and none is spoken here.
    """

    def __init__(self) -> None:
        super().__init__([("socketd", "", "no common application protocol")])


class ServerConnection(SSL.Connection):
    """
    The TLS state of one accepted connection.

    @ivar on_end: called when the peer says that it will send no more, while it can
        still be sent to.
    """

    def __init__(self, contexts: Contexts) -> None:
        super().__init__(contexts.default)
        # OpenSSL goes on calling back into the first context when another is chosen.
        self._contexts = contexts
        self._refused = False
        self._problem: Exception | None = None
        self.on_end: Callable[[], None] = _nothing

    def choose(self) -> None:
        """
        Take the context for the name that the client asks for (RFC 6066, 3).
        """
        if not self._contexts.resumes:
            # Where tickets were allowed up to here none is sent now; forbidden from the
            # beginning, OpenSSL would still send those of TLS 1.3, for a cache it has not.
            self.set_options(SSL.OP_NO_TICKET)
        context: SSL.Context | None
        try:
            context = self._contexts.find(self.get_servername())
        except Exception as problem:
            # pyOpenSSL would write a traceback to stderr; do_handshake raises it.
            self._problem = problem
            context = self._contexts.nobody
        if context is None:
            self._refused = True
            context = self._contexts.nobody
        if context is not self._contexts.default:
            self.set_context(context)

    def do_handshake(self) -> None:
        """
        Go on with the handshake.

        @raise SSL.Error: when it failed, or waits for the peer.
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
        """
        Take what is to be sent; the alert of a refused client says why.
        """
        data = super().bio_read(bufsiz)
        alert = data[-_ALERT_SIZE:]
        if self._refused and alert[:1] == bytes([_ALERT_TYPE]) and alert[3:6] == _ALERT_MIDDLE:
            return data[:-1] + _UNRECOGNIZED_NAME
        return data

    def recv(self, bufsiz: int, flags: int | None = None) -> bytes:
        """
        Take what was received.

        @raise SSL.Error: when there is nothing, or will be nothing more.
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
    @ivar wildcards: by what follows the first label, with its dot.
    @ivar own: the names of the default context, wildcards with their C{*}.
    """

    exact: Mapping[bytes, SSL.Context]
    wildcards: Mapping[bytes, SSL.Context]
    own: frozenset[bytes]


@frozen
class Parts:
    """
    What contexts are made of; those of equal parts serve alike.

    @ivar options: how to serve.
    @ivar default: for a client that asks for no name.
    @ivar named: by server name.
    @ivar authorities: who vouches for clients.
    @ivar dated: when each of all these is valid.
    """

    options: TlsOptions
    default: Identity
    named: Mapping[str, Identity]
    authorities: tuple[x509.Certificate, ...]
    dated: tuple[Dated, ...]


@frozen(eq=False)
class Contexts:
    """
    All that new connections are served with.

    @ivar parts: what they are made of.
    @ivar default: for a client that asks for no name.
    @ivar nobody: has no certificate, so that a handshake fails with it.
    @ivar names: the others.
    @ivar refuses: whether an unknown name is refused.
    @ivar resumes: whether clients get tickets for shorter handshakes.
    @ivar made_at: when these were made, by the clock of the daemon's timers (seconds).
    @ivar not_after: when the first certificate expires (seconds since 1970).
    """

    parts: Parts
    default: SSL.Context
    nobody: SSL.Context
    names: Names
    refuses: bool
    resumes: bool
    made_at: float
    not_after: float

    def find(self, asked: bytes | None) -> SSL.Context | None:
        """
        Find the context for a name, as the client sent it.

        @return: C{None} if the client is to be refused.
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
    Makes the TLS state of new connections, from files that may be renewed.

    Nothing is served before the first L{load} without complaint.

    @ivar loads: how often the files were taken.
    @ivar failures: how often they were not.
    @ivar last_error: why, in one line; empty once they were.
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
        """
        When the first certificate of those in use expires (seconds since 1970); 0
        while there is none.
        """
        return 0.0 if self._contexts is None else self._contexts.not_after

    def serverConnectionForTLS(self, protocol: Any) -> ServerConnection:
        """
        Make the TLS state of a new connection.

        @raise RuntimeError: if no certificate could be loaded yet.
        """
        if self._contexts is None:
            raise RuntimeError(f"there is no certificate: {self.last_error or 'none loaded'}")
        return ServerConnection(self._contexts)

    def load(self) -> Complaints:
        """
        Read the files anew and serve new connections with what they hold; old
        connections keep what they have.

        @return: what is wrong, each with the option's name; then nothing changes.
        """
        # Before they are read: what is written meanwhile is tried again.
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
        Go on where another one has served: where the files say the same when they are
        loaded, its clients' tickets stay good.
        """
        self._contexts = other._contexts

    def rotate(self) -> None:
        """
        Take new keys for tickets when the old ones have had their time.
        """
        contexts = self._contexts
        if contexts is None or not contexts.resumes:
            return
        if self._clock() - contexts.made_at >= KEY_LIFETIME:
            self._contexts = _Maker(self._options, self._clock).build(contexts.parts) or contexts

    def changed(self) -> bool:
        """
        Say whether a file is another than when they were last tried.
        """
        return self._stamps() != self._tried

    def invalid(self) -> Complaints:
        """
        List which certificates in use are not valid now, each with its option and why.

        They are served all the same: a client may take what another refuses, and a
        service that is down helps none.
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
    Read a service's certificates and keys, and shake hands with each once, in memory.

    @return: each option that cannot be had, and why.
    """
    return ServerContext(options, time.time).load()


@define(eq=False)
class _Maker:
    """
    Makes contexts, and collects what is wrong with the files.
    """

    options: TlsOptions
    clock: Callable[[], float]
    diagnostics: Complaints = field(factory=list)
    dated: list[Dated] = field(factory=list)

    def make(self, before: Contexts | None) -> Contexts | None:
        """
        Make them all; or none, if there is a complaint.

        @param before: those that serve; they stay where the files say the same.
        """
        default = self._default()
        named = self._named()
        authorities = self._authorities()
        if default is None or self.diagnostics:
            return None
        parts = Parts(self.options, default, named, authorities, tuple(self.dated))
        return before if before is not None and before.parts == parts else self.build(parts)

    def build(self, parts: Parts) -> Contexts | None:
        """
        Make contexts of their parts; none, if OpenSSL does not take these.
        """
        try:
            return self._build(parts)
        except MemoryError:
            # cffi: no page may be written and executed, as OpenSSL's callbacks need.
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
        """
        Load each pair of files once, however many names it is for.
        """
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
            nobody=SSL.Context(SSL.TLS_METHOD),
            names=_names(by_name, parts.default),
            refuses=refuses,
            # A session is good for the default context, whatever name is asked for then,
            # and OpenSSL does not verify the client's certificate again.
            resumes=not (parts.named or parts.authorities or refuses),
            made_at=self.clock(),
            not_after=min(one.not_after for one in [parts.default, *parts.named.values()]),
        )
        # Not in the callback's closure: a swap would leave a circle through OpenSSL.
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
        Make a context; OpenSSL takes all but the key and certificate from whichever
        is chosen last, so all have the same of the rest.
        """
        # pyOpenSSL takes these as they are, and Twisted hands them on; its types
        # still name those that pyOpenSSL would rather not have.
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
        # In place of Twisted's, which goes on without an agreement.
        context.set_alpn_select_callback(_Agreement(self.options.tls_alpn))
        return context

    def _refuse(self, option: str, problem: Exception) -> None:
        self._complain(option, f"OpenSSL refuses it: {reason_of(problem)}")

    def _shake_hands(self, contexts: Contexts, named: Mapping[str, Identity]) -> None:
        self._shake_hand(contexts, "tls_certificate", None)
        for name in named:
            # A wildcard is asked for by a name that it stands for.
            self._shake_hand(contexts, "tls_names", name.replace("*", "trial"))

    def _shake_hand(self, contexts: Contexts, option: str, name: str | None) -> None:
        try:
            shake_hands(ServerConnection(contexts), self.options.tls_alpn[:1], name)
        except SSL.Error as problem:
            self._complain(option, f"a trial with {name or 'it'} failed: {reason_of(problem)}")


@frozen
class _Agreement:
    """
    Chooses the application protocol; the first of ours that the peer has, too.
    """

    ours: tuple[bytes, ...]

    def __call__(self, connection: SSL.Connection, theirs: Sequence[bytes]) -> Any:
        """
        Choose; where there are none of ours, what the peer offers is left open.

        @raise NoCommonProtocol: if there is none; OpenSSL sends the alert (RFC 7301,
            3.2), and pyOpenSSL raises this from the handshake.
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
    Let a server connection shake hands with a client that trusts anybody, in memory.

    @param alpn: the application protocols that the client offers.
    @param name: the name that it asks for.
    @raise SSL.Error: if they do not come to terms.
    """
    client = SSL.Connection(SSL.Context(SSL.TLS_METHOD))
    if alpn:
        client.set_alpn_protos(list(alpn))
    if name is not None:
        client.set_tlsext_host_name(name.encode())
    client.set_connect_state()
    server.set_accept_state()
    # The trial has no client certificate.
    server.set_verify(SSL.VERIFY_NONE)
    done = False
    for _ in range(MAX_FLIGHTS):
        done = all([_advance(client, server), _advance(server, client)])
        if done:
            return
    raise SSL.Error([("socketd", "", "it does not end")])


def reason_of(problem: BaseException) -> str:
    """
    Say in OpenSSL's words why a handshake failed, without anything of the peer's.
    """
    queue = problem.args[0] if problem.args else None
    if isinstance(queue, list) and queue:
        return str(queue[-1][-1])
    return "the connection ended"


def _advance(one: SSL.Connection, other: SSL.Connection) -> bool:
    """
    Let one side do what it can, and hand the other what it has to send.

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
    """
    Take all that a connection has to send.
    """
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
    """
    Take the place of a hook that nobody has set.
    """
