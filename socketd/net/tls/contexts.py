"""The OpenSSL contexts of a service, one per certificate, by the client's server name."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen
from cryptography import x509
from OpenSSL import SSL

from socketd.net.tls.certificates import Validity, Identity
from socketd.settings.tls import TlsOptions


@frozen
class Parts:
    """
    The input of a set of contexts; equal parts make equivalent contexts.

    @ivar default: the identity for a client without a server name.
    """

    options: TlsOptions
    default: Identity
    named: Mapping[str, Identity]
    authorities: tuple[x509.Certificate, ...]
    validities: tuple[Validity, ...]


@frozen(eq=False)
class Contexts:
    """
    The set of contexts that new connections use.

    @ivar default: for a client without a server name.
    @ivar refusing: has no certificate, so that every handshake with it fails.
    @ivar named: by server name in lower case; that of a wildcard begins with its dot.
    @ivar own_names: the names of the default context, wildcards with their C{*}.
    @ivar resumes: whether clients get session tickets.
    @ivar made_at: when these were made, by the monotonic clock (seconds).
    @ivar not_after: when the first certificate expires (seconds since 1970).
    """

    parts: Parts
    default: SSL.Context
    refusing: SSL.Context
    named: Mapping[bytes, SSL.Context]
    own_names: frozenset[bytes]
    refuses: bool
    resumes: bool
    made_at: float
    not_after: float

    def find(self, server_name: bytes | None) -> SSL.Context | None:
        """
        Find the context for a server name, as sent by the client.

        @return: C{None} if the client must be rejected.
        """
        if server_name is None:
            return self.default
        name = server_name.lower()
        _, dot, parent = name.partition(b".")
        found = self.named.get(name) or self.named.get(dot + parent)
        if found is not None:
            return found
        is_own = name in self.own_names or b"*" + dot + parent in self.own_names
        return None if self.refuses and not is_own else self.default
