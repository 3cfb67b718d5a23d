"""What is measured: one row per work."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bench.peers.asked import BODY, FRAME, HANDSHAKE, PROBES, REQUEST, Probe
from bench.peers.conversation import ANSWER, QUESTION

#: Every peer that serves streams, and every one that serves datagrams: see L{bench.servers}.
STREAM_PEERS = (
    "socketd", "c-epoll", "uvloop", "go", "asyncio", "twisted", "threads", "xinetd", "socat",
    "haproxy",
)
DATAGRAM_PEERS = ("socketd", "c-udp", "uvloop", "asyncio", "twisted", "xinetd")
FASTEST_DATAGRAM_PEERS = ("socketd", "c-udp", "uvloop")
NTP_PEERS = ("socketd-ntp", "chronyd")
NTS_PEERS = ("socketd-nts", "chronyd-nts")

#: Every one that serves streams over TLS.
TLS_PEERS = ("socketd-tls", "asyncio-tls", "twisted-tls")

#: What C{--quick} keeps of them: the bounds (C), the best known (uvloop), where we come from.
QUICK_PEERS = ("socketd", "c-epoll", "c-udp", "uvloop", "twisted", *TLS_PEERS)

#: Idle connections held at once: what C{max_connections} of the default configuration allows.
IDLE_CONNECTIONS = 10_000


#: Connections whose answers are late on purpose.
LATE_CONNECTIONS = 5000


class Kind(Enum):
    """How the figure of a work comes about."""

    RATE = "answers per second"
    BULK = "megabytes per second"
    IDLE = "kibibytes per connection"
    START = "milliseconds until the first answer"
    SHARE = "standard deviations from the shares that a fault profile says"
    PACED = "microseconds until the 99th percentile of answers at half of the peak rate"
    OFFSET = "microseconds that a client's clock seems to be wrong"
    WORKERS = "mebibytes of each worker"
    LATE = "milliseconds that the 99th percentile of answers is later than it should be"


@dataclass(frozen=True)
class Work:
    """
    One thing that is measured.

    @ivar load: mode and options of the load generator.
    @ivar unit: what the figure counts.
    @ivar each: what the server's CPU time is divided by.
    @ivar together: whether server and load run on both cores, and not each on one.
    """

    name: str
    title: str
    kind: Kind
    unit: str
    servers: tuple[str, ...]
    load: tuple[str, ...] = ()
    each: str = "message"
    quick: bool = False
    together: bool = False

    @property
    def probe(self) -> Probe | None:
        """How a server is asked whether it answers; L{None}: by an echo."""
        return PROBES.get("".join(self.load[:1]))

    @property
    def fresh(self) -> bool:
        """Whether each sample needs a server that was just started."""
        return self.less_is_better and self.kind not in (Kind.PACED, Kind.OFFSET)

    @property
    def less_is_better(self) -> bool:
        """Whether a small figure is the good one."""
        return self.kind not in (Kind.RATE, Kind.BULK)


def _pingpong(connections: int, quick: bool = False) -> Work:
    """One message of 64 bytes in flight on each connection."""
    noun = "connection" if connections == 1 else "connections"
    return Work(
        name=f"pingpong-{connections}",
        title=f"TCP echo ping-pong, 64 B, {connections} {noun}",
        kind=Kind.RATE,
        unit="messages/s",
        servers=STREAM_PEERS,
        load=("echo", "--connections", str(connections), "--size", "64"),
        quick=quick,
    )


#: Eight sockets; and as many datagrams in flight from many addresses.
_SOCKETS = ("--connections", "8", "--in-flight", "16")
SOURCES = 2000
_SOURCES = (*_SOCKETS, "--sources", str(SOURCES))


def _datagrams(
    name: str, title: str, load: tuple[str, ...], servers: tuple[str, ...], **more: bool
) -> Work:
    """Datagrams with an answer each."""
    return Work(name, title, Kind.RATE, "datagrams/s", servers, load, each="datagram", **more)


_HANDSHAKES = ("--tls", "1", "--connections", "32", "--size", "64")
_BESIDE = ("--beside", "1", "--connections", "64")

WORKS = (
    _pingpong(1),
    _pingpong(64, quick=True),
    _pingpong(1000),
    Work(
        name="viewed",
        title="TCP echo ping-pong, 64 B, 64 connections, with 8 viewers of the status page",
        kind=Kind.RATE,
        unit="messages/s",
        servers=("socketd", "socketd-viewed"),
        load=("echo", "--connections", "64", "--size", "64"),
    ),
    Work(
        name="bulk",
        title="TCP bulk echo, 64 KiB writes, 4 in flight on each of 4 connections",
        kind=Kind.BULK,
        unit="MB/s",
        servers=STREAM_PEERS,
        load=("echo", "--connections", "4", "--size", "65536", "--in-flight", "4"),
        each="64 KiB",
        quick=True,
    ),
    Work(
        name="connects",
        title="connect, send 64 B, half-close, read to EOF; 32 at a time",
        kind=Kind.RATE,
        unit="connections/s",
        servers=STREAM_PEERS,
        load=("connects", "--connections", "32", "--size", "64"),
        each="connection",
        quick=True,
    ),
    _datagrams(
        "udp",
        "UDP time, empty datagrams, 16 in flight on each of 8 sockets",
        ("udp", *_SOCKETS, "--size", "0"),
        DATAGRAM_PEERS,
        quick=True,
    ),
    _datagrams(
        f"udp-{SOURCES}",
        f"UDP time, empty datagrams, from {SOURCES} addresses in turn, 128 in flight",
        ("udp", *_SOURCES, "--size", "0"),
        FASTEST_DATAGRAM_PEERS,
    ),
    _datagrams(
        "ntp", "NTP, 16 requests in flight on each of 8 sockets", ("ntp", *_SOCKETS), NTP_PEERS
    ),
    _datagrams(
        f"ntp-{SOURCES}",
        f"NTP, from {SOURCES} addresses in turn, 128 requests in flight",
        ("ntp", *_SOURCES),
        NTP_PEERS,
    ),
    _datagrams(
        "nts", "NTP with NTS, 16 requests in flight on each of 8 sockets, a new cookie in each"
        " answer", ("nts", *_SOCKETS), NTS_PEERS,
    ),
    Work(
        name="offset",
        title="the clock of this machine, as chronyd -Q sees it: how wrong by the server",
        kind=Kind.OFFSET,
        unit="us",
        servers=NTP_PEERS,
        load=("ntp", "--connections", "1"),
    ),
    Work(
        name="offset-half",
        title="the same while the server is asked at half of its peak rate by others",
        kind=Kind.OFFSET,
        unit="us",
        servers=NTP_PEERS,
        load=("ntp", *_SOCKETS),
    ),
    _datagrams(
        f"stamp-{SOURCES}",
        f"STAMP, 44 bytes, {SOURCES} sessions in turn, 128 packets in flight; us: T3 - T2",
        ("stamp", *_SOURCES),
        ("socketd-stamp",),
    ),
    _datagrams(
        "stamp-1", "STAMP, 44 bytes, one session, one packet in flight; us: T3 - T2",
        ("stamp", "--connections", "1"), ("socketd-stamp",),
    ),
    Work(
        name="tls-64",
        title="TLS 1.3 echo ping-pong, 64 B, 64 connections",
        kind=Kind.RATE,
        unit="messages/s",
        servers=TLS_PEERS,
        load=("echo", "--tls", "1", "--connections", "64", "--size", "64"),
    ),
    Work(
        name="tls-bulk",
        title="TLS 1.3 bulk echo, 64 KiB writes, 4 in flight on each of 4 connections",
        kind=Kind.BULK,
        unit="MB/s",
        servers=TLS_PEERS,
        load=(
            "echo", "--tls", "1", "--connections", "4", "--size", "65536", "--in-flight", "4",
        ),
        each="64 KiB",
    ),
    Work(
        name="tls-connects",
        title="connect, TLS 1.3 handshake, send 64 B, read them, close; 32 at a time",
        kind=Kind.RATE,
        unit="connections/s",
        servers=TLS_PEERS,
        load=("connects", *_HANDSHAKES),
        each="connection",
    ),
    Work(
        name="tls-resumed",
        title="the same with resumed sessions",
        kind=Kind.RATE,
        unit="connections/s",
        servers=("socketd-tls", "asyncio-tls"),
        load=("connects", *_HANDSHAKES, "--resume", "1"),
        each="connection",
    ),
    Work(
        name="paced",
        title="TCP echo, 64 B, 64 connections, a message each at fixed times, half of what the"
        " server reached just before: p99 since it was due",
        kind=Kind.PACED,
        unit="us",
        servers=("socketd", "c-epoll", "uvloop", "asyncio", "go"),
        load=("echo", "--connections", "64", "--size", "64"),
    ),
    Work(
        name="idle",
        title=f"{IDLE_CONNECTIONS} idle connections: server memory for each, still answering",
        kind=Kind.IDLE,
        unit="KiB/connection",
        servers=("socketd", "uvloop", "asyncio", "twisted", "threads"),
        load=("idle", "--connections", str(IDLE_CONNECTIONS), "--size", "64"),
    ),
    Work(
        name="latency",
        title=f"a fault profile with latency = 50ms, {LATE_CONNECTIONS} connections with a message"
        " per second each: p99 of the answers less 50 ms, and beside it a service without",
        kind=Kind.LATE,
        unit="ms late",
        servers=("socketd-late", "socketd"),
        load=("echo", "--connections", str(LATE_CONNECTIONS), "--size", "64", "--every", "1"),
    ),
    Work(
        name="shares",
        title="loss, duplicates and reordering of 100 000 datagrams over UDP: the largest"
        " deviation from what the profile says",
        kind=Kind.SHARE,
        unit="sigma",
        servers=("socketd-lossy",),
    ),
    Work(
        name="rules",
        title="a line of 64 B that is answered by rule, 64 connections",
        kind=Kind.RATE,
        unit="messages/s",
        servers=("socketd-rule", "socketd-rules", "twisted-reply", "asyncio-reply"),
        load=(
            "echo", "--beside", "1", "--connections", "64", "--question", QUESTION,
            "--answer", ANSWER,
        ),
    ),
    Work(
        name="http",
        title="HTTP GET of 64 B, 64 connections, keep-alive",
        kind=Kind.RATE,
        unit="requests/s",
        servers=("socketd-http", "twisted-web", "uvicorn", "go-http"),
        load=("ask", *_BESIDE, "--question", REQUEST, "--answer", BODY),
        each="request",
    ),
    Work(
        name="websocket",
        title="WebSocket echo ping-pong, 64 B, 64 connections",
        kind=Kind.RATE,
        unit="messages/s",
        servers=("socketd-http", "websockets", "twisted-web"),
        load=("ask", *_BESIDE, "--first", HANDSHAKE, "--question", FRAME, "--answer", BODY),
    ),
    _datagrams(
        "workers-ntp",
        f"NTP, from {SOURCES} addresses in turn, 128 requests in flight, server and load on"
        " the same two cores",
        ("ntp", *_SOURCES),
        ("socketd-ntp-two", "socketd-ntp"),
        together=True,
    ),
    _datagrams(
        "workers-nts",
        f"NTP with NTS, from {SOURCES} addresses in turn, 128 requests in flight, server and"
        " load on the same two cores",
        ("nts", *_SOURCES),
        ("socketd-nts-two", "socketd-nts"),
        together=True,
    ),
    Work(
        name="workers-tls",
        title="TLS 1.3 echo ping-pong, 64 B, 64 connections, server and load on the same two"
        " cores",
        kind=Kind.RATE,
        unit="messages/s",
        servers=("socketd-tls-two", "socketd-tls"),
        load=("echo", "--tls", "1", "--connections", "64", "--size", "64"),
        together=True,
    ),
    Work(
        name="workers-memory",
        title="memory of each of two workers (PSS)",
        kind=Kind.WORKERS,
        unit="MiB",
        servers=("socketd-two",),
        together=True,
    ),
    Work(
        name="workers-start",
        title="start to first answer on two cores",
        kind=Kind.START,
        unit="ms",
        servers=("socketd-two", "socketd", "twisted"),
        together=True,
    ),
    Work(
        name="start",
        title="start to first answer; memory then",
        kind=Kind.START,
        unit="ms",
        servers=("socketd", "twisted", "asyncio"),
        quick=True,
    ),
)


@dataclass(frozen=True)
class Effort:
    """
    How long one takes over it.

    @ivar rounds: how often each server has its turn.
    @ivar seconds: length of one measured window.
    """

    rounds: int
    seconds: float
    warm_up: float


#: About twenty minutes; an odd number of rounds, so that the median is one of them.
FULL = Effort(rounds=15, seconds=0.4, warm_up=0.1)

#: Less than a minute.
QUICK = Effort(rounds=2, seconds=0.5, warm_up=0.1)


def choose(names: list[str], quick: bool) -> tuple[Work, ...]:
    """
    The works that were asked for.

    @param names: full names or what comes before a dash, as C{pingpong}; empty: all.
    @raise ValueError: for a name that no work has.
    """
    for name in names:
        if not any(_is_named(work, name) for work in WORKS):
            raise ValueError(f"no work {name!r}; there are {', '.join(w.name for w in WORKS)}")
    if names:
        return tuple(w for w in WORKS if any(_is_named(w, name) for name in names))
    return tuple(w for w in WORKS if w.quick or not quick)


def _is_named(work: Work, name: str) -> bool:
    """Whether C{name} means this work."""
    return work.name == name or work.name.startswith(name + "-")
