"""The system has no descriptor, no memory or no room on its disk any more."""

from __future__ import annotations

import json
import os
import resource
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from socketd.net.datagram.port import RECEIVE_PAUSE
from tests.chaos import figures
from tests.chaos.fault_case import FaultCase, echoes, with_mounts, with_syscall_faults
from tests.support.polling import DEADLINE, wait_until
from tests.support.processes import Daemon

#: How often an injected call fails.
FAILURES = 4

#: Processor time that the daemon may take while calls fail (seconds): a busy loop would
#: take nearly all of what passes.
BUSY = 0.5

#: Peers that wait meanwhile.
WAITING = 20

#: What a log has that is full (bytes), and what there is room for at first.
DISK = 64 * 1024
LEFT = 8 * 1024

#: Memory that is left to a daemon (bytes), and what peers would have it keep: some
#: 100 KiB for each.
SPARE = 8 * 1024 * 1024
GREEDY = 300

BOTH = """
[echo]
listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1
log_connections = no
"""


class InjectedTests(FaultCase):
    """System calls that fail as they do on a machine that has nothing left."""

    def serve(self, *faults: str) -> Daemon:
        """Start a daemon whose calls fail."""
        return self.daemon(BOTH, before=with_syscall_faults(*faults))

    @contextmanager
    def unhurried(self, daemon: Daemon) -> Iterator[None]:
        """See that no processor time is wasted meanwhile, under a tracer that takes some."""
        began = daemon.processor_seconds()
        yield
        self.assertLess(daemon.processor_seconds() - began, BUSY)

    def check_accept(self, name: str, text: str) -> None:
        """Have peers wait until accept(2) works again."""
        fault = f"accept4:error={name}:when=1..{FAILURES}"
        with self.serve(fault) as daemon, ExitStack() as stack:
            daemon.address("echo", "udp")
            with self.unhurried(daemon):
                began = time.monotonic()
                socks = [stack.enter_context(daemon.connect("echo")) for _ in range(WAITING)]
                for sock in socks:
                    self.check_echo(sock)
                passed = time.monotonic() - began
            line = f"cannot accept connections: {text}; retrying every 1.0 s"
            self.assertEqual(daemon.output.text.count("cannot accept"), 1)
            daemon.output.find(line)
        figures.note(self, f"{FAILURES} failures: {WAITING} peers served after {passed:.1f} s")

    def test_enfile(self) -> None:
        """Where the system has no descriptor, peers wait and are served; one line says so."""
        self.check_accept("ENFILE", "Too many open files in system")

    def test_enomem(self) -> None:
        """So it is without memory."""
        self.check_accept("ENOMEM", "Cannot allocate memory")

    def test_enobufs(self) -> None:
        """So it is without buffers."""
        self.check_accept("ENOBUFS", "No buffer space available")

    def check_datagrams(self, fault: str, patience: float) -> int:
        """
        Ask by datagram while a call fails.

        @param patience: how long each answer is waited for (seconds).
        @return: how many answers came to as many questions as it fails, and one.
        """
        with self.serve(f"{fault}:when=1..{FAILURES}") as daemon:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(DEADLINE)
                sock.connect(daemon.address("echo", "udp"))
                found, began = set(), time.monotonic()
                with self.unhurried(daemon):
                    for number in range(FAILURES + 1):
                        # The last one may take as long as it likes.
                        patience = patience if number < FAILURES else DEADLINE
                        sock.send(b"%d" % number)
                        if select.select([sock], [], [], patience)[0]:
                            found.add(sock.recv(10))
                self.assertIn(b"%d" % FAILURES, found)
                self.passed = time.monotonic() - began
            self.assertNotIn("error", daemon.output.text)
        return len(found)

    def test_receive(self) -> None:
        """Datagrams wait while they cannot be received, and are answered then: none is lost."""
        for name in ("ENOMEM", "ENOBUFS"):
            found = self.check_datagrams(f"recvmmsg:error={name}", 2.0)
            self.assertEqual(found, FAILURES + 1)
            # It has not tried again and again in between.
            self.assertGreater(self.passed, FAILURES * RECEIVE_PAUSE)

    def test_send(self) -> None:
        """Answers that cannot be sent are lost; the next ones are not."""
        for name in ("ENOMEM", "ENOBUFS"):
            self.assertEqual(self.check_datagrams(f"sendmmsg:error={name}", 0.3), 1)


