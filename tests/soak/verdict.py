"""
Whether the daemon's counters are what the clients saw, and whether it holds as much as
before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen

from socketd.common.events import CATALOGUE, INTERVAL, MAX_LINES
from tests.soak.configuration import SEND_BUFFER
from tests.soak.ledger import Account, Ledger
from tests.soak.samples import Sample
from tests.soak.server import Figures

#: A connection that is refused for these reasons is not among those that were let in.
AT_THE_DOOR = ("banned", "network", "source_limit", "source_rate", "proxy_source")

#: What resident memory may have grown by (bytes): with as many objects malloc(3) goes on
#: to find its size for minutes; 5 to 9 MiB were measured.
MAX_RESIDENT = 16 * 1024 * 1024

#: What reachable objects may have grown by: caches that fill at their own pace.
MAX_OBJECTS = 500

#: The same for blocks of memory, of which an object has several.
MAX_BLOCKS = 3000

#: The longest line of the log that a peer can cause (bytes), and what one reload tells.
LINE, TOLD = 1024, 16 * 1024

#: Services that send back what they receive, so that they send no more.
ECHOES = ("rough", "life", "passing")

#: Services whose answers may come when nobody waits any more, or not at all.
DOUBTFUL = ("rough", "guarded", "passing")


@frozen
class Comparison:
    """
    A figure of the daemon, and what it must be by what the clients saw.

    @ivar where: the service, or the daemon.
    @ivar what: the figure.
    @ivar found: it.
    @ivar least: the least that it may be.
    @ivar most: the most.
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
    ledger: Ledger, figures: Figures, reloads: Mapping[str, int]
) -> Iterator[Comparison]:
    """
    Compare all counters.

    @param reloads: how often a reload was carried out, and refused.
    """
    for name in figures.services():
        one = _Service(name, ledger.account(name), figures)
        yield from one.connections()
        yield from one.reasons()
        yield from one.bytes()
        yield from one.datagrams()
    yield _exact("daemon", "serving", figures.get("serving"), 1)
    yield _exact("daemon", "bans", figures.get("bans"), 0)
    for result in ("done", "refused"):
        found = figures.get("config_reloads_total", result=result)
        yield _exact("daemon", f"reloads {result}", found, reloads.get(result, 0))


@frozen
class _Service:
    name: str
    account: Account
    figures: Figures

    @property
    def passes(self) -> bool:
        """Whether its listeners go: the kernel resets who waits there, and drops datagrams."""
        return self.name == "passing"

    def get(self, name: str) -> int:
        """One of its figures."""
        return self.figures.get(name, service=self.name)

    def by_reason(self, name: str) -> Counter[str]:
        """Its figures by reason."""
        return Counter(self.figures.by_reason(name, self.name))

    def connections(self) -> Iterator[Comparison]:
        """Each connection that the kernel made was let in or refused."""
        account, refused = self.account, self.by_reason("connections_refused_total")
        found = self.get("connections_total") + sum(refused[reason] for reason in AT_THE_DOOR)
        least = 0 if self.passes else account.connects
        yield Comparison(self.name, "connections", found, least, account.connects)
        yield _exact(self.name, "open", self.get("connections_open"), 0)
        yield _exact(self.name, "accept failures", self.get("accept_failures_total"), 0)

    def reasons(self) -> Iterator[Comparison]:
        """Each was refused, ended or dropped for the reason that its peer has given."""
        account, refused = self.account, self.by_reason("connections_refused_total")
        for reason in sorted({*refused, *account.refused, *account.perhaps}):
            least = account.refused[reason]
            most = least + account.perhaps[reason]
            yield Comparison(self.name, f"refused {reason}", refused[reason], least, most)
        overdue = self.by_reason("connections_overdue_total")
        for reason in sorted({*overdue, *account.overdue}):
            yield _exact(self.name, reason, overdue[reason], account.overdue[reason])

    def bytes(self) -> Iterator[Comparison]:
        """Of a connection that ended well every byte has come; of others some."""
        account = self.account
        came, went = self.get("received_bytes_total"), self.get("sent_bytes_total")
        most = account.sent + account.torn_sent
        yield Comparison(self.name, "bytes in", came, account.sent, most)
        least = account.received + account.torn_received
        lost = account.torn * _in_flight()
        most = came if self.name in ECHOES else least + lost
        yield Comparison(self.name, "bytes out", went, least, most)
        # Who waits for an answer sends no message together with the one before; and
        # each receive has brought a byte.
        found = self.get("messages_received_total")
        yield Comparison(self.name, "receives", found, account.rounds, came)

    def datagrams(self) -> Iterator[Comparison]:
        """
        Each datagram has come, or the kernel says that it has not; each that came was
        answered, dropped, or has no answer.
        """
        account, dropped = self.account, self.by_reason("datagrams_dropped_total")
        came, went = self.get("datagrams_received_total"), self.get("datagrams_sent_total")
        unsent = self.get("datagrams_unsent_total")
        lost = self.get("datagrams_kernel_dropped_total")
        least = 0 if self.passes else account.asked
        yield Comparison(self.name, "datagrams in", came + lost, least, account.asked)
        most = came if self.name in DOUBTFUL else account.answered
        yield Comparison(self.name, "datagrams out", went, account.answered, most)
        yield _exact(self.name, "datagrams unsent", unsent, account.unnamed)
        owed = came - went - unsent - dropped.total()
        least = max(0, account.silent - lost)
        yield Comparison(self.name, "datagrams without answer", owed, least, account.silent)
        for reason in sorted({*dropped, *account.dropped}):
            least = account.dropped[reason]
            most = came if self.name in DOUBTFUL else least
            yield Comparison(self.name, f"dropped {reason}", dropped[reason], least, most)


def flat(before: Sample, after: Sample) -> Iterator[Comparison]:
    """Compare what the daemon holds at rest with what it held at rest before."""
    yield _exact("daemon", "descriptors", after.descriptors, before.descriptors)
    for what, found, was, growth in (
        ("resident bytes", after.resident, before.resident, MAX_RESIDENT),
        ("objects", after.census.objects, before.census.objects, MAX_OBJECTS),
        ("blocks", after.census.blocks, before.census.blocks, MAX_BLOCKS),
    ):
        yield Comparison("daemon", what, found, 0, was + growth)


def grown(before: Sample, after: Sample, most: int = 8) -> list[str]:
    """Name the types of which there are more objects than before."""
    types = Counter(after.census.types)
    types.subtract(before.census.types)
    return [f"{count:+} {name}" for name, count in types.most_common(most) if count > 0]


def log_limit(seconds: float, reloads: int) -> int:
    """Say how long the log may be (bytes), by what C{socketd.common.events} promises."""
    kinds = sum(event.by_peer for event in CATALOGUE.values())
    turns = seconds / INTERVAL + 1
    return round(turns * kinds * MAX_LINES * LINE) + (reloads + 1) * TOLD


def _exact(where: str, what: str, found: int, expected: int) -> Comparison:
    return Comparison(where, what, found, expected, expected)


def _in_flight() -> int:
    """What is lost with a connection at most: the buffers of both sides (tcp(7))."""
    longest = Path("/proc/sys/net/ipv4/tcp_rmem").read_text(encoding="ascii").split()[2]
    return int(longest) + 2 * SEND_BUFFER
