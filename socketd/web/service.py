"""The web service: the status page, /metrics for Prometheus, /healthz for load balancers."""

from __future__ import annotations

from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.web import http

from socketd.common.events import LISTENING
from socketd.common.lag import LagMeter
from socketd.control.server import OwnService
from socketd.daemon.daemon import Daemon
from socketd.daemon.state import State
from socketd.settings.listeners import Listener, is_local
from socketd.web.live import Live
from socketd.web.metrics import make_registry
from socketd.web.page import StatusPage
from socketd.web.server import ChannelFactory, Page, PageRequest, Route

#: How long collected metrics are reused (seconds): collecting takes milliseconds, so
#: frequent requests must not repeat it.
FRESH = 0.1

#: The name of the web service in the log.
NAME = "http"


class WebService(OwnService):
    """Serves the pages on one listener, and takes what they show."""

    def __init__(self, daemon: Daemon, listener: Listener) -> None:
        lag = LagMeter(daemon.reactor)
        self._registry = make_registry(daemon, lag)
        routes = {b"/metrics": Route(self._metrics), b"/healthz": Route(self._health)}
        self._status_page: StatusPage | None = None
        parts: list[Service] = [lag]
        local = is_local(listener)
        if daemon.settings.daemon.status_page in ("everywhere", "local" if local else ""):
            live = Live(daemon, lag)
            parts.append(live)
            self._status_page = StatusPage(daemon, live, local)
            routes |= self._status_page.routes
        super().__init__(daemon, NAME, listener, ChannelFactory(routes, daemon.reactor))
        for part in parts:
            part.setServiceParent(self)
        self._page: Page | None = None
        self._collected = 0.0

    def startService(self) -> None:
        super().startService()
        if self._status_page is not None:
            self._daemon.page = self._status_page.url(self.own)
        self._daemon.reactor.callLater(0, self._announce)

    def stopService(self) -> Deferred[Any]:
        self.close()
        for connection in self._service_state.connections:
            connection.abortConnection()
        stopped = maybeDeferred(super().stopService)
        return gatherResults([stopped, self._service_state.when_empty()])

    def _announce(self) -> None:
        if self.own.bound is not None:
            self._daemon.event_bus.emit(LISTENING, service=NAME, listener=str(self.own.bound))

    def _health(self, request: PageRequest) -> Page:
        health = self._daemon.snapshot().health
        code = http.OK if health == State.SERVING else http.SERVICE_UNAVAILABLE
        return Page(code, f"{health}\n".encode())

    def _metrics(self, request: PageRequest) -> Page | Deferred[Page]:
        now = self._daemon.reactor.seconds()
        if self._page is not None and now - self._collected < FRESH:
            return self._page
        return self._daemon.refresh().addCallback(self._refreshed)

    def _refreshed(self, result: None) -> Page:
        try:
            body = generate_latest(self._registry)
            self._page = Page(http.OK, body, CONTENT_TYPE_PLAIN_0_0_4.encode())
        except Exception as problem:
            self._service_state.report("/metrics", problem)
            text = b"the figures cannot be collected\n"
            self._page = Page(http.INTERNAL_SERVER_ERROR, text)
        self._collected = self._daemon.reactor.seconds()
        return self._page
