"""Floods of resets, and a well-behaved client beside them."""

from __future__ import annotations

import signal
import socket
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from threading import Condition, Event, Thread
from typing import Any

from tests.faults import figures
from tests.faults.exchanges import scrape
from tests.support.polling import DEADLINE, wait_until
from tests.support.processes import Daemon, SystemCase
from tests.support.sockets import close_with_reset, exchange, is_silent, read_exactly

#: Connections of one state that are open at once.
BATCH = 50

#: What each of them sends, where it sends anything.
HALF = b"whole\nhalf"
LINES = b"line upon line\n" * 40

FLOOD_INI = """
[socketd]
http = tcp:0
[upper]
listen = tcp:0:interface=127.0.0.1
framing = line
log_connections = no
"""


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


class ResetFloodCase(PeersCase):
    """Connections that end with a reset in every state."""

    def check_flood(self, count: int) -> None:
        """Reset so many connections; check that no other peer notices."""
        with self.daemon(FLOOD_INI) as daemon, daemon.connect("upper") as sock:
            honest = HonestClient(sock)
            honest.ask()
            # Counted now: a request for a figure is a connection, too.
            descriptors, text = daemon.descriptors(), daemon.output.text
            began = time.monotonic()
            with honest:
                received = sum(self.reset_in_each_state(daemon, count))
                seconds = time.monotonic() - began
                self.wait_for_figure(daemon, "connections_open", 1, service="upper")
            received += sum(len(b"%d?\n" % number) for number in range(len(honest.taken)))
            self.wait_for_figure(daemon, "connections_total", count + 1, service="upper")
            self.wait_for_figure(daemon, "received_bytes_total", received, service="upper")
            wait_until(
                lambda: daemon.descriptors() == descriptors,
                lambda: f"{daemon.descriptors()} descriptors, not {descriptors}",
            )
            self.assertEqual(daemon.output.text, text)
        figures.note(
            self,
            f"{count} resets in {seconds:.1f} s; meanwhile {len(honest.taken)} answers, one in"
            f" {1e6 * honest.median():.0f} us",
        )

    def reset_in_each_state(self, daemon: Daemon, count: int) -> Iterator[int]:
        """
        Connect and reset in each of four states in turn.

        @return: how many bytes each batch has sent.
        """
        states = (self.reset_waiting, self.reset_accepted, self.reset_amid, self.reset_unread)
        for start in range(0, count, len(states) * BATCH):
            size = min(BATCH, (count - start) // len(states))
            for state in states:
                with ExitStack() as stack:
                    yield state(daemon, stack, size)

    def reset_waiting(self, daemon: Daemon, stack: ExitStack, size: int) -> int:
        """Reset connections that the daemon has not accepted yet: it is stopped."""
        daemon.signal(signal.SIGSTOP)
        try:
            resets(self.connect_many(daemon, stack, size))
        finally:
            daemon.signal(signal.SIGCONT)
        return 0

    def reset_accepted(self, daemon: Daemon, stack: ExitStack, size: int) -> int:
        """Reset connections that were just accepted."""
        for sock in self.connect_many(daemon, stack, size):
            resets([sock])
        return 0

    def reset_amid(self, daemon: Daemon, stack: ExitStack, size: int) -> int:
        """Reset in the middle of a message, of which the daemon has the first half."""
        socks = self.connect_many(daemon, stack, size)
        for sock in socks:
            sock.sendall(HALF)
        for sock in socks:
            self.assertEqual(read_exactly(sock, 6), b"WHOLE\n")
        resets(socks)
        return size * len(HALF)

    def reset_unread(self, daemon: Daemon, stack: ExitStack, size: int) -> int:
        """Reset when answers have come, and were not read."""
        socks = self.connect_many(daemon, stack, size)
        for sock in socks:
            sock.sendall(LINES)
        for sock in socks:
            self.assertFalse(is_silent(sock, DEADLINE))
        resets(socks)
        return size * len(LINES)

    def connect_many(self, daemon: Daemon, stack: ExitStack, size: int) -> list[socket.socket]:
        return [stack.enter_context(daemon.connect("upper")) for _ in range(size)]


def resets(socks: Iterable[socket.socket]) -> None:
    """Close with a reset."""
    for sock in socks:
        close_with_reset(sock)
