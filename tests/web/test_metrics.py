"""
Tests for L{socketd.web.metrics}, and of docs/metrics.md, docs/DROPS.md and the dashboard
against it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

from attrs import frozen
from prometheus_client import Metric
from twisted.trial.unittest import SynchronousTestCase

from socketd.access.datagram_guard import NETWORK, NETWORK_SHARE, REASONS, REPLY_SIZE
from socketd.access.rates import SOURCE_RATE
from socketd.common.counters import DELAY_QUEUE, LOOP, TOO_LONG
from socketd.common.lag import LagMeter
from socketd.daemon.daemon import Daemon
from socketd.daemon.faults import switch
from socketd.daemon.state import State
from socketd.net.faults.datagrams import FAULT_QUEUE
from socketd.net.stream.deadlines import IDLE
from socketd.protocols.measure.stamp import CLASSES, RESULTS
from socketd.protocols.registry import installed
from socketd.settings.model import AccessOptions
from socketd.web.metrics import (
    DEADLINES,
    DROPS,
    KNOWN,
    REFUSALS,
    make_registry,
)
from tests.control.fakes import FakeContext
from tests.support.pages import chapter
from tests.support.source_tree import ROOT
from tests.web.fakes import INI, make_daemon

PAGE = (ROOT / "docs" / "metrics.md").read_text()
DROPS_PAGE = (ROOT / "docs" / "DROPS.md").read_text()
DASHBOARD = json.loads((ROOT / "etc" / "grafana" / "socketd.json").read_text())

#: What PromQL has besides names of metrics and labels.
WORDS = {"sum", "by", "rate", "histogram_quantile", "time", "max", "min", "le", "increase"}
WORDS |= {"label_values", "__rate_interval", "without", "job", "instance", "on", "count"}


@frozen
class Live:
    """A live connection, as far as it is counted."""

    service_state: Any
    connection_id: int
    messages_received: int
    bytes_received: int
    bytes_sent: int


class Case(SynchronousTestCase):
    """A daemon and its figures."""

    def setUp(self) -> None:
        self.daemon: Daemon = make_daemon()
        self.registry = make_registry(self.daemon, LagMeter(self.daemon.reactor))

    def families(self) -> dict[str, Metric]:
        """Collect, by the name that Prometheus sees."""
        return {
            f"{found.name}_total" if found.type == "counter" else found.name: found
            for found in self.registry.collect()
        }

    def value(self, name: str, **labels: str) -> float | None:
        """Collect one figure."""
        return self.registry.get_sample_value(name, labels)


class CollectorTests(Case):
    """Tests for L{socketd.web.metrics.DaemonCollector}."""

    def test_tally(self) -> None:
        """Each count of a tally is a figure of its service."""
        counters = self.daemon.service_states[0].counters
        names = {
            "connections": "connections",
            "messages_received": "messages_received",
            "bytes_received": "received_bytes",
            "bytes_sent": "sent_bytes",
            "accepts_failed": "accept_failures",
            "full": "full",
            "datagrams_received": "datagrams_received",
            "datagrams_sent": "datagrams_sent",
            "datagrams_unsent": "datagrams_unsent",
            "datagram_bytes_received": "datagrams_received_bytes",
            "datagram_bytes_sent": "datagrams_sent_bytes",
        }
        for number, field in enumerate(names, 1):
            setattr(counters, field, number)
        found = [self.value(f"socketd_{name}_total", service="echo") for name in names.values()]
        self.assertEqual(found, list(range(1, len(names) + 1)))
        self.assertEqual(self.value("socketd_connections_total", service="time"), 0)

    def test_reasons(self) -> None:
        """Counts by reason are figures by reason; known reasons begin with 0."""
        counters = self.daemon.service_states[0].counters
        counters.refused[NETWORK], counters.timed_out[IDLE] = 3, 4
        counters.datagrams_dropped[SOURCE_RATE] = 5
        for name, reason, expected in (
            ("connections_refused", NETWORK, 3),
            ("connections_refused", SOURCE_RATE, 0),
            ("connections_overdue", IDLE, 4),
            ("datagrams_dropped", SOURCE_RATE, 5),
            ("datagrams_dropped", NETWORK, 0),
        ):
            found = self.value(f"socketd_{name}_total", service="echo", reason=reason)
            self.assertEqual(found, expected, name)

    def test_imported(self) -> None:
        """No protocol is imported for its metrics, before a service speaks it."""
        program = "import sys, socketd.web.service\n"
        program += "print(*(one for one in sys.modules if one.startswith('socketd.protocols.')))"
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        modules = [f"socketd.protocols.{name}" for name in ("batches", "registry", "spec")]
        self.assertEqual(sorted(done.stdout.split()), modules)

    def test_http(self) -> None:
        """A service that speaks HTTP has its answers counted; others have no such figure."""
        self.daemon = make_daemon(ini="[http]\nlisten = tcp:0\n[echo]\nlisten = tcp:0\n")
        self.registry = make_registry(self.daemon, LagMeter(self.daemon.reactor))
        counters = self.daemon.service_states[0].counters
        counters.responses["2xx"], counters.bad_requests["syntax"] = 3, 4
        for service in ("http", "echo"):
            found = [
                self.value("socketd_http_responses_total", service=service, **{"class": "2xx"}),
                self.value("socketd_http_responses_total", service=service, **{"class": "5xx"}),
                self.value("socketd_http_bad_requests_total", service=service, reason="syntax"),
                self.value("socketd_http_bad_requests_total", service=service, reason="host"),
            ]
            self.assertEqual(found, [3, 0, 4, 0] if service == "http" else [None] * 4)

    def test_numbered(self) -> None:
        """A service that counts numbers has them by what they show; others have no such figure."""
        self.daemon.service_states[0].counters.numbered["lost"] = 3
        for service, result, expected in (
            ("echo", "lost", 3), ("echo", "short", 0), ("time", "lost", None)
        ):
            name = "socketd_numbered_datagrams_total"
            self.assertEqual(self.value(name, service=service, result=result), expected)

    def test_probes(self) -> None:
        """Packets of measurements are counted from 0, and only where they are served."""
        self.daemon = make_daemon(ini="[stamp]\nlisten = udp:0\n[echo]\nlisten = udp:0\n")
        self.registry = make_registry(self.daemon, LagMeter(self.daemon.reactor))
        self.daemon.service_states[0].counters.probes["open", "lost"] = 3
        samples = self.families()["socketd_probes_total"].samples
        found = {(one.labels["class"], one.labels["result"]): one.value for one in samples}
        self.assertEqual((found["open", "lost"], found["authenticated", "bad_hmac"]), (3, 0))
        self.assertEqual({one.labels["service"] for one in samples}, {"stamp"})
        self.assertEqual(len(found), len(CLASSES) * len(RESULTS))

    def test_faults(self) -> None:
        """
        The faults of a profile that is on begin with 0; what was counted stays when it is
        switched off; a service without a profile has none.
        """
        ini = INI + "[fault:a]\nloss = 1%\naccept = slow 1s\nlatency = 1s\nclose = after 1s\n"
        self.daemon = make_daemon(ini=ini)
        self.registry = make_registry(self.daemon, LagMeter(self.daemon.reactor))
        echo = self.daemon.services[0]
        switch(echo, self.daemon.settings.faults["a"])
        echo.service_state.counters.faults["loss"] = 3
        samples = self.families()["socketd_faults_total"].samples
        found = {(one.labels["service"], one.labels["fault"]): one.value for one in samples}
        names = {"loss": 3, "slow": 0, "latency": 0, "close": 0}
        self.assertEqual(found, {("echo", name): value for name, value in names.items()})
        switch(echo, None)
        self.assertEqual(self.value("socketd_faults_total", service="echo", fault="loss"), 3)

    def test_live(self) -> None:
        """Live connections count, in their own service, once."""
        service_state, other = self.daemon.service_states
        for number in (1, 2):
            connection: Any = Live(service_state, number, 10, 100, 1000)
            self.daemon.connection_table.enter(connection)
        service_state.counters.bytes_sent = 5
        found = [
            self.value(name, service="echo")
            for name in (
                "socketd_connections_open",
                "socketd_messages_received_total",
                "socketd_received_bytes_total",
                "socketd_sent_bytes_total",
            )
        ]
        self.assertEqual(found, [2, 20, 200, 2005])
        self.assertEqual(self.value("socketd_connections_open", service="time"), 0)

    def test_removed(self) -> None:
        """The counts of a service that a reload has removed stay."""
        service_state = self.daemon.service_states[1]
        service_state.counters.connections = 7
        self.daemon.services.remove(self.daemon.services[1])
        self.daemon.removed["time"] = service_state
        self.assertEqual(self.value("socketd_connections_total", service="time"), 7)

    def test_certificates(self) -> None:
        """
        A service with TLS tells when its certificate expires, how often it was read, and
        how many certificates are not valid.
        """
        self.assertIdentical(
            self.value("socketd_certificate_expiry_timestamp_seconds", service="time"), None
        )
        context: Any = FakeContext()
        self.daemon.services[1].context = context
        name = "socketd_certificate_loads_total"
        found = [
            self.value("socketd_certificate_expiry_timestamp_seconds", service="time"),
            self.value(name, service="time", result="done"),
            self.value(name, service="time", result="refused"),
            self.value("socketd_certificates_invalid", service="time"),
        ]
        self.assertEqual(found, [1.8e9, 3, 2, 1])

    def test_whole(self) -> None:
        """The daemon tells whether it serves, who waits, and what became of reloads."""
        self.assertEqual(self.value("socketd_serving"), 0)
        self.daemon.state = State.SERVING
        self.daemon.operator.attach(lambda: None)
        self.daemon.operator.ask(object(), 10, lambda word: None)
        self.daemon.reloads["refused"] = 2
        self.assertEqual(self.value("socketd_serving"), 1)
        self.assertEqual(self.value("socketd_operator_waiting"), 1)
        self.assertEqual(self.value("socketd_operator_attended"), 1)
        self.assertEqual(self.value("socketd_bans"), 0)
        self.assertEqual(self.value("socketd_config_reloads_total", result="refused"), 2)
        self.assertEqual(self.value("socketd_config_reloads_total", result="done"), 0)

    def test_build(self) -> None:
        """The versions of what runs are labels."""
        (sample,) = self.families()["socketd_build_info"].samples
        self.assertEqual(set(sample.labels), {"version", "python", "twisted", "openssl"})
        self.assertTrue(all(sample.labels.values()))

    def test_names(self) -> None:
        """Each figure has one name and a sentence, in Prometheus' manner; labels are few."""
        for name, found in self.families().items():
            if not name.startswith("socketd_"):
                continue
            self.assertRegex(name, r"\A[a-z][a-z_]*\Z")
            self.assertTrue(found.documentation.endswith("."), name)
            self.assertEqual(name.endswith("_total"), found.type == "counter", name)
            labels = {label for sample in found.samples for label in sample.labels}
            known = {"service", "reason", "result", "class", "le"}
            if name != "socketd_build_info":
                self.assertTrue(labels <= known, name)