class FullDiskTests(FaultCase):
    """The log's disk gets full."""

    def test_full(self) -> None:
        """
        The daemon serves on, logs again when there is room, and says how many lines were
        lost; at most one is cut.
        """
        there = self.directory / "log"
        there.mkdir()
        before = with_mounts(f"mount -t tmpfs -o size={DISK} none {there}")
        ini = f"[socketd]\nlog_format = json\n[echo]\nlisten = unix:{self.directory}/echo.sock\n"
        daemon = self.daemon(ini, before=before, twistd=[f"--logfile={there}/socketd.log"])
        path = f"{self.directory}/echo.sock"
        wait_until(lambda: echoes(path))
        seen = Path(f"/proc/{daemon.pid}/root{there}")
        log, ballast = seen / "socketd.log", seen / "ballast"
        ballast.write_bytes(bytes(DISK - LEFT))
        # Each has some 350 bytes of the log.
        for _ in range(100):
            self.assertTrue(echoes(path))
        self.assertEqual(os.statvfs(seen).f_bavail, 0)
        full = log.stat().st_size
        ballast.unlink()
        self.assertTrue(echoes(path))
        wait_until(lambda: log.stat().st_size > full)
        with log.open("rb") as file:
            daemon.ask_to_stop()
            self.assertEqual(daemon.wait(), 0)
            lines = file.read().splitlines()
        cut = [line for line in lines if not _is_json(line)]
        self.assertLess(len(cut), 2, cut)
        (lost,) = (json.loads(line) for line in lines if b'"lines_lost"' in line)
        figures.note(self, f"{lost['count']} lines lost")
        self.assertEqual(json.loads(lines[-1])["event"], "twisted")


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


class MemoryTests(FaultCase):
    """A daemon that may have no more memory."""

    def test_greedy_peers(self) -> None:
        """
        Peers that push and never read are reset where memory does not suffice; the
        daemon serves others once they have gone, or it ends in a way at which systemd
        starts it again; it does not hang.
        """
        daemon = self.daemon(BOTH)
        address = daemon.address("echo")
        self.assertTrue(echoes(address))
        size = int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[0])
        limit = size * resource.getpagesize() + SPARE
        resource.prlimit(daemon.pid, resource.RLIMIT_AS, (limit, limit))
        with ExitStack() as stack:
            greedy = [stack.enter_context(daemon.connect("echo")) for _ in range(GREEDY)]
            gone = self._push(greedy)
        self.assertGreater(gone, 0)
        wait_until(lambda: echoes(address) or self._has_ended(daemon))
        if self._has_ended(daemon):
            self.assertNotEqual(daemon.wait(), 0)
            figures.note(self, f"{gone} of {GREEDY} greedy peers reset; then it ended")
        else:
            daemon.output.find("no memory to receive$")
            figures.note(self, f"{gone} of {GREEDY} greedy peers reset; it served on")

    def _has_ended(self, daemon: Daemon) -> bool:
        return daemon._process.poll() is not None

    def _push(self, socks: list[socket.socket]) -> int:
        """Send until no more is taken; return how many have been reset."""
        gone = 0
        for sock in socks:
            sock.setblocking(False)
        left = set(socks)
        while left and (ready := select.select([], list(left), [], 1.0)[1]):
            for sock in ready:
                try:
                    sock.send(bytes(65536))
                except BlockingIOError:
                    pass
                except OSError:
                    gone += 1
                    left.discard(sock)
        return gone
