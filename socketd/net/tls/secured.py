"""
TLS before the protocol of a service, and what the connection has to know of it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocolFactory

from socketd.common.events import TLS_FAILED, TLS_SECURED
from socketd.net.tls.context import ServerContext
from socketd.net.tls.layer import Hooks, NotSecured, Secured, SecureTransport, secure_factory
from socketd.settings.model import Service


def secured(
    factory: IProtocolFactory, service: Service, context: ServerContext, clock: Any
) -> IProtocolFactory:
    """
    Put TLS before what a factory makes.
    """
    return secure_factory(context, factory, service.tls.tls_client_names, _HOOKS, clock)


def _secured(connection: Any, found: Secured, transport: SecureTransport) -> None:
    connection.settling = False
    # The client's may be the last word of the handshake, and its first message waits.
    connection.acknowledge()
    connection.site.emit(
        TLS_SECURED,
        peer=connection.peer,
        connection=connection.connection_id,
        version=found.version,
        cipher=found.cipher,
        alpn=found.alpn,
        client=found.client,
    )


def _failed(connection: Any, failed: NotSecured) -> None:
    site = connection.site
    if connection.overdue:
        # It is counted as that already.
        return
    site.tally.refused[failed.reason] += 1
    site.emit(TLS_FAILED, peer=connection.peer, reason=failed.reason, error=failed.detail)


def _received(connection: Any, data: bytes) -> None:
    connection.messages_received += 1
    if connection.site.observed:
        connection.observe(data)


_HOOKS = Hooks(_secured, _failed, _received)