def rows() -> dict[str, tuple[str, set[str], str]]:
    """Read the tables of docs/metrics.md: type, labels and meaning of each figure."""
    found = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*) \|$", PAGE, re.MULTILINE)
    return {
        name: (kind, set(re.findall(r"`(\w+)`", labels)), meaning)
        for name, kind, labels, meaning in found
    }


class PageTests(Case):
    """docs/metrics.md holds."""

    def setUp(self) -> None:
        super().setUp()
        context: Any = FakeContext()
        self.daemon.services[0].context = context
        for name in KNOWN.keys() - {"probes"}:
            getattr(self.daemon.service_states[0].counters, name)["any"] = 1

    def test_complete(self) -> None:
        """It has every figure with its type, and no other."""
        expected = {name: found.type for name, found in self.families().items()}
        self.assertEqual({name: row[0] for name, row in rows().items()}, expected)

    def test_own(self) -> None:
        """Of our own it has the labels, and says what the scrape says."""
        self.daemon.service_states[0].counters.faults["latency"] = 1
        self.daemon.service_states[0].counters.probes["open", "lost"] = 1
        with_samples = self.families()
        # A socket that is bound has the first one, and a worker the others.
        for name in ("datagrams_kernel_dropped_total", "worker_up", "worker_connections_open"):
            del with_samples[f"socketd_{name}"]
        for name, found in with_samples.items():
            if name.startswith("socketd_"):
                labels = {label for sample in found.samples for label in sample.labels}
                row = rows()[name]
                self.assertEqual(row[1:], (labels - {"le"}, found.documentation), name)


