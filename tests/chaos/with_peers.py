"""Very many peers, and very slow ones."""

from __future__ import annotations

import select
import socket
import time
from contextlib import ExitStack
from threading import Event, Thread

from tests.chaos import figures, test_peers
from tests.chaos.peers import HonestClient, PeersCase
from tests.support.polling import DEADLINE
from tests.support.processes import Daemon
from tests.support.sockets import descriptor_limit, fill

KIB = 1024

#: Slow ones: half of them readers, half of them writers; how often they do anything
#: (seconds), and when the last of them is ended (seconds).
SLOW = 200
PACE = 1.0
STALL, LIFETIME = 5.0, 6.0
CLOSE_GRACE = 5.0

#: The kernel's buffers, so that most of what is owed waits in the daemon (bytes).
KERNEL = 8 * KIB

#: How often each reader sends until no more is taken: the daemon takes turns.
ROUNDS = 5

#: What one connection may take with its buffers (bytes).
MAX_EACH = 256 * KIB

#: How much longer an answer may take beside them, by the median.
MAX_RATIO = 5.0

#: How long the honest one is watched (seconds).
WATCHED = 3.0

SLOW_INI = f"""
[socketd]
http = tcp:0
[echo]
listen = tcp:0:interface=127.0.0.1
stall_timeout = {STALL:.0f}s
so_rcvbuf = {KERNEL}
so_sndbuf = {KERNEL}
log_connections = no
[upper]
listen = tcp:0:interface=127.0.0.1
framing = line
lifetime = {LIFETIME:.0f}s
log_connections = no
[honest]
protocol = upper
listen = tcp:0:interface=127.0.0.1
"""

#: Idle connections, the addresses that they come from, and what one may take (bytes).
IDLE = 10_000
SOURCES = 10
MAX_IDLE = 2 * KIB
DRAIN = 10.0
ANSWERS = 1000

IDLE_INI = f"""
[socketd]
http = tcp:0
max_connections = {IDLE + 100}
drain_timeout = {DRAIN:.0f}s
[upper]
listen = tcp:0:interface=127.0.0.1
log_connections = no
"""

#: What a busy machine may add (seconds).
SLACK = 3.0


class ResetTests(test_peers.ResetTests):
    """A longer storm of resets."""

    resets = 10_000


class SlowPeers:
    """Peers that read or write one byte a second, until the daemon ends them."""

    def __init__(self, readers: list[socket.socket], writers: list[socket.socket]) -> None:
        for sock in readers * ROUNDS:
            fill(sock)
        for sock in readers:
            sock.settimeout(DEADLINE)
        self._ended = Event()
        self._left = dict.fromkeys(readers, True) | dict.fromkeys(writers, False)
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while self._left and not self._ended.wait(PACE):
            for sock, reads in [*self._left.items()]:
                if not _one_byte(sock, reads):
                    del self._left[sock]

    def close(self) -> None:
        """Stop, whether or not some are left."""
        self._ended.set()
        self._thread.join(DEADLINE)


def _one_byte(sock: socket.socket, reads: bool) -> bool:
    """Read or write one byte, and return whether the connection is still there."""
    try:
        if reads:
            return bool(sock.recv(1))
        waiting = select.poll()
        waiting.register(sock, select.POLLIN)
        # A writer is told of the end: it has not finished one line, and is owed nothing.
        if waiting.poll(0):
            sock.close()
            return False
        return bool(sock.send(b"x"))
    except ConnectionError:
        return False


class SlowTests(PeersCase):
    """Readers and writers of one byte a second."""

    def test_slow(self) -> None:
        """
        With 100 readers that are owed all that the daemon takes from them, and 100 writers of
        endless lines, the answers of another one stay quick and memory bounded; their
        deadlines end all.
        """
        with self.daemon(SLOW_INI) as daemon, ExitStack() as stack:
            honest = HonestClient(stack.enter_context(daemon.connect("honest")))
            stack.enter_context(honest)
            self.watch(honest)
            before, first, base = honest.median(), len(honest.taken), daemon.private_bytes()
            began = time.monotonic()
            readers, writers = (
                [stack.enter_context(daemon.connect(name)) for _ in range(SLOW // 2)]
                for name in ("echo", "upper")
            )
            stack.callback(SlowPeers(readers, writers).close)
            self.watch(honest)
            ratio = honest.median(first) / before
            each = (daemon.private_bytes() - base) / SLOW
            self.check_ends(daemon)
            spent = time.monotonic() - began
        self.assertLess(ratio, MAX_RATIO)
        self.assertLess(each, MAX_EACH)
        self.assertLess(spent, LIFETIME + CLOSE_GRACE + SLACK)
        figures.note(
            self,
            f"answers {ratio:.2f} times as long, {each / KIB:.0f} KiB each, all gone after"
            f" {spent:.1f} s",
        )

    def watch(self, honest: HonestClient) -> None:
        """Let the well-behaved client ask for a while."""
        wanted = time.monotonic() + WATCHED
        honest.wait_for(lambda: time.monotonic() >= wanted)

    def check_ends(self, daemon: Daemon) -> None:
        """Check that each was ended by the deadline that is there for it."""
        for service, reason in (("echo", "stall_timeout"), ("upper", "lifetime")):
            self.wait_for_figure(
                daemon, "connections_overdue_total", SLOW / 2, service=service, reason=reason
            )
            self.wait_for_figure(daemon, "connections_open", 0, service=service)


class IdleTests(PeersCase):
    """Very many idle connections."""

    def test_idle(self) -> None:
        """
        All of 10 000 come in and cost little memory, one among them is served as before,
        and all are let go in time when the daemon stops.
        """
        with descriptor_limit(IDLE + 1000), self.daemon(IDLE_INI) as daemon, ExitStack() as stack:
            alone, base = self.answer_time(daemon), daemon.private_bytes()
            idle = self.connect_many(daemon, stack)
            self.wait_for_figure(daemon, "connections_open", IDLE, service="upper")
            each = (daemon.private_bytes() - base) / IDLE
            among = self.answer_time(daemon)
            spent = self.release(daemon, idle)
        self.assertLess(each, MAX_IDLE)
        self.assertLess(among / alone, MAX_RATIO)
        self.assertLess(spent, DRAIN)
        figures.note(
            self,
            f"{each / KIB:.2f} KiB each, answers {among / alone:.2f} times as long"
            f" ({1e6 * among:.0f} us), stopped after {spent:.1f} s",
        )

    def answer_time(self, daemon: Daemon) -> float:
        """Say how long an answer takes by the median (seconds)."""
        with daemon.connect("upper") as sock, HonestClient(sock) as honest:
            honest.wait_for(lambda: len(honest.taken) >= ANSWERS)
            return honest.median()

    def connect_many(self, daemon: Daemon, stack: ExitStack) -> list[socket.socket]:
        """Connect all of them, from several addresses: one has not so many ports everywhere."""
        address, socks = daemon.address("upper"), []
        for number in range(IDLE):
            source = (f"127.0.0.{2 + number % SOURCES}", 0)
            sock = socket.create_connection(address, DEADLINE, source)
            socks.append(stack.enter_context(sock))
        return socks

    def release(self, daemon: Daemon, idle: list[socket.socket]) -> float:
        """Stop the daemon while each closes when it is told of the end; return the seconds."""
        began = time.monotonic()
        daemon.ask_to_stop()
        for sock in idle:
            self.assertEqual(sock.recv(1), b"")
            sock.close()
        self.assertEqual(daemon.wait(), 0)
        self.assertNotIn("did not finish", daemon.output.text)
        return time.monotonic() - began
