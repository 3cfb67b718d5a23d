"""
Whether the daemon's counters are what the clients saw, and whether it holds as much as
before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from socketd.common.events import CATALOGUE, INTERVAL, MAX_LINES
from tests.soak.configuration import SEND_BUFFER
from tests.soak.client_counts import ServiceCounts, ClientCounts
from tests.soak.samples import Sample
from tests.soak.server import Figures

#: A connection that is refused for these reasons is not among those that were let in.
NOT_ACCEPTED = ("banned", "network", "source_limit", "source_rate", "proxy_source")

#: What resident memory of each process may have grown by since half way (bytes): with as much in
#: use malloc(3) goes on to find its size for half an hour on a busy machine.
MAX_RESIDENT = 16 * 1024 * 1024

#: The same for what malloc(3) has given out: the ciphers of 1024 clients of NTS have 5 MiB.
MAX_HEAP = 8 * 1024 * 1024

#: The same for reachable objects: caches that fill at their own pace.
MAX_OBJECTS = 500

#: The same for blocks of memory, of which an object has several.
MAX_BLOCKS = 3000

#: How late timers may be in the end: so many times as late as before, and so many seconds more,
#: as other work on the machine makes them.
LAG_FACTOR, MAX_LAG = 2, 0.1

#: Fewer samples say nothing of that.
ENOUGH = 4

#: The longest line of the log that a peer can cause (bytes), and what one reload tells.
LINE, TOLD = 1024, 16 * 1024

#: Services that send back what they receive, so that they send no more.
ECHOES = ("misuse", "life", "passing", "faulty")

#: Services whose answers may come too late, or not at all.
UNCERTAIN = ("misuse", "guarded", "passing", "lossy")

#: The faults for which a datagram has no answer.
UNSENT = ("loss", "silent", "never-read")

#: The metrics of protocols.
TALLIES = (
    "http_responses_total", "http_bad_requests_total", "numbered_datagrams_total",
    "nts_sessions_total", "nts_requests_total", "probes_total", "ipsla_total",
)  # fmt: skip


@frozen
class Comparison:
    """
    A figure of the daemon, and what it must be by what the clients saw.

    @ivar where: the service, or the daemon.
    @ivar what: the name of the figure.
    """

    where: str
    what: str
    found: int
    least: int
    most: int

    @property
    def holds(self) -> bool:
        """Whether it is as it must be."""
        return self.least <= self.found <= self.most

    @property
    def is_exact(self) -> bool:
        """Whether it may be one number only."""
        return self.least == self.most

    def __str__(self) -> str:
        """Say it in a line."""
        if self.is_exact:
            return f"{self.where}: {self.what}: {self.found} instead of {self.least}"
        return f"{self.where}: {self.what}: {self.found} is not in {self.least} to {self.most}"


def compare(
    counts: ClientCounts, figures: Figures, reloads: Mapping[str, int]
) -> Iterator[Comparison]:
    """Compare all counters, and how often a reload was carried out and refused."""
    for name in figures.services():
        one = _Service(name, counts.service(name), figures)
        yield from one.connections()
        yield from one.reasons()
        yield from one.bytes()
        yield from one.datagrams()
        yield from one.tallies()
    yield _exact("daemon", "serving", figures.get("serving"), 1)
    yield _exact("daemon", "bans", figures.get("bans"), 0)
    yield _exact("daemon", "worker deaths", figures.get("worker_deaths_total"), 0)
    for result in ("done", "refused"):
        found = figures.get("config_reloads_total", result=result)
        yield _exact("daemon", f"reloads {result}", found, reloads.get(result, 0))


@frozen
class _Service:
    name: str
    counts: ServiceCounts
    figures: Figures

    @property
    def passes(self) -> bool:
        """Whether its listeners may go, and with them what the kernel holds for them."""
        return self.name == "passing"

    def get(self, name: str) -> int:
        """One of its figures."""
        return self.figures.get(name, service=self.name)

    def by_reason(self, name: str) -> Counter[str]:
        """Its figures by reason, fault or result."""
        return self.figures.by_labels(name, self.name)

    def connections(self) -> Iterator[Comparison]:
        """Each connection that the kernel made was let in or refused."""
        counts, refused = self.counts, self.by_reason("connections_refused_total")
        found = self.get("connections_total") + sum(refused[reason] for reason in NOT_ACCEPTED)
        least = 0 if self.passes else counts.connects
        yield Comparison(self.name, "connections", found, least, counts.connects)
        yield _exact(self.name, "open", self.get("connections_open"), 0)
        yield _exact(self.name, "accept failures", self.get("accept_failures_total"), 0)

    def reasons(self) -> Iterator[Comparison]:
        """Each was refused, ended or dropped for the reason that its peer has given."""
        counts, refused = self.counts, self.by_reason("connections_refused_total")
        for reason in sorted({*refused, *counts.refused, *counts.possibly_refused}):
            least = counts.refused[reason]
            most = least + counts.possibly_refused[reason]
            yield Comparison(self.name, f"refused {reason}", refused[reason], least, most)
        overdue = self.by_reason("connections_overdue_total")
        for reason in sorted({*overdue, *counts.overdue}):
            yield _exact(self.name, reason, overdue[reason], counts.overdue[reason])

    def bytes(self) -> Iterator[Comparison]:
        """Of a connection that ended well every byte has come; of others some."""
        counts = self.counts
        came, went = self.get("received_bytes_total"), self.get("sent_bytes_total")
        most = counts.sent + counts.aborted_sent
        yield Comparison(self.name, "bytes in", came, counts.sent, most)
        least = counts.received + counts.aborted_received
        lost = counts.aborted * _in_flight()
        most = came if self.name in ECHOES else least + lost
        yield Comparison(self.name, "bytes out", went, least, most)
        # Who waits for an answer sends no message together with the one before; and
        # each receive has brought a byte.
        found = self.get("messages_received_total")
        yield Comparison(self.name, "receives", found, counts.round_trips, came)

    def datagrams(self) -> Iterator[Comparison]:
        """
        Each datagram has come, or the kernel says that it has not; each that came was
        answered, dropped, or has no answer.
        """
        counts, dropped = self.counts, self.by_reason("datagrams_dropped_total")
        # Those of connections are told by none of these.
        faults = self.by_reason("faults_total") if counts.asked else Counter[str]()
        came, went = self.get("datagrams_received_total"), self.get("datagrams_sent_total")
        unsent = self.get("datagrams_unsent_total")
        lost = self.get("datagrams_kernel_dropped_total")
        least = 0 if self.passes else counts.asked
        yield Comparison(self.name, "datagrams in", came + lost, least, counts.asked)
        more = faults["duplicate"]
        most = came + more if self.name in UNCERTAIN else counts.answered
        yield Comparison(self.name, "datagrams out", went, counts.answered, most)
        yield _exact(self.name, "datagrams unsent", unsent, counts.unbound)
        owed = came + more - went - unsent - dropped.total() - sum(faults[one] for one in UNSENT)
        least = max(0, counts.silent - lost)
        yield Comparison(self.name, "datagrams without answer", owed, least, counts.silent)
        for reason in sorted({*dropped, *counts.dropped}):
            least = counts.dropped[reason]
            most = came if self.name in UNCERTAIN else least
            yield Comparison(self.name, f"dropped {reason}", dropped[reason], least, most)

    def tallies(self) -> Iterator[Comparison]:
        """What the metrics of its protocol say; what the kernel has lost may be a gap there."""
        lost = self.get("datagrams_kernel_dropped_total")
        for metric in TALLIES:
            found, expected = self.by_reason(metric), Counter[str]()
            for (name, result), count in self.counts.tallies.items():
                expected[result] += count * (name == metric)
            for result in sorted({*found, *+expected}):
                least = expected[result] - lost
                most = expected[result] + lost
                yield Comparison(self.name, f"{metric} {result}", found[result], least, most)


def compare_resources(
    before: Sample, after: Sample, middle: Sample | None = None
) -> Iterator[Comparison]:
    """
    Compare what the daemon holds at rest with what it held at rest before.

    @param middle: under load, half way.
    """
    resident = max(before.resident, middle.resident if middle else 0)
    yield _exact("daemon", "descriptors", after.descriptors, before.descriptors)
    for what, found, was, growth in (
        ("resident bytes", after.resident, resident, MAX_RESIDENT),
        ("heap", after.census.heap, before.census.heap, MAX_HEAP),
        ("objects", after.census.objects, before.census.objects, MAX_OBJECTS),
        ("blocks", after.census.blocks, before.census.blocks, MAX_BLOCKS),
    ):
        yield Comparison("daemon", what, found, 0, was + growth * after.processes)


def compare_lag(samples: Sequence[Sample]) -> Iterator[Comparison]:
    """Compare how late timers were in the second half of the time with those of the first."""
    if len(samples) < ENOUGH:
        return
    middle = samples[len(samples) // 2]
    first, last = middle.lag_since(samples[0]), samples[-1].lag_since(middle)
    most = LAG_FACTOR * first + MAX_LAG
    yield Comparison("daemon", "lag (us)", round(last * 1e6), 0, round(most * 1e6))


def grown(before: Sample, after: Sample, most: int = 8) -> list[str]:
    """Name the types of which there are more objects than before."""
    types = Counter(after.census.types)
    types.subtract(before.census.types)
    return [f"{count:+} {name}" for name, count in types.most_common(most) if count > 0]


def log_limit(seconds: float, reloads: int) -> int:
    """Say how long the log may be (bytes), by what C{socketd.common.events} promises."""
    kinds = sum(event.rate_limited for event in CATALOGUE.values())
    turns = seconds / INTERVAL + 1
    return round(turns * kinds * MAX_LINES * LINE) + (reloads + 1) * TOLD


def _exact(where: str, what: str, found: int, expected: int) -> Comparison:
    return Comparison(where, what, found, expected, expected)


def _in_flight() -> int:
    """What is lost with a connection at most: the buffers of both sides (tcp(7))."""
    longest = Path("/proc/sys/net/ipv4/tcp_rmem").read_text(encoding="ascii").split()[2]
    return int(longest) + 2 * SEND_BUFFER
