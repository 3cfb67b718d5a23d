"""The layers between a connection and its service's protocol: PROXY header and TLS."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IProtocolFactory

from socketd.access.networks import Networks
from socketd.net.base_layer import LayerFactory
from socketd.net.stream.port import StreamTerms
from socketd.settings.listeners import Listener
from socketd.settings.model import ServiceSettings

if TYPE_CHECKING:
    from socketd.net.tls.context import ServerContext


def wrap_factory(
    factory: IProtocolFactory,
    listener: Listener,
    service: ServiceSettings,
    context: ServerContext | None,
    clock: Any,
) -> tuple[Any, StreamTerms]:
    """
    Wrap a factory in the layers that its listener needs.

    @param context: the TLS context; C{None} if no listener uses TLS.
    @return: the wrapping factory and the terms of its connections.
    """
    if listener.tls and context is not None:
        from socketd.net.tls.layer import wrap_in_tls

        factory = wrap_in_tls(factory, service.tls.tls_client_names, context, clock)
    if not listener.proxied:
        return factory, StreamTerms(handshaking=listener.tls)
    # Lazy, as for TLS: most listeners are behind no load balancer.
    from socketd.net.proxy.layer import ProxyLayer

    proxies = Networks(service.policy.proxy_from, ())
    layers = LayerFactory(factory, partial(ProxyLayer, over_tls=listener.tls))
    return layers, StreamTerms(True, proxies)