def reasons(heading: str) -> list[tuple[str, ...]]:
    """Read the tables of a chapter of docs/DROPS.md: the reasons of each."""
    tables = chapter(DROPS_PAGE, heading).split("| reason | why | to allow it |\n")[1:]
    rows = [table.partition("\n\n")[0] for table in tables]
    return [tuple(re.findall(r"^\| `(\w+)` \|", found, re.MULTILINE)) for found in rows]


class DropsPageTests(SynchronousTestCase):
    """docs/DROPS.md holds."""

    def test_datagrams(self) -> None:
        """It has every reason to drop a datagram, in the order of the rules, and no other."""
        (found,) = reasons("Datagrams")
        rules = (*REASONS, TOO_LONG, FAULT_QUEUE, DELAY_QUEUE, LOOP)
        self.assertEqual(sorted(found), sorted(DROPS))
        self.assertEqual(set(found), set(rules))
        asked = [reason for reason in REASONS if reason != REPLY_SIZE]
        self.assertEqual([reason for reason in found if reason in asked], asked)

    def test_connections(self) -> None:
        """It has every reason to refuse or to end a connection, and no other."""
        self.assertEqual(reasons("Connections"), [REFUSALS, DEADLINES])

    def test_rates(self) -> None:
        """The default rates that it shows are those of the protocols and of the guard."""
        found = installed()
        shown = {name: f"`{name}`" for name in ("ntp", "stamp", "ipsla")} | {"echo": "all others"}
        for name, label in shown.items():
            rate, burst = found[name].udp_rate, found[name].udp_burst
            share, service = NETWORK_SHARE, AccessOptions().udp_service_rate
            row = f"| {label} | {rate:g}/s | {burst} | {share * rate:g}/s | {share * burst} |"
            self.assertIn(f"{row} {service:g}/s |", DROPS_PAGE)
        rates = {(one.udp_rate, one.udp_burst) for one in found.values()}
        self.assertEqual(len(rates), len(shown))

    def test_linked(self) -> None:
        """The pages that speak of reasons link to it."""
        self.assertIn("(docs/DROPS.md)", (ROOT / "README.md").read_text())
        for page in ("metrics.md", "THREATS.md", "events.md", "tutorial.md"):
            self.assertIn("(DROPS.md)", (ROOT / "docs" / page).read_text(), page)


