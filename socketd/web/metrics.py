"""
The daemon's metrics for Prometheus.

The values are read from the plain counters at each scrape, so that metrics add no cost
to a message.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from importlib import metadata
from itertools import accumulate
from pkgutil import resolve_name
from typing import Any

import attrs
from attrs import frozen
from OpenSSL import SSL
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

import twisted
from socketd.access.bans import BANNED
from socketd.access.datagram_guard import NETWORK, REASONS
from socketd.access.rates import SOURCE_LIMIT, SOURCE_RATE
from socketd.common.counters import DELAY_QUEUE, LOOP, TOO_LONG, Counters
from socketd.common.lag import BUCKETS, Lag, LagMeter
from socketd.daemon.daemon import Daemon
from socketd.daemon.snapshot import ServiceSnapshot, Snapshot
from socketd.daemon.state import State
from socketd.net.faults.datagrams import FAULT_QUEUE
from socketd.net.proxy.layer import PROXY_HEADER
from socketd.net.stream.deadlines import FIRST_BYTE
from socketd.net.stream.deadlines import HANDSHAKE as HANDSHAKE_TIMEOUT
from socketd.net.stream.deadlines import IDLE, LIFETIME, STALL
from socketd.net.stream.port import PROXY_SOURCE
from socketd.net.tls.layer import CLIENT_NAME, HANDSHAKE, SERVER_NAME

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
DROPS = (*REASONS, TOO_LONG, FAULT_QUEUE, DELAY_QUEUE, LOOP)
DEADLINES = (FIRST_BYTE, IDLE, STALL, LIFETIME, HANDSHAKE_TIMEOUT)

#: The values of the labels, and the value of the metric.
Sample = tuple[tuple[str, ...], float]


@frozen
class MetricSpec:
    """The name, help and labels of one metric; the name of a counter ends in C{_total}."""

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


OPEN = MetricSpec("socketd_connections_open", "Connections that are open.")
KERNEL = MetricSpec(
    "socketd_datagrams_kernel_dropped_total",
    "Datagrams that the kernel dropped because the receive buffer was full.",
)
#: The protocols that speak HTTP.
HTTP = ("http", "websocket")

#: The values of the label of a counter that are always exported: for the services of these
#: protocols, and for others that have counted any; C{None}: for all. The values may be the place
#: of their names in a protocol's module, which is not imported for metrics alone. Faults have the
#: names of the service's profile.
KNOWN: dict[str, tuple[tuple[str, ...] | str, tuple[str, ...] | None]] = {
    "refused": (REFUSALS, None),
    "timed_out": (DEADLINES, None),
    "datagrams_dropped": (DROPS, None),
    "responses": (("1xx", "2xx", "3xx", "4xx", "5xx"), HTTP),
    "bad_requests": ("socketd.protocols.web.answers:REASONS", HTTP),
    "numbered": ("socketd.protocols.measure.sequence:COUNTED", ()),
    "ipsla": ("socketd.protocols.measure.ipsla:COUNTED", ("ipsla",)),
    "probes": ("socketd.protocols.measure.stamp:COUNTED", ("stamp",)),
    "nts_sessions": ("socketd.protocols.clock.nts_records:RESULTS", ("nts-ke",)),
    "nts_requests": ("socketd.protocols.clock.nts_answers:RESULTS", ()),
    "nts_keys": ("socketd.protocols.clock.nts_key_file:KEY_RESULTS", ()),
}
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
ATTENDED = MetricSpec("socketd_operator_attended", "Whether an operator is attached: 1, or 0.", ())
BANS = MetricSpec("socketd_bans", "Networks that are banned.", ())
RELOADS = MetricSpec(
    "socketd_config_reloads_total", "Reloads of the configuration, by result.", ("result",)
)
WORKER_UP = MetricSpec("socketd_worker_up", "Whether a worker serves: 1, or 0.", ("worker",))
WORKER_OPEN = MetricSpec(
    "socketd_worker_connections_open", "Connections that are open at a worker.", ("worker",)
)
WORKER_DEATHS = MetricSpec(
    "socketd_worker_deaths_total", "Workers that have died and were replaced.", ()
)
BUILD = MetricSpec(
    "socketd_build_info",
    "1, with the versions of what runs as labels.",
    ("version", "python", "twisted", "openssl"),
)


class DaemonCollector(Collector):
    """Reads the daemon's metrics at each scrape."""

    def __init__(self, daemon: Daemon, meter: LagMeter) -> None:
        self._daemon = daemon
        self._meter = meter

    def collect(self) -> Iterator[Metric]:
        """Read all metrics."""
        snapshot = self._daemon.snapshot()
        services = (*snapshot.services, *snapshot.removed)
        yield OPEN.family(((one.name,), one.connections) for one in services)
        for one in attrs.fields(Counters):
            yield _counted(one.name, services, **one.metadata)
        drops = [(one.name, one.kernel_drops) for one in services if one.kernel_drops is not None]
        yield KERNEL.family(((name,), count) for name, count in drops)
        yield from _certificates(snapshot)
        yield UP.family([((), snapshot.health == State.SERVING)])
        yield WAITING.family([((), snapshot.waiting)])
        yield ATTENDED.family([((), bool(snapshot.operators))])
        yield BANS.family([((), snapshot.bans)])
        yield RELOADS.family(((result,), count) for result, count in snapshot.reloads.items())
        yield WORKER_DEATHS.family([((), snapshot.worker_deaths)])
        workers = [((str(one.index),), one) for one in snapshot.workers]
        yield WORKER_UP.family((label, one.is_serving) for label, one in workers)
        yield WORKER_OPEN.family((label, one.connections) for label, one in workers)
        yield _lags(self._meter.lag, snapshot)
        openssl = SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii", "replace")
        versions = own_version(), platform.python_version(), twisted.__version__, openssl
        yield BUILD.family([(versions, 1)])


