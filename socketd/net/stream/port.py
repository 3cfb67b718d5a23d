"""Listening ports for streams (TCP and UNIX)."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from errno import ECONNABORTED, ENOMEM, EPERM, EPROTO
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IProtocolFactory

from socketd.access.addresses import packed
from socketd.access.networks import Networks
from socketd.access.policy import Slot
from socketd.common.events import ACCEPT_FAILED
from socketd.net.port import Port
from socketd.net.service_state import ServiceState
from socketd.net.stream.connection import RESET, StreamConnection
from socketd.net.stream.refusal import are_all_refused, listen_again, stop_listening
from socketd.settings.faults.values import REFUSE

#: Connections accepted per wake-up, so that other descriptors are served in turn.
MAX_ACCEPTS = 64

#: Reason for a reset: the peer is not a trusted proxy.
PROXY_SOURCE = "proxy_source"

#: Seconds without accepting after the system ran out of descriptors or memory.
ACCEPT_PAUSE = 1.0

#: Rate limit: the shortage is logged at most once in so many seconds.
ACCEPT_LOG_INTERVAL = 10.0

_ACCEPT_AGAIN = (ECONNABORTED, EPERM, EPROTO)


@frozen(eq=False)
class StreamTerms:
    """
    What is required of a connection before it is served.

    @ivar handshaking: whether a PROXY header or a TLS handshake comes first, within
        C{handshake_timeout}.
    @ivar proxies: the networks whose PROXY headers are trusted; C{None}: no header is read.
    """

    handshaking: bool = False
    proxies: Networks | None = None


DIRECT = StreamTerms()


class StreamPort(Port):
    """A listening socket that accepts connections for a factory."""

    def __init__(
        self,
        reactor: Any,
        sock: socket.socket,
        factory: IProtocolFactory,
        service_state: ServiceState,
        terms: StreamTerms = DIRECT,
    ) -> None:
        super().__init__(reactor, sock, service_state)
        self.factory = factory
        self._terms = terms
        self._logged = float("-inf")
        self._backlog: int | None = None

    def started(self) -> None:
        self.factory.doStart()
        self.update_faults()

    def update_faults(self) -> None:
        """
        Have the kernel refuse connections, or accept them again, as the service's profile says.

        It can where all are refused; one that some are not for is accepted and reset, as are all
        of a UNIX socket, which cannot listen again.
        """
        faults = self._service_state.faults
        refused = faults is not None and are_all_refused(faults.profile.options)
        if not self.connected or self._family == socket.AF_UNIX:
            return
        if refused and self._backlog is None:
            self._reactor.removeReader(self)
            self._backlog = stop_listening(self._socket)
        elif not refused and self._backlog is not None:
            self._listen_again(self._backlog)

    def _listen_again(self, backlog: int) -> None:
        try:
            listen_again(self._socket, backlog)
        except OSError as problem:
            # Another program listens there meanwhile; this is tried again.
            self._pause(problem)
            return
        self._backlog = None
        if not self._waits:
            self._watch()

    def _watch(self) -> None:
        if self._backlog is None:
            super()._watch()
        else:
            self.update_faults()

    def finish(self) -> None:
        if self._backlog is None:
            super().finish()

    def release(self) -> None:
        self._hand_back()
        super().release()

    def close(self) -> None:
        self._hand_back()
        super().close()

    def _hand_back(self) -> None:
        """Let the socket listen for another port, or for systemd, whose it may be, too."""
        backlog, self._backlog = self._backlog, None
        if backlog is not None:
            with suppress(OSError):
                listen_again(self._socket, backlog)

    def closed(self) -> None:
        """Cancel the wait for capacity and call the factory's C{doStop}."""
        if self._waits:
            self._waits = False
            self._service_state.policy.capacity.forget(self._accept_again)
        self.factory.doStop()

    def doRead(self) -> None:
        try:
            self._accept_all()
        except MemoryError:
            self._pause(OSError(ENOMEM, os.strerror(ENOMEM)))

    def _accept_all(self) -> None:
        capacity = self._service_state.policy.capacity
        for _ in range(MAX_ACCEPTS):
            if self._closing is not None:
                # The protocol built last has stopped the port.
                return
            if capacity.is_full:
                self._wait_for_capacity()
                return
            try:
                # As accept() does, without the object.
                descriptor, peer = self._socket._accept()  # type: ignore[attr-defined]
            except BlockingIOError:
                return
            except OSError as problem:
                if problem.errno in _ACCEPT_AGAIN:
                    continue
                self._pause(problem)
                return
            reason, slot = self._admit(peer)
            if reason:
                self._service_state.counters.refused[reason] += 1
                self._reset(descriptor)
            else:
                self._serve(descriptor, peer, slot)

    def _admit(self, peer: Any) -> tuple[str | None, Slot | None]:
        if self._terms.proxies is None:
            return self._service_state.policy.admit_connection(self._family, peer)
        # The real source is checked once the load balancer's PROXY header is read.
        believed = self._family == socket.AF_UNIX or self._terms.proxies.admits(packed(peer[0]))
        return (None if believed else PROXY_SOURCE), None

    def _reset(self, descriptor: int) -> None:
        """Reset a connection: no data, no log line, no TIME-WAIT state in the kernel."""
        with socket.socket(self._family, socket.SOCK_STREAM, 0, descriptor) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def _wait_for_capacity(self) -> None:
        """Leave pending connections in the kernel's backlog until there is capacity."""
        self._service_state.counters.full += 1
        self._waits = True
        self._reactor.removeReader(self)
        self._service_state.policy.capacity.when_available(self._accept_again)

    def _accept_again(self) -> None:
        self._waits = False
        self._watch()

    def _serve(self, descriptor: int, peer: Any, slot: Slot | None) -> None:
        faults = self._service_state.faults
        draw = None if faults is None else faults.draw_connection()
        if draw is not None and draw.options.action == REFUSE:
            self._service_state.counters.faults[REFUSE] += 1
            if slot is not None:
                slot.leave()
            self._reset(descriptor)
            return
        os.set_blocking(descriptor, False)
        protocol = None
        try:
            connection = StreamConnection(
                self._reactor, descriptor, peer, self._service_state, slot, self._family
            )
            try:
                protocol = self.factory.buildProtocol(connection.getPeer())
            except Exception as problem:
                # An error in one protocol does not keep the next connection out.
                connection.report(problem)
        finally:
            # Also without memory for the connection.
            if protocol is None:
                os.close(descriptor)
                if slot is not None:
                    slot.leave()
        if protocol is not None:
            terms = self._terms
            connection.begin(protocol, terms.handshaking, terms.proxies is None, draw)

    def _pause(self, problem: OSError) -> None:
        """Stop accepting for L{ACCEPT_PAUSE} seconds; pending connections stay in the backlog."""
        self._service_state.counters.accepts_failed += 1
        self.pause(ACCEPT_PAUSE)
        now = self._reactor.seconds()
        if now - self._logged >= ACCEPT_LOG_INTERVAL:
            self._logged = now
            self._service_state.emit(ACCEPT_FAILED, error=problem.strerror, seconds=ACCEPT_PAUSE)
