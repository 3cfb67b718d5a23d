"""
The daemon's metrics for Prometheus.

The values are read from the plain counters at each scrape, so that metrics add no cost
to a message.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from importlib import metadata
from itertools import accumulate, product
from pkgutil import resolve_name
from typing import Any

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
from socketd.common.counters import DELAY_QUEUE, LOOP, TOO_LONG
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
    """
    A metric; the name of a counter ends in C{_total}.

    @ivar known: values of the last label that are always exported, or the place of their names in
        a protocol's module, which is not imported for metrics alone.
    @ivar protocols: where they are: services of these protocols, and those that have counted any;
        C{None}: all services.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ("service",)
    known: tuple[str, ...] | str = ()
    protocols: tuple[str, ...] | None = None

    def family(self, samples: Iterable[Sample]) -> Metric:
        """Make the metric family with its samples."""
        kind = CounterMetricFamily if self.name.endswith("_total") else GaugeMetricFamily
        found: Any = kind(self.name, self.help, labels=self.labels)
        for labels, value in samples:
            found.add_metric(labels, value)
        return found  # type: ignore[no-any-return]

    def of_services(self, attribute: str, services: Iterable[ServiceSnapshot]) -> Metric:
        """Make the metric family of a counter by the last label."""
        shown = [
            one
            for one in services
            if self.protocols is None
            or one.protocol in self.protocols
            or getattr(one.counters, attribute)
        ]
        known = self.known if shown else ()
        names: tuple[str, ...] = resolve_name(known) if isinstance(known, str) else known
        return self.family(_by_reason(attribute, names, shown))


_BY_REASON = ("service", "reason")
_BY_RESULT = ("service", "result")
#: The protocols that speak HTTP.
_HTTP = ("http", "websocket")

OPEN = MetricSpec("socketd_connections_open", "Connections that are open.")
KERNEL = MetricSpec(
    "socketd_datagrams_kernel_dropped_total",
    "Datagrams that the kernel dropped because the receive buffer was full.",
)
#: By the attribute of L{Counters}: a metric per service.
COUNTS = {
    "connections": MetricSpec("socketd_connections_total", "Connections that were accepted."),
    "messages_received": MetricSpec(
        "socketd_messages_received_total",
        "Receives that brought bytes for the protocol on connections.",
    ),
    "bytes_received": MetricSpec("socketd_received_bytes_total", "Bytes received on connections."),
    "bytes_sent": MetricSpec("socketd_sent_bytes_total", "Bytes sent on connections."),
    "accepts_failed": MetricSpec(
        "socketd_accept_failures_total",
        "Times that accept failed for lack of descriptors or memory.",
    ),
    "full": MetricSpec("socketd_full_total", "Times that accepting stopped at the limit."),
    "datagrams_received": MetricSpec(
        "socketd_datagrams_received_total", "Datagrams received, those dropped too."
    ),
    "datagrams_sent": MetricSpec("socketd_datagrams_sent_total", "Datagrams sent in answer."),
    "datagram_bytes_received": MetricSpec(
        "socketd_datagrams_received_bytes_total",
        "Bytes of the datagrams received, those dropped too.",
    ),
    "datagram_bytes_sent": MetricSpec(
        "socketd_datagrams_sent_bytes_total", "Bytes of the datagrams sent in answer."
    ),
    "datagrams_unsent": MetricSpec(
        "socketd_datagrams_unsent_total", "Answers that the kernel refused to send."
    ),
}
#: The same by reason, class or result, which is their last label.
COUNTS_BY_REASON = {
    "refused": MetricSpec(
        "socketd_connections_refused_total",
        "Connections that were refused, by reason.",
        _BY_REASON,
        REFUSALS,
    ),
    "timed_out": MetricSpec(
        "socketd_connections_overdue_total",
        "Connections that a deadline ended, by its option.",
        _BY_REASON,
        DEADLINES,
    ),
    "datagrams_dropped": MetricSpec(
        "socketd_datagrams_dropped_total",
        "Datagrams that were dropped unanswered, by reason.",
        _BY_REASON,
        DROPS,
    ),
    "responses": MetricSpec(
        "socketd_http_responses_total",
        "HTTP responses, by the class of their status.",
        ("service", "class"),
        ("1xx", "2xx", "3xx", "4xx", "5xx"),
        _HTTP,
    ),
    "bad_requests": MetricSpec(
        "socketd_http_bad_requests_total",
        "HTTP requests that were not answered as asked, by reason.",
        _BY_REASON,
        "socketd.protocols.web.answers:REASONS",
        _HTTP,
    ),
    "numbered": MetricSpec(
        "socketd_numbered_datagrams_total",
        "Datagrams whose numbers were counted, by what these show; lost and late: a gap, and"
        " filled.",
        _BY_RESULT,
        "socketd.protocols.measure.numbered:COUNTED",
        (),
    ),
    "ipsla": MetricSpec(
        "socketd_ipsla_total",
        "Control messages and probes of IP SLA, and ports opened, by what became of them.",
        _BY_RESULT,
        "socketd.protocols.measure.ipsla:COUNTED",
        ("ipsla",),
    ),
    "nts_sessions": MetricSpec(
        "socketd_nts_sessions_total",
        "Connections that asked for keys of NTS, by result.",
        _BY_RESULT,
        "socketd.protocols.clock.nts_records:RESULTS",
        ("nts-ke",),
    ),
    "nts_requests": MetricSpec(
        "socketd_nts_requests_total",
        "NTP requests with fields of NTS, by result.",
        _BY_RESULT,
        "socketd.protocols.clock.nts_answers:RESULTS",
        (),
    ),
    "nts_keys": MetricSpec(
        "socketd_nts_keys_total",
        "Times that keys of NTS cookies were read, made, rotated or not saved, by result.",
        _BY_RESULT,
        "socketd.protocols.clock.nts_key_file:KEY_RESULTS",
        (),
    ),
}
PROBES = MetricSpec(
    "socketd_probes_total",
    "Packets of measurements, by the class of their session and what became of them.",
    ("service", "class", "result"),
)
FAULTS = MetricSpec(
    "socketd_faults_total",
    "Connections and datagrams on which a fault of the service's profile acted, by fault.",
    ("service", "fault"),
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
        for attribute, metric in COUNTS.items():
            yield metric.family(
                ((one.name,), getattr(one.counters, attribute)) for one in services
            )
        for attribute, metric in COUNTS_BY_REASON.items():
            yield metric.of_services(attribute, services)
        yield PROBES.family(sample for one in services for sample in _probes(one))
        yield FAULTS.family(
            sample
            for one in services
            for sample in _by_reason("faults", one.fault.names if one.fault else (), [one])
        )
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


def _probes(service: ServiceSnapshot) -> Iterator[Sample]:
    counts = service.counters.probes
    known = set(counts)
    if service.protocol == "stamp":
        from socketd.protocols.measure.stamp import CLASSES, RESULTS

        known.update(product(CLASSES, RESULTS))
    for kind, result in sorted(known):
        yield (service.name, kind, result), counts[kind, result]


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


def _by_reason(
    attribute: str, known: Iterable[str], services: Iterable[ServiceSnapshot]
) -> Iterator[Sample]:
    for service in services:
        found: dict[str, int] = dict.fromkeys(known, 0) | getattr(service.counters, attribute)
        for reason, count in found.items():
            yield (service.name, reason), count


def own_version() -> str:
    """Return the version of the installed distribution, or C{unknown}."""
    try:
        return metadata.version("socketd")
    except metadata.PackageNotFoundError:
        return "unknown"
