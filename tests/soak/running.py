"""One soak: warm up, rest, load, rest, and say what differs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from threading import Event, Thread

from attrs import define, field, frozen

from tests.soak import report, verdict
from tests.soak.client import Client
from tests.soak.faults import FaultInjector, make_faults
from tests.soak.loads import ClientPool
from tests.soak.samples import Sample, settle, take_sample
from tests.soak.server import Server, wait_until
from tests.soak.verdict import Comparison

#: Seconds between two samples.
INTERVAL = 5.0

#: The part of the time that the load is on before the first measurement, and the most of it
#: (seconds): caches fill, and memory finds its size.
WARM_UP, LONGEST_WARM_UP = 0.2, 300.0

#: Shorter ones have no time for faults that take seconds.
LONG = 60.0

#: How many times as long clients pause in those, where one exchange of each is enough.
SHORT_PACE = 50.0

#: Seconds between two faults, at most.
PAUSE = 1.0

#: The daemon takes new certificates within 5 seconds.
RENEWAL = 15.0

#: What the log says of a worker that has ended.
_DEATH = re.compile(r".*worker \d+ \(process \d+\) (?:died|has not).*")


@frozen
class Plan:
    """
    @ivar seconds: how long there is load after the warm-up.
    @ivar seed: of all that is drawn.
    @ivar workers: how many the daemon has.
    """

    seconds: float
    seed: int
    workers: int = 1

    @property
    def is_long(self) -> bool:
        """Whether there is time for faults that take seconds."""
        return self.seconds >= LONG


@define(eq=False)
class Soak:
    """
    One run.

    @ivar plan: how long, and from which seed.
    @ivar over: set when it is to end early.
    @ivar before: at rest, after the warm-up.
    @ivar after: at rest, in the end.
    @ivar problems: what is wrong; empty if all is well.
    """

    plan: Plan
    directory: Path
    over: Event = field(factory=Event)
    before: Sample | None = field(default=None, init=False)
    after: Sample | None = field(default=None, init=False)
    problems: list[str] = field(factory=list, init=False)
    _server: Server = field(init=False)
    _clients: ClientPool = field(init=False)
    _injector: FaultInjector = field(init=False)
    _samples: list[Sample] = field(factory=list, init=False)
    _compared: list[Comparison] = field(factory=list, init=False)
    _began: float = field(factory=time.monotonic, init=False)

    def __attrs_post_init__(self) -> None:
        self._server = Server(self.directory, self.plan.workers)
        pace = 1.0 if self.plan.is_long else SHORT_PACE
        self._clients = ClientPool(self._server, self.plan.seed, pace)
        random = Random(f"{self.plan.seed} faults")
        self._injector = FaultInjector(self._server, self._clients, random, Event())

    def run(self) -> bool:
        """Do all of it, note what is wrong, and return whether all is well."""
        try:
            self._server.start()
            warm_up = min(self.plan.seconds * WARM_UP, LONGEST_WARM_UP)
            self.before = self._phase(warm_up, True)
            self.after = self._phase(self.plan.seconds, False)
            self._compare()
            self._stop()
        except (AssertionError, OSError) as problem:
            self.problems.append(f"{type(problem).__name__}: {problem}")
        finally:
            self._server.kill()
        self.problems += self._clients.problems
        if self.problems:
            self.problems += _DEATH.findall(self._server.log())
        return not self.problems

    def summary(self) -> str:
        """Say what was done, also when it ended early."""
        points = [("at rest, warm", self.before), ("half way", report.middle(self._samples))]
        points += [("at most", report.peak(self._samples)), ("at rest, in the end", self.after)]
        known = [(name, sample) for name, sample in points if sample is not None]
        parts = [
            report.loads(self._clients.counts()),
            report.faults(self._injector.done),
            report.samples(known),
            report.counters(self._compared),
        ]
        return "\n".join(parts) + "".join(f"WRONG: {problem}\n" for problem in self.problems)

    def _phase(self, seconds: float, warms_up: bool) -> Sample:
        """
        Have load and faults for a while, then rest.

        @param warms_up: whether each fault is made at least once.
        @return: what the daemon holds at rest.
        """
        with self._load(warms_up):
            self._watch(time.monotonic() + seconds)
        self._injector.restore_base()
        settle(self._server)
        return take_sample(self._server, self._age(), collected=True)

    @contextmanager
    def _load(self, warms_up: bool) -> Iterator[None]:
        injector = self._injector
        injector.over.clear()
        how = (injector, PAUSE if self.plan.is_long else 0.0, self.plan.is_long, warms_up)
        thread = Thread(target=make_faults, args=how, daemon=True)
        self._clients.start()
        thread.start()
        try:
            yield
        finally:
            injector.over.set()
            thread.join()
            self._clients.stop()

    def _watch(self, ends: float) -> None:
        """Take samples until the time is over, or something is wrong enough."""
        while not self._clients.failed.is_set():
            left = ends - time.monotonic()
            if left <= 0 or self.over.wait(min(left, INTERVAL)):
                return
            self._samples.append(take_sample(self._server, self._age()))

    def _compare(self) -> None:
        assert self.before is not None and self.after is not None
        if self.plan.is_long:
            self._see_certificate()
            settle(self._server)
        figures = self._server.figures()
        self._compared = list(
            verdict.compare(self._clients.counts(), figures, self._injector.reloads)
        )
        loaded = [one for one in self._samples if one.when > self.before.when]
        middle = report.middle(loaded)
        held = list(verdict.compare_resources(self.before, self.after, middle))
        self._compared += verdict.compare_lag(loaded)
        if not all(one.holds for one in held):
            types = ", ".join(verdict.grown(self.before, self.after))
            self.problems.append(f"more objects than before: {types}")
        self._compared += held
        wrong = sum(not one.holds for one in self._compared)
        if wrong:
            self.problems.append(f"{wrong} counters differ")

    def _see_certificate(self) -> None:
        """See that the daemon shows the certificate that it was given last, in time."""
        client = self._clients.extra_client()
        wait_until(lambda: self._shows_last(client), "the last certificate", timeout=RENEWAL)

    def _shows_last(self, client: Client) -> bool:
        with client.connect("secure", "tls") as peer:
            tls = client.start_tls(peer)
            found = tls.certificate()
            client.check_equal(tls.finish(), b"")
        return found == self._server.shown_certificate()

    def _stop(self) -> None:
        status, log = self._server.stop(), self._server.log()
        if status:
            self.problems.append(f"the daemon ended with {status}")
        for word in ("Traceback", "Unhandled"):
            if word in log:
                self.problems.append(f"{word} in the log:\n{log[log.index(word):][:2000]}")
        most = verdict.log_limit(self._age(), self._injector.reloads.total())
        if len(log) > most:
            self.problems.append(f"the log has {len(log)} bytes; {most} would be right")

    def _age(self) -> float:
        return time.monotonic() - self._began
