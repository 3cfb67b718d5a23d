"""A well-behaved client beside peers that are not, and what the daemon counts of them."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable
from threading import Condition, Event, Thread
from typing import Any

from tests.chaos.exchanges import scrape
from tests.support.polling import DEADLINE, wait_until
from tests.support.processes import Daemon, SystemCase
from tests.support.sockets import exchange


class HonestClient:
    """
    A well-behaved client that asks again and again inside C{with}, and checks each answer.

    @ivar taken: how long each answer took (seconds).
    """

    def __init__(self, sock: socket.socket) -> None:
        self.taken: list[float] = []
        self._sock = sock
        self._ended = Event()
        self._answered = Condition()
        self._problem: BaseException | None = None
        self._thread = Thread(target=self._exchange, daemon=True)

    def _exchange(self) -> None:
        try:
            while not self._ended.is_set():
                self.ask()
        except BaseException as problem:
            with self._answered:
                self._problem = problem
                self._answered.notify_all()

    def ask(self) -> None:
        """Ask once."""
        began = time.perf_counter()
        question = b"%d?\n" % len(self.taken)
        answer = exchange(self._sock, question)
        assert answer == question, answer
        with self._answered:
            self.taken.append(time.perf_counter() - began)
            self._answered.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until it has been answered often enough, and raise what went wrong there."""
        with self._answered:
            found = self._answered.wait_for(lambda: self._problem or condition(), DEADLINE)
        if self._problem is not None:
            raise self._problem
        assert found, f"{len(self.taken)} answers are all"

    def median(self, first: int = 0) -> float:
        """Say how long an answer takes (seconds), from some answer on."""
        return statistics.median(self.taken[first:])

    def __enter__(self) -> HonestClient:
        self._thread.start()
        return self

    def __exit__(self, *problem: Any) -> None:
        self._ended.set()
        self._thread.join(DEADLINE)
        if self._problem is not None:
            raise self._problem


class PeersCase(SystemCase):
    """A daemon on loopback that can be asked what it has counted."""

    def figure(self, daemon: Daemon, name: str, **labels: str) -> float:
        """Ask for one figure; nothing was counted where it is not told."""
        with daemon.connect("http") as sock:
            written = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
            return scrape(sock).get(f"socketd_{name}{{{written}}}", 0.0)

    def wait_for_figure(
        self, daemon: Daemon, name: str, expected: float, **labels: str
    ) -> None:
        """Ask until the figure is what it should be; a page is old when it comes again soon."""
        wait_until(
            lambda: self.figure(daemon, name, **labels) == expected,
            lambda: f"{name} {labels}: {self.figure(daemon, name, **labels)}, not {expected}",
        )