def expressions(node: Any) -> list[str]:
    """List every query of the dashboard, those of its variables too."""
    if isinstance(node, list):
        return [found for item in node for found in expressions(item)]
    if not isinstance(node, dict):
        return []
    own = [node[key] for key in ("expr", "query") if isinstance(node.get(key), str)]
    return own + [found for item in node.values() for found in expressions(item)]


class DashboardTests(Case):
    """etc/grafana/socketd.json holds."""

    def test_metrics(self) -> None:
        """It asks for metrics and labels that there are."""
        known = set(WORDS) | {"service", "reason", "fault", "result"}
        known |= {"version", "twisted", "python"}
        for name, found in self.families().items():
            known |= {name, *(sample.name for sample in found.samples)}
        asked = [text for text in expressions(DASHBOARD) if text != "prometheus"]
        self.assertTrue(len(asked) > 10)
        for text in asked:
            bare = re.sub(r'"[^"]*"|\[[^]]*\]', "", text)
            names = set(re.findall(r"[A-Za-z_]\w*", bare))
            self.assertEqual(names - known, set(), text)

    def test_panels(self) -> None:
        """Its panels have titles and ids of their own, and lie beside each other."""
        panels = DASHBOARD["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        self.assertEqual(len({panel["title"] for panel in panels}), len(panels))
        cells = [
            (x, y)
            for panel in panels
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]
        self.assertEqual(len(set(cells)), len(cells))
        self.assertTrue(max(x for x, _ in cells) < 24)
