"""The table of loads: every kind of client, and how many of it there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from random import Random
from threading import Event, Lock, Thread
from traceback import extract_tb

from attrs import define, field, frozen

from tests.soak import datagrams, measuring, misbehaving, operators, scripts, streams, web
from tests.soak.client import Client, ServiceGone
from tests.soak.configuration import has_ipv6
from tests.soak.client_counts import ClientCounts, total
from tests.soak.server import Server

#: The load ends at so many problems.
MAX_PROBLEMS = 10

#: An exchange is over by then, whatever the daemon does (seconds).
LAST = 60.0


_MODULES = (datagrams, measuring, misbehaving, operators, scripts, streams, web)
_FILES = {module.__file__ for module in _MODULES}


@frozen
class Load:
    """
    One kind of client.

    @ivar run: one exchange.
    @ivar pause: between two exchanges, on average (seconds).
    @ivar asks: whether C{run} takes the server, too.
    @ivar misses: whether the service may not be there.
    """

    name: str
    run: Callable[..., None]
    clients: int = 1
    pause: float = 0.02
    asks: bool = False
    misses: bool = False


GROUPS: dict[str, tuple[Load, ...]] = {
    "streams": (
        Load("echo", streams.echo, 2),
        Load("echo bulk", streams.bulk, 1, 0.1),
        Load("slow reader", streams.slow_reader, 1, 0.1),
        Load("slow writer", streams.slow_writer, 2),
        Load("lines", streams.lines),
        Load("long line", streams.long_line, 1, 0.05),
        Load("ack", streams.ack),
        Load("reply", streams.reply),
        Load("discard", streams.discard),
        Load("chargen", streams.characters),
        Load("passing", streams.passing, misses=True),
    ),
    "short": (
        Load("time and daytime", streams.times),
        Load("quote", streams.quote),
    ),
    "tls": (
        Load("tls", streams.secure, 2),
        Load("proxied", streams.proxied),
        Load("proxied tls", streams.proxied_tls, 1, 0.05),
    ),
    "datagrams": (
        Load("datagrams", datagrams.echo, 2),
        Load("datagram burst", datagrams.burst, 1, 0.05),
        Load("datagrams unbound", datagrams.unbound),
        Load("datagram services", datagrams.services),
        Load("datagram times", datagrams.times),
        Load("datagram quote", datagrams.quote),
        Load("datagrams guarded", datagrams.guarded),
        Load("datagrams banned", datagrams.banned),
        Load("datagrams passing", datagrams.passing, 1, 0.1, misses=True),
    ),
    "misbehaving": (
        Load("reset", misbehaving.reset, 1, 0.05),
        Load("reset in tls", misbehaving.reset_in_tls, 1, 0.05),
        Load("handshake dropped", misbehaving.dropped_handshake, 1, 0.05),
        Load("garbage as tls", misbehaving.garbage_as_tls, 1, 0.05),
        Load("garbage as header", misbehaving.garbage_as_header, 1, 0.05),
        Load("untrusted proxy", misbehaving.untrusted_proxy, 1, 0.05),
        Load("denied network", misbehaving.denied_network, 1, 0.05),
        Load("banned", misbehaving.banned, 1, 0.05),
    ),
    "floods": (
        Load("flood", misbehaving.flood, 1, 0.2),
        Load("flood of one source", misbehaving.flood_of_one_source, 1, 0.2),
    ),
    "deadlines": (
        Load("first byte", misbehaving.no_first_byte, 2),
        Load("idle", misbehaving.idle, 2),
        Load("lifetime", misbehaving.endless, 2),
        Load("stall", misbehaving.stall, 2),
        Load("handshake", misbehaving.slow_handshake, 2),
    ),
    "scripts": (
        Load("modem", scripts.modem),
        Load("framings", scripts.framings),
        Load("pulse", scripts.pulse),
        Load("quiet", scripts.quiet),
        Load("spoken", scripts.spoken),
        Load("chargen with an end", scripts.source, 1, 0.1),
        Load("discard with a report", scripts.sink, 1, 0.05),
    ),
    "faults": (
        Load("faulty", scripts.faulty, 2),
        Load("lossy", scripts.lossy),
    ),
    "web": (
        Load("http", web.web, 2),
        Load("bad heads", web.bad_head),
        Load("late heads", web.late_head),
        Load("websocket", web.websocket, 2),
        Load("bad frames", web.bad_frame, 1, 0.05),
        Load("no handshake", web.no_handshake, 1, 0.05),
    ),
    "measuring": (
        Load("numbered", measuring.numbered),
        Load("stamp", measuring.stamp),
        Load("stamp with keys", measuring.secret),
        Load("ipsla", measuring.ipsla, 2, 0.1),
        Load("nts", measuring.nts, 1, 0.5),
    ),
    "operators": (
        Load("operator", operators.operator, 1, 0.1, asks=True),
        Load("watcher", operators.watcher, 1, 0.5, asks=True),
        Load("prober", operators.prober, 1, 0.5, asks=True),
        Load("page", web.page, 1, 0.5, asks=True),
        Load("viewer", web.viewer, 2, 0.5, asks=True),
        Load("slow viewer", web.slow_viewer, 1, 0.5, asks=True),
    ),
}


@define(eq=False)
class Group:
    """
    Clients that pause and resume together.

    @ivar going: clear while they pause.
    """

    name: str
    clients: list[tuple[Load, Client]]
    going: Event = field(factory=Event)


@define(eq=False)
class ClientPool:
    """
    All clients, each in a thread of its own while there is load.

    @ivar pace: how many times as long as usual they pause.
    @ivar problems: up to L{MAX_PROBLEMS}.
    @ivar failed: set when there are so many.
    """

    server: Server
    seed: int
    pace: float = 1.0
    problems: list[str] = field(factory=list, init=False)
    failed: Event = field(factory=Event, init=False)
    _stopped: Event = field(factory=Event, init=False)
    _extra: list[Client] = field(factory=list, init=False)
    _threads: list[Thread] = field(factory=list, init=False)
    _lock: Lock = field(factory=Lock, init=False)
    groups: list[Group] = field(init=False)

    @groups.default
    def _make_groups(self) -> list[Group]:
        return [Group(name, list(self._clients(loads))) for name, loads in GROUPS.items()]

    def _clients(self, loads: Iterable[Load]) -> Iterator[tuple[Load, Client]]:
        for load in loads:
            for number in range(load.clients):
                random = Random(f"{self.seed} {load.name} {number}")
                directory, addresses = self.server.directory, self.server.addresses
                yield load, Client(
                    load.name, number, random, addresses, directory, stopped=self._stopped
                )

    def start(self) -> None:
        """Begin; each client makes one exchange at least."""
        self._stopped.clear()
        for group in self.groups:
            group.going.set()
            for load, client in group.clients:
                thread = Thread(target=self._work, args=(group, load, client), daemon=True)
                self._threads.append(thread)
                thread.start()

    def stop(self) -> None:
        """Let each client end its exchange."""
        self._stopped.set()
        for group in self.groups:
            group.going.set()
        threads, self._threads = self._threads, []
        for thread in threads:
            thread.join(LAST)
            if thread.is_alive():
                self.note(f"a client does not come to an end within {LAST:.0f} s")

    def counts(self) -> ClientCounts:
        """Add up what all have seen."""
        clients = [client for group in self.groups for _, client in group.clients]
        return total(client.counts for client in [*clients, *self._extra])

    def extra_client(self) -> Client:
        """Make one more client, which is in the counts and in no group."""
        random = Random(f"{self.seed} extra")
        client = Client("extra", 0, random, self.server.addresses, self.server.directory)
        self._extra.append(client)
        return client

    def note(self, problem: str) -> None:
        """Note what went wrong."""
        with self._lock:
            if len(self.problems) < MAX_PROBLEMS:
                self.problems.append(problem)
            if len(self.problems) >= MAX_PROBLEMS:
                self.failed.set()

    def _work(self, group: Group, load: Load, client: Client) -> None:
        run = partial(load.run, client, self.server) if load.asks else partial(load.run, client)
        while True:
            self._once(run, load, client)
            client.wait(client.random.expovariate(1 / load.pause) * self.pace)
            group.going.wait()
            if self._stopped.is_set() or self.failed.is_set():
                return

    def _once(self, run: Callable[[], None], load: Load, client: Client) -> None:
        try:
            run()
            client.counts.load(load.name).times += 1
        except Exception as problem:
            if not (load.misses and isinstance(problem, ServiceGone)):
                self.note(f"{load.name}: {_described(problem)}")


def _described(problem: Exception) -> str:
    """Say what went wrong, and in which line of which load."""
    ours = [one for one in extract_tb(problem.__traceback__) if one.filename in _FILES]
    where = "".join(f" at {one.name}, line {one.lineno}" for one in ours[-1:])
    return f"{type(problem).__name__}: {problem}{where}"


def available() -> list[str]:
    """Name what this machine has to be soaked over."""
    return ["tcp", "udp", "unix", "unixgram", "tls", "proxy", *["ipv6"] * has_ipv6()]
