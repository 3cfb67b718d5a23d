"""
TLS before the protocol of a service, and what the connection has to know of it.
"""

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
    """
    Put TLS before what a factory makes.
    """
    return secure_factory(context, factory, service.tls.tls_client_names, _HOOKS, clock)


def _secured(connection: Any, found: TlsSession, transport: SecureTransport) -> None:
    connection.handshaking = False
    # The client's may be the last word of the handshake, and its first message waits.
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
        # It is counted as that already.
        return
    service_state.counters.refused[failed.reason] += 1
    service_state.emit(TLS_FAILED, peer=connection.peer, reason=failed.reason, error=failed.detail)


def _received(connection: Any, data: bytes) -> None:
    connection.messages_received += 1
    if connection.service_state.observed:
        connection.observe(data)


_HOOKS = Hooks(_secured, _failed, _received)
