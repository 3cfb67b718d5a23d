"""The TLS layer of a service, with hooks that keep the connection's state and counters."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocolFactory

from socketd.common.events import TLS_FAILED, TLS_SECURED
from socketd.net.tls.context import ServerContext
from socketd.net.tls.layer import (
    HandshakeFailure,
    Hooks,
    SecureTransport,
    TlsSession,
    secure_factory,
)
from socketd.settings.model import Service


def secured(
    factory: IProtocolFactory, service: Service, context: ServerContext, clock: Any
) -> IProtocolFactory:
    """Wrap a factory so that its protocols are served over TLS."""
    return secure_factory(context, factory, service.tls.tls_client_names, _HOOKS, clock)


def _secured(connection: Any, found: TlsSession, transport: SecureTransport) -> None:
    connection.handshaking = False
    # The client may have sent the last flight and wait for this ACK with its first message.
    connection.acknowledge()
    connection.service_state.emit(
        TLS_SECURED,
        peer=connection.peer,
        connection=connection.connection_id,
        version=found.version,
        cipher=found.cipher,
        alpn=found.alpn,
        client=found.client,
    )


def _failed(connection: Any, failed: HandshakeFailure) -> None:
    service_state = connection.service_state
    if connection.timed_out:
        # It is already counted as timed out.
        return
    service_state.counters.refused[failed.reason] += 1
    service_state.emit(TLS_FAILED, peer=connection.peer, reason=failed.reason, error=failed.detail)


def _received(connection: Any, data: bytes) -> None:
    connection.messages_received += 1
    if connection.service_state.observed:
        connection.observe(data)


_HOOKS = Hooks(_secured, _failed, _received)