def _counted(
    name: str,
    services: Iterable[ServiceSnapshot],
    metric: str,
    help: str,
    labels: tuple[str, ...] = (),
) -> Metric:
    """Show one of the counters of the services."""
    spec = MetricSpec(f"socketd_{metric}", help, ("service", *labels))
    if not labels:
        return spec.family(((one.name,), getattr(one.counters, name)) for one in services)
    return spec.family(sample for one in services for sample in _labelled(name, one))


def _labelled(name: str, service: ServiceSnapshot) -> Iterator[Sample]:
    counts = getattr(service.counters, name)
    faults = service.fault.names if service.fault else ()
    known, protocols = KNOWN.get(name, (faults, None))
    if protocols is not None and service.protocol not in protocols and not counts:
        return
    names: Any = resolve_name(known) if isinstance(known, str) else known
    for labels, count in (dict.fromkeys(names, 0) | counts).items():
        yield (service.name, *([labels] if isinstance(labels, str) else labels)), count


def _lags(own: Lag, snapshot: Snapshot) -> Metric:
    """Show the lag; with workers, that of each, and of the master."""
    lags = {(str(one.index),): one.lag for one in snapshot.workers}
    labels = {("master",): own, **lags} if lags else {(): own}
    name, text = "socketd_event_loop_lag_seconds", "How late a timer of the event loop was"
    found: Any = HistogramMetricFamily(
        name, f"{text}, measured once a second.", labels=("worker",) if lags else ()
    )
    names = [*map(str, BUCKETS), "+Inf"]
    for label, lag in labels.items():
        found.add_metric(label, list(zip(names, accumulate(lag.counts))), lag.total)
    return found  # type: ignore[no-any-return]


def _certificates(snapshot: Snapshot) -> Iterator[Metric]:
    used = [(one.name, one.certificates) for one in snapshot.services if one.certificates]
    yield EXPIRY.family(((name,), found.not_after) for name, found in used)
    yield INVALID.family(((name,), len(found.invalid)) for name, found in used)
    loads = [((name, "done"), found.loads) for name, found in used]
    failures = [((name, "refused"), found.failures) for name, found in used]
    yield LOADS.family([*loads, *failures])


def make_registry(daemon: Daemon, lag: LagMeter) -> CollectorRegistry:
    """Make the registry of metrics of the daemon, its process and Python."""
    registry = CollectorRegistry()
    registry.register(DaemonCollector(daemon, lag))
    if daemon.crew is None:
        ProcessCollector(registry=registry)
    else:
        from socketd.web.process_metrics import ProcessesCollector

        registry.register(ProcessesCollector(daemon))
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def own_version() -> str:
    """Return the version of the installed distribution, or C{unknown}."""
    try:
        return metadata.version("socketd")
    except metadata.PackageNotFoundError:
        return "unknown"
