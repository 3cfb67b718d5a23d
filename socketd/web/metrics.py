"""
The daemon's metrics for Prometheus.

The values are read from the plain counters at each scrape, so that metrics add no cost
to a message.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from typing import Any

from attrs import frozen
from OpenSSL import SSL
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import twisted
from socketd.access.datagram_guard import NETWORK, REASONS
from socketd.access.bans import BANNED
from socketd.access.rates import SOURCE_LIMIT, SOURCE_RATE
from socketd.common.counters import Counters
from socketd.daemon.daemon import Daemon
from socketd.daemon.state import State
from socketd.net.datagram.batch_port import TOO_LONG
from socketd.net.proxy.layer import PROXY_HEADER, PROXY_SOURCE
from socketd.net.service_state import Connection, ServiceState
from socketd.net.stream.deadlines import FIRST_BYTE
from socketd.net.stream.deadlines import HANDSHAKE as HANDSHAKE_TIMEOUT
from socketd.net.stream.deadlines import IDLE, LIFETIME, STALL
from socketd.net.tls.layer import CLIENT_NAME, HANDSHAKE, SERVER_NAME
from socketd.web.lag import LagMeter
from socketd.web.socket_drops import KernelDrops

#: Reasons that are no longer counted, kept at 0 for existing dashboards.
RETIRED = ("loop",)

#: Known reasons are exported as 0 from the start, so that C{rate()} sees the first one.
REFUSALS = (
    BANNED,
    NETWORK,
    SOURCE_LIMIT,
    SOURCE_RATE,
    PROXY_SOURCE,
    PROXY_HEADER,
    HANDSHAKE,
    SERVER_NAME,
    CLIENT_NAME,
)
DROPS = (*REASONS, TOO_LONG, *RETIRED)
DEADLINES = (FIRST_BYTE, IDLE, STALL, LIFETIME, HANDSHAKE_TIMEOUT)

#: The values of the labels, and the value of the metric.
Sample = tuple[tuple[str, ...], float]


@frozen
class MetricSpec:
    """
    The name, help and labels of one metric.

    @ivar name: its name; that of a counter ends in C{_total}.
    @ivar help: its meaning, in a sentence.
    @ivar labels: the names of its labels.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ("service",)

    def family(self, samples: Iterable[Sample]) -> Metric:
        """Make the metric family with its samples."""
        kind = CounterMetricFamily if self.name.endswith("_total") else GaugeMetricFamily
        found: Any = kind(self.name, self.help, labels=self.labels)
        for labels, value in samples:
            found.add_metric(labels, value)
        return found  # type: ignore[no-any-return]


@frozen
class Read:
    """A metric per service, and the function that reads it from the service's counters."""

    figure: MetricSpec
    read: Callable[[Counters], int]


@frozen
class ReadByReason:
    """
    A metric per service and reason, and the function that reads it from the counters.

    @ivar known: the reasons that are always exported.
    """

    figure: MetricSpec
    read: Callable[[Counters], Mapping[str, int]]
    known: tuple[str, ...]


_BY_REASON = ("service", "reason")

OPEN = MetricSpec("socketd_connections_open", "Connections that are open.")
KERNEL = MetricSpec(
    "socketd_datagrams_kernel_dropped_total",
    "Datagrams that the kernel dropped because the receive buffer was full.",
)
COUNTS = (
    Read(
        MetricSpec("socketd_connections_total", "Connections that were let in."),
        lambda counters: counters.connections,
    ),
    Read(
        MetricSpec(
            "socketd_messages_received_total",
            "Receives that brought bytes for the protocol on connections.",
        ),
        lambda counters: counters.messages_received,
    ),
    Read(
        MetricSpec("socketd_received_bytes_total", "Bytes received on connections."),
        lambda counters: counters.bytes_received,
    ),
    Read(
        MetricSpec("socketd_sent_bytes_total", "Bytes sent on connections."),
        lambda counters: counters.bytes_sent,
    ),
    Read(
        MetricSpec(
            "socketd_accept_failures_total", "Times that the system had no room to accept."
        ),
        lambda counters: counters.accepts_failed,
    ),
    Read(
        MetricSpec("socketd_full_total", "Times that accepting stopped at the limit."),
        lambda counters: counters.full,
    ),
    Read(
        MetricSpec("socketd_datagrams_received_total", "Datagrams received, those dropped too."),
        lambda counters: counters.datagrams_received,
    ),
    Read(
        MetricSpec("socketd_datagrams_sent_total", "Datagrams sent in answer."),
        lambda counters: counters.datagrams_sent,
    ),
    Read(
        MetricSpec(
            "socketd_datagrams_received_bytes_total",
            "Bytes of the datagrams received, those dropped too.",
        ),
        lambda counters: counters.datagram_bytes_received,
    ),
    Read(
        MetricSpec("socketd_datagrams_sent_bytes_total", "Bytes of the datagrams sent in answer."),
        lambda counters: counters.datagram_bytes_sent,
    ),
    Read(
        MetricSpec("socketd_datagrams_unsent_total", "Answers that the kernel refused to send."),
        lambda counters: counters.datagrams_unsent,
    ),
)
COUNTS_BY_REASON = (
    ReadByReason(
        MetricSpec(
            "socketd_connections_refused_total",
            "Connections that were not let in, by reason.",
            _BY_REASON,
        ),
        lambda counters: counters.refused,
        REFUSALS,
    ),
    ReadByReason(
        MetricSpec(
            "socketd_connections_overdue_total",
            "Connections that a deadline ended, by its option.",
            _BY_REASON,
        ),
        lambda counters: counters.timed_out,
        DEADLINES,
    ),
    ReadByReason(
        MetricSpec(
            "socketd_datagrams_dropped_total",
            "Datagrams that were dropped unanswered, by reason.",
            _BY_REASON,
        ),
        lambda counters: counters.datagrams_dropped,
        DROPS,
    ),
)
EXPIRY = MetricSpec(
    "socketd_certificate_expiry_timestamp_seconds",
    "When the first certificate in use expires, since 1970.",
)
INVALID = MetricSpec(
    "socketd_certificates_invalid",
    "Certificates in use, authorities' too, that have expired or are not valid yet.",
)
LOADS = MetricSpec(
    "socketd_certificate_loads_total",
    "Times that certificates were read from their files, by result.",
    ("service", "result"),
)
UP = MetricSpec("socketd_serving", "Whether all listeners serve: 1, or 0.", ())
WAITING = MetricSpec("socketd_operator_waiting", "Connections that wait for the operator.", ())
ATTENDED = MetricSpec("socketd_operator_attended", "Whether an operator looks on: 1, or 0.", ())
BANS = MetricSpec("socketd_bans", "Networks that are banned.", ())
RELOADS = MetricSpec(
    "socketd_config_reloads_total", "Reloads of the configuration, by result.", ("result",)
)
BUILD = MetricSpec(
    "socketd_build_info",
    "1, with the versions of what runs as labels.",
    ("version", "python", "twisted", "openssl"),
)


