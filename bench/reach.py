"""What socketd has to reach, what it should reach, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass

from bench.results import Number, Results

#: The server that all this is about.
SUBJECT = "socketd"

#: The same in ways that any checkout can serve.
EVERYWHERE = (SUBJECT, "socketd-tls", "socketd-ntp", "socketd-nts", "socketd-stamp")

#: The same, in whatever way it serves a work.
SUBJECTS = (
    *EVERYWHERE, "socketd-late", "socketd-lossy", "socketd-rule", "socketd-rules",
    "socketd-http", "socketd-two", "socketd-ntp-two", "socketd-nts-two",
    "socketd-tls-two",
)  # fmt: skip


@dataclass(frozen=True)
class Reach:
    """
    One figure that is wanted.

    @ivar against: the peer that it is a ratio to; empty: the figure itself counts.
    @ivar unit: of the figure itself; empty for a ratio.
    @ivar subject: whose figure it is.
    @ivar goal_peer: the goal is what this peer reaches in the same run, not a number.
    """

    figure: str
    work: str
    must: float
    goal: float = 0.0
    against: str = ""
    number: Number = "figure"
    at_least: bool = True
    unit: str = ""
    goal_peer: str = ""
    subject: str = SUBJECT

    def measured(self, results: Results, server: str = "") -> float | None:
        """The figure as it came out."""
        server = server or self.subject
        if self.against:
            return results.ratio(self.work, server, self.against, self.number)
        return results.value(self.work, server, self.number)

    def goal_in(self, results: Results) -> float | None:
        """The goal as a number."""
        return self.measured(results, self.goal_peer) if self.goal_peer else self.goal

    def holds(self, value: float, bound: float) -> bool:
        """Whether a figure is on the right side of a bound, which belongs to it."""
        return value >= bound if self.at_least else value <= bound

    def verdict(self, results: Results) -> str:
        """One or two words."""
        value, goal = self.measured(results), self.goal_in(results)
        if value is None:
            return "not measured"
        if not self.holds(value, self.must):
            return "short"
        return "goal met" if goal is not None and self.holds(value, goal) else "met"


REACHES = (
    Reach("TCP echo, 64 connections, against uvloop", "pingpong-64", 1.0, 1.1, "uvloop"),
    Reach("TCP echo, 1000 connections, against uvloop", "pingpong-1000", 1.0, 1.1, "uvloop"),
    Reach("TCP echo, 64 connections, against plain Twisted", "pingpong-64", 2.2, 2.5, "twisted"),
    Reach(
        "TCP echo, 1000 connections, against plain Twisted", "pingpong-1000", 2.2, 2.5, "twisted"
    ),
    Reach(
        "server CPU per message against C epoll, 64 connections",
        "pingpong-64", 1.35, 1.2, "c-epoll", number="cpu_us", at_least=False,
    ),
    Reach(
        "TCP echo, against the same with 8 viewers of the status page",
        "viewed", 1.02, 1.01, "socketd-viewed", at_least=False,
    ),
    Reach("UDP time against C recvfrom/sendto", "udp", 0.92, 1.05, "c-udp"),
    Reach("UDP time, 2000 sources, against C recvfrom/sendto", "udp-2000", 0.85, 1.0, "c-udp"),
    Reach("UDP time against uvloop", "udp", 1.6, 2.0, "uvloop"),
    Reach("NTP against chronyd", "ntp", 0.7, 1.0, "chronyd", subject="socketd-ntp"),
    Reach(
        "NTP, 2000 sources, against chronyd", "ntp-2000", 0.7, 1.0, "chronyd",
        subject="socketd-ntp",
    ),
    Reach(
        "clock by chronyd -Q", "offset", 50.0, 50.0, at_least=False, unit="us",
        subject="socketd-ntp",
    ),
    Reach(
        "clock by chronyd -Q, at half of the peak rate", "offset-half", 500.0, 500.0,
        at_least=False, unit="us", subject="socketd-ntp",
    ),
    Reach(
        "STAMP, 2000 sessions, packets of one core", "stamp-2000", 100_000.0, 100_000.0,
        unit="packets/s", subject="socketd-stamp",
    ),
    Reach(
        "STAMP, T3 - T2", "stamp-1", 30.0, 30.0, number="p50_us", at_least=False, unit="us",
        subject="socketd-stamp",
    ),
    Reach(
        "TLS echo, 64 connections, against asyncio", "tls-64", 0.95, 1.1, "asyncio-tls",
        subject="socketd-tls",
    ),
    Reach(
        "TLS bulk echo against asyncio", "tls-bulk", 1.0, 1.1, "asyncio-tls",
        subject="socketd-tls",
    ),
    Reach(
        "server CPU per TLS handshake against asyncio (the load is the limit of the rate)",
        "tls-connects", 1.0, 0.83, "asyncio-tls", number="cpu_us", at_least=False,
        subject="socketd-tls",
    ),
    Reach(
        "TLS handshakes/s, resumed, against asyncio", "tls-resumed", 1.0, 1.2, "asyncio-tls",
        subject="socketd-tls",
    ),
    Reach(
        "TCP echo, 64 connections, half of the peak rate, p99, against uvloop", "paced", 1.1, 1.0,
        "uvloop", at_least=False,
    ),
    Reach("connections/s against uvloop", "connects", 0.95, 1.05, "uvloop"),
    Reach("connections/s against xinetd", "connects", 5.0, 8.0, "xinetd"),
    Reach("bulk echo against asyncio", "bulk", 1.0, against="asyncio", goal_peer="uvloop"),
    Reach(
        "error of latency = 50ms, 5000 connections, p99",
        "latency", 5.0, 1.0, at_least=False, unit="ms", subject="socketd-late",
    ),
    Reach(
        "loss, duplicates, reordering of 100 000 datagrams: deviation", "shares", 3.0, 2.0,
        at_least=False, unit="sigma", subject="socketd-lossy",
    ),
    Reach(
        "CPU of 100 rules against one rule", "rules", 3.0, 2.0, "socketd-rule",
        number="cpu_us", at_least=False, subject="socketd-rules",
    ),
    Reach(
        "reply by rule against plain Twisted by hand", "rules", 1.0, 1.5, "twisted-reply",
        subject="socketd-rule",
    ),
    Reach(
        "reply by rule against asyncio by hand", "rules", 0.5, 0.8, "asyncio-reply",
        subject="socketd-rule",
    ),
    Reach(
        "HTTP GET of 64 B against plain twisted.web", "http", 1.1, 1.5, "twisted-web",
        subject="socketd-http",
    ),
    Reach(
        "WebSocket echo against websockets", "websocket", 0.8, 1.2, "websockets",
        subject="socketd-http",
    ),
    Reach("memory per idle connection", "idle", 2.0, 1.3, at_least=False, unit="KiB"),
    Reach("start to first answer", "start", 600.0, 350.0, at_least=False, unit="ms"),
    Reach(
        "start to first answer against plain Twisted", "start", 1.4, 1.2, "twisted",
        at_least=False,
    ),
    Reach(
        "the same with two workers and cores", "workers-start", 2.2, 1.8, "twisted",
        at_least=False, subject="socketd-two",
    ),
    Reach(
        "NTP, two workers against one, load on the same two cores", "workers-ntp", 1.35, 1.6,
        "socketd-ntp", subject="socketd-ntp-two",
    ),
    Reach(
        "NTS, two workers against one, load on the same two cores", "workers-nts", 1.35, 1.6,
        "socketd-nts", subject="socketd-nts-two",
    ),
    Reach(
        "TLS, two workers against one, load on the same two cores", "workers-tls", 1.35, 1.6,
        "socketd-tls", subject="socketd-tls-two",
    ),
    Reach(
        "memory of each worker", "workers-memory", 50.0, 35.0, at_least=False, unit="MiB",
        subject="socketd-two",
    ),
)
