"""
The server side of TLS: contexts that are reloaded from files, and replaced while
connections are open.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from socketd.net.tls.builder import KEY_LIFETIME, ContextBuilder, Problems
from socketd.net.tls.contexts import Contexts, Parts
from socketd.net.tls.handshake import ServerConnection
from socketd.settings.tls import TlsOptions

#: Mtime, size and inode of a file, to detect a new one; C{None} without a file.
Stamp = tuple[int, int, int] | None


@implementer(IOpenSSLServerConnectionCreator)
class ServerContext:
    """
    Makes the TLS state of new connections, from files that can be reloaded.

    No connection can be made before the first successful L{load}.

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
    def parts(self) -> Parts | None:
        """What new connections use; C{None} if nothing is loaded."""
        return None if self._contexts is None else self._contexts.parts

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

    def load(self) -> Problems:
        """
        Reload the files for new connections; open connections keep their context.

        @return: the errors, each with its option's name; if any, nothing changes.
        """
        # Before they are read, so that a concurrent write triggers another reload.
        self._tried = self._stamps()
        builder = ContextBuilder(self._options, self._clock)
        return self._use(builder, builder.load())

    def take(self, parts: Parts) -> Problems:
        """Use parts that another process has loaded, as L{load} does."""
        return self._use(ContextBuilder(self._options, self._clock), parts)

    def _use(self, builder: ContextBuilder, parts: Parts | None) -> Problems:
        if parts is not None and parts != self.parts:
            self._contexts = builder.build(parts) or self._contexts
        if builder.problems:
            self.failures += 1
        else:
            self.loads += 1
        self.last_error = "; ".join(f"{name}: {text}" for name, text in builder.problems)
        return builder.problems

    def inherit(self, other: ServerContext) -> None:
        """
        Keep the contexts of a predecessor if their contents are the same, so that the session
        tickets of clients stay valid.
        """
        ours, theirs = self._contexts, other._contexts
        if ours is not None and theirs is not None and ours.parts == theirs.parts:
            self._contexts = theirs

    def rotate(self) -> None:
        """Replace the session ticket keys after L{KEY_LIFETIME}."""
        contexts = self._contexts
        if contexts is None or not contexts.resumes:
            return
        if self._clock() - contexts.made_at >= KEY_LIFETIME:
            builder = ContextBuilder(self._options, self._clock)
            self._contexts = builder.build(contexts.parts) or contexts

    def changed(self) -> bool:
        """Say whether a file has changed since the last attempt to load, if there was one."""
        return bool(self._tried) and self._stamps() != self._tried

    def invalid(self) -> Problems:
        """
        List the certificates in use that are not valid now, each with its option and why.

        They are still used: a client may accept what another rejects, and a stopped
        service helps neither.
        """
        if self._contexts is None:
            return []
        now = self._wall_clock()
        found = [(one.option, one.problem(now)) for one in self._contexts.parts.validities]
        return [(option, text) for option, text in found if text]

    def _stamps(self) -> dict[str, Stamp]:
        options = self._options
        paths = [options.tls_certificate, options.tls_key, options.tls_client_ca]
        for named in options.tls_names:
            paths += [named.certificate, named.key]
        return {path: _stamp(path) for path in filter(None, paths)}


def _stamp(path: str) -> Stamp:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
