"""Builds the contexts of a service from its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from attrs import define, field
from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.ssl import (
    AcceptableCiphers,
    Certificate,
    CertificateOptions,
    TLSVersion,
    trustRootFromCertificates,
)

from socketd.net.tls.certificates import (
    CertificateError,
    Validity,
    Identity,
    validities,
    load_authorities,
    load_identity,
)
from socketd.net.tls.contexts import Contexts, Parts
from socketd.net.tls.handshake import (
    NoCommonProtocol,
    ServerConnection,
    reason_of,
    try_handshake,
)
from socketd.settings.tls import TlsOptions

#: For TLS 1.2: forward secrecy and AEAD only, as in Mozilla's "intermediate" profile but
#: without DHE, which needs parameters and is slow: every TLS 1.2 client with AES-GCM also
#: has ECDHE. TLS 1.3 has no other suites.
_CIPHERS = AcceptableCiphers.fromOpenSSLCipherString("ECDHE+AESGCM:ECDHE+CHACHA20")

_MINIMA = {"1.2": TLSVersion.TLSv1_2, "1.3": TLSVersion.TLSv1_3}

#: Lifetime of session ticket keys (seconds). A stolen key decrypts the TLS 1.2 sessions
#: that had its tickets, so keys must be rotated (RFC 9325, 3.3); a ticket of an old key is
#: ignored, which costs its client one full handshake.
KEY_LIFETIME = 12 * 3600

#: Lifetime of a ticket (seconds): half that of its key, by RFC 9325.
TICKET_LIFETIME = KEY_LIFETIME // 2

#: Each option that is unusable, and why.
Problems = list[tuple[str, str]]


@define(eq=False)
class ContextBuilder:
    """Builds contexts, and collects what is wrong with the files."""

    options: TlsOptions
    clock: Callable[[], float]
    problems: Problems = field(factory=list)
    _validities: list[Validity] = field(factory=list)

    def load(self) -> Parts | None:
        """
        Read the files.

        @return: C{None} on any problem.
        """
        default = self._load_default()
        named = self._load_named()
        authorities = self._load_authorities()
        if default is None or self.problems:
            return None
        return Parts(self.options, default, named, authorities, tuple(self._validities))

    def build(self, parts: Parts) -> Contexts | None:
        """Build contexts from their parts; C{None} if OpenSSL rejects them."""
        try:
            contexts = self._build(parts)
            if contexts is not None:
                self._try_handshakes(contexts)
        except MemoryError:
            # Raised by cffi where memory cannot be writable and executable, as callbacks need.
            self._complain(
                "tls_certificate",
                "this process may not have callbacks; run it without MemoryDenyWriteExecute",
            )
        return None if self.problems else contexts

    def _complain(self, option: str, message: str) -> None:
        self.problems.append((option, message))

    def _load_default(self) -> Identity | None:
        path = self.options.tls_certificate
        if not path:
            self._complain("tls_certificate", "is not given; write the path of a PEM file")
            return None
        return self._load(path, self.options.tls_key or path, ("tls_certificate", "tls_key"))

    def _load(self, path: str, key: str, options: tuple[str, str]) -> Identity | None:
        try:
            found = load_identity(path, key, options)
        except CertificateError as problem:
            self._complain(problem.option, problem.message)
            return None
        self._validities += validities((found.certificate, *found.chain), path, options[0])
        return found

    def _load_named(self) -> dict[str, Identity]:
        """Load the identities by name, each pair of files only once."""
        pairs = {one.name: (one.certificate, one.key) for one in self.options.tls_names}
        both = ("tls_names", "tls_names")
        loaded = {pair: self._load(*pair, both) for pair in dict.fromkeys(pairs.values())}
        found = {name: loaded[pair] for name, pair in pairs.items()}
        return {name: identity for name, identity in found.items() if identity is not None}

    def _load_authorities(self) -> tuple[x509.Certificate, ...]:
        path = self.options.tls_client_ca
        if not path:
            if self.options.tls_client_names:
                message = "needs tls_client_ca: without it clients send no certificate"
                self._complain("tls_client_names", message)
            return ()
        try:
            found = load_authorities(path, "tls_client_ca")
        except CertificateError as problem:
            self._complain(problem.option, problem.message)
            return ()
        self._validities += validities(found, path, "tls_client_ca")
        return found

    def _build(self, parts: Parts) -> Contexts | None:
        trusted = self._trusted(parts.authorities)
        default = self._context("tls_certificate", parts.default, trusted)
        by_fingerprint = {
            identity.fingerprint: self._context("tls_names", identity, trusted)
            for identity in parts.named.values()
        }
        if self.problems:
            return None
        # Not a closure: a replaced set would stay alive in a reference cycle via OpenSSL.
        default.set_tlsext_servername_callback(ServerConnection.choose_context)
        refuses = self.options.tls_unknown_name == "refuse"
        return Contexts(
            parts=parts,
            default=default,
            refusing=SSL.Context(SSL.TLS_METHOD),
            named={
                name.removeprefix("*").encode(): by_fingerprint[identity.fingerprint]
                for name, identity in parts.named.items()
            },
            own_names=frozenset(one.encode("ascii", "replace") for one in parts.default.names),
            refuses=refuses,
            # A ticket resumes in the default context, whatever the server name is then, and
            # OpenSSL does not verify the client's certificate again.
            resumes=not (parts.named or parts.authorities or refuses),
            made_at=self.clock(),
            not_after=min(one.not_after for one in [parts.default, *parts.named.values()]),
        )

    def _trusted(self, authorities: Iterable[x509.Certificate]) -> list[Certificate]:
        try:
            return [Certificate(crypto.X509.from_cryptography(one)) for one in authorities]
        except crypto.Error as problem:
            self._complain_of_openssl("tls_client_ca", problem)
            return []

    def _context(self, option: str, identity: Identity, trusted: Sequence[Certificate]) -> Any:
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
            context = CertificateOptions(
                **identified,
                raiseMinimumTo=_MINIMA[self.options.tls_minimum],
                acceptableCiphers=_CIPHERS,
                enableSessionTickets=True,
                trustRoot=trustRootFromCertificates(trusted) if trusted else None,
            ).getContext()
        except (SSL.Error, crypto.Error) as problem:
            self._complain_of_openssl(option, problem)
            return None
        context.set_options(SSL.OP_NO_RENEGOTIATION)
        context.set_timeout(TICKET_LIFETIME)
        # Replaces Twisted's callback, which continues without a common protocol.
        context.set_alpn_select_callback(partial(_choose_alpn, self.options.tls_alpn))
        return context

    def _complain_of_openssl(self, option: str, problem: Exception) -> None:
        self._complain(option, f"OpenSSL refuses it: {reason_of(problem)}")

    def _try_handshakes(self, contexts: Contexts) -> None:
        trials: list[tuple[str, str | None]] = [("tls_certificate", None)]
        # A wildcard is tested with a name that it matches.
        trials += [("tls_names", name.replace("*", "trial")) for name in contexts.parts.named]
        for option, name in trials:
            try:
                try_handshake(ServerConnection(contexts), self.options.tls_alpn[:1], name)
            except SSL.Error as problem:
                text = f"a trial with {name or 'it'} failed: {reason_of(problem)}"
                self._complain(option, text)


def _choose_alpn(
    ours: Sequence[bytes], connection: SSL.Connection, theirs: Sequence[bytes]
) -> Any:
    """
    Select the first of our protocols that the peer offers; if we have none, ALPN is ignored.

    @raise NoCommonProtocol: if there is no common one; OpenSSL sends the alert (RFC 7301,
        3.2), and pyOpenSSL raises this from the handshake.
    """
    for name in ours:
        if name in theirs:
            return name
    if not ours:
        return SSL.NO_OVERLAPPING_PROTOCOLS
    raise NoCommonProtocol
