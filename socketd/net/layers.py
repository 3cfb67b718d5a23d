"""
What lies between a connection and the protocol of its service: the header of a
balancer, and TLS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IProtocolFactory

from socketd.access.rates import Networks
from socketd.net.proxy.layer import ProxyLayerFactory
from socketd.net.stream.port import StreamTerms
from socketd.settings.listeners import Listener
from socketd.settings.model import Service

if TYPE_CHECKING:
    from socketd.net.tls.context import ServerContext


def make_context(service: Service, wall_clock: Any, clock: Any) -> ServerContext | None:
    """
    Make what a service shows of itself in TLS; nothing is read yet.

    @param wall_clock: gives the time of day.
    @param clock: gives the time of the reactor's timers.
    @return: C{None} if no listener speaks it.
    """
    if not any(listener.tls for listener in service.listeners):
        return None
    # A tenth of a second, which a daemon without TLS does not spend.
    from socketd.net.tls.context import ServerContext

    return ServerContext(service.tls, wall_clock, clock)


def wrap_factory(
    factory: IProtocolFactory,
    listener: Listener,
    service: Service,
    context: ServerContext | None,
    clock: Any,
) -> tuple[Any, StreamTerms]:
    """
    Put the layers of a listener before what a factory makes.

    @param context: for TLS; C{None} where no listener speaks it.
    @return: a factory for the connections, and on which terms these are served.
    """
    if listener.tls and context is not None:
        from socketd.net.tls.secured import secured

        factory = secured(factory, service, context, clock)
    if not listener.proxied:
        return factory, StreamTerms(settles=listener.tls)
    proxies = Networks(service.policy.proxy_from, ())
    return ProxyLayerFactory(factory, listener.tls), StreamTerms(True, proxies)