class DaemonCollector(Collector):
    """Reads the daemon's metrics at each scrape."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._kernel = KernelDrops()

    def collect(self) -> Iterator[Metric]:
        """Read all metrics."""
        live = self._live()
        counters_by_service = {
            service_state.name: service_state.counters.total(live[service_state])
            for service_state in self._daemon.service_states
        }
        open_ = (
            ((service_state.name,), len(live[service_state]))
            for service_state in self._daemon.service_states
        )
        yield OPEN.family(open_)
        for one in COUNTS:
            yield one.figure.family(
                ((name,), one.read(t)) for name, t in counters_by_service.items()
            )
        for many in COUNTS_BY_REASON:
            yield many.figure.family(_by_reason(many, counters_by_service))
        yield KERNEL.family(((name,), count) for name, count in self._drops().items())
        yield from self._certificates()
        yield from self._whole()

    def _live(self) -> dict[ServiceState, list[Connection]]:
        """Group the live connections by service, in one pass."""
        found: dict[ServiceState, list[Connection]] = {
            service_state: [] for service_state in self._daemon.service_states
        }
        for connection in self._daemon.connection_table:
            if connection.service_state in found:
                found[connection.service_state].append(connection)
        return found

    def _drops(self) -> Mapping[str, int]:
        return self._kernel.update(
            (child.service_state.name, bound.sock)
            for child in self._daemon.socket_services
            for bound in child.bound
            if not bound.is_stream
        )

    def _certificates(self) -> Iterator[Metric]:
        contexts = {
            child.service_state.name: child.context
            for child in self._daemon.socket_services
            if child.context is not None
        }
        expiries = (((name,), found.not_after) for name, found in contexts.items())
        yield EXPIRY.family(expiries)
        invalid = (((name,), len(found.invalid())) for name, found in contexts.items())
        yield INVALID.family(invalid)
        loads = (((name, "done"), found.loads) for name, found in contexts.items())
        failures = (((name, "refused"), found.failures) for name, found in contexts.items())
        yield LOADS.family([*loads, *failures])

    def _whole(self) -> Iterator[Metric]:
        daemon = self._daemon
        yield UP.family([((), daemon.health() == State.SERVING)])
        yield WAITING.family([((), len(daemon.operator.waiting))])
        yield ATTENDED.family([((), daemon.operator.attended)])
        yield BANS.family([((), len(daemon.bans))])
        yield RELOADS.family(((result,), count) for result, count in daemon.reloads.items())
        yield BUILD.family([(_versions(), 1)])


def make_registry(daemon: Daemon, lag: LagMeter) -> CollectorRegistry:
    """Make the registry of metrics of the daemon, its process and Python."""
    registry = CollectorRegistry()
    registry.register(DaemonCollector(daemon))
    registry.register(lag)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def _by_reason(
    many: ReadByReason, counters_by_service: Mapping[str, Counters]
) -> Iterator[Sample]:
    for name, counters in counters_by_service.items():
        counts = dict.fromkeys(many.known, 0) | dict(many.read(counters))
        for reason, count in counts.items():
            yield (name, reason), count


def _versions() -> tuple[str, ...]:
    try:
        version = metadata.version("socketd")
    except metadata.PackageNotFoundError:
        version = "unknown"
    openssl = SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii", "replace")
    return version, platform.python_version(), twisted.__version__, openssl
