"""Processes that are killed, stopped, and reloaded."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from random import Random
from statistics import median

from socketd.net.timer_wheel import TICK
from tests.chaos import figures
from tests.chaos.fault_case import INI, FaultCase, echoes
from tests.support.certificates import issued
from tests.support.polling import DEADLINE, repeating, wait_until
from tests.support.ports import free_port
from tests.support.processes import Daemon
from tests.support.sockets import address_of, read_exactly, read_to_end

#: A start takes about so long (seconds), and what serves is given half of that at most.
START = 0.6

#: Files beside the daemon's.
OTHERS = ("other.sock", "notes", "link")

#: Once it continues, all that waited is answered in so many seconds, and the watchdog is fed.
RESUMED = 5.0

#: Peers that come while it is stopped.
CROWD = 40

STOP_INI = """
[echo]
listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1
idle_timeout = {idle}ms
first_byte_timeout = {idle}ms
"""

#: A reload takes so many seconds at most, half of all and the slowest; the machine may be
#: busy with other things for a while.
RELOAD = 0.2
SLOWEST = 1.0

#: What any number of reloads may cost (bytes); a service has some 100 KiB.
GROWTH = 3 * 1024 * 1024

#: After so many reloads everything is there that stays.
WARM = 10

BOTH = """
[socketd]
control = {directory}/control.sock
http = unix:{directory}/http.sock
[defaults]
log_connections = no
[echo]
listen = tcp:{port}:interface=127.0.0.1, udp:{port}:interface=127.0.0.1
idle_timeout = {idle}s
[secure]
protocol = echo
listen = tls:0:interface=127.0.0.1
tls_certificate = {directory}/server.pem
max_connections = {idle}
"""

#: What one of the two configurations has besides.
MORE = """
[more]
protocol = upper
framing = line
listen = tcp:0:interface=127.0.0.1, unix:{directory}/more.sock
[time]
listen = udp:0:interface=127.0.0.1
"""


class KillTests(FaultCase):
    """kill -9, of one daemon after the other at the same addresses, with the same files."""

    kills = 2
    seed = 9

    def test_kill(self) -> None:
        """
        A daemon that was killed anywhere in its start, or while it served and reloaded under
        load, serves when it is started again: its old sockets and process number do not keep
        it from that.
        """
        print(f"seed {self.seed}")
        random, self.port = Random(self.seed), free_port()
        daemon, back = self._come_back()[0], []
        for _ in range(self.kills // 2):
            with repeating(lambda: echoes(("127.0.0.1", self.port))):
                daemon.signal(signal.SIGHUP)
                _pass(random.uniform(0, START / 2))
                daemon.kill()
                daemon = self._start()
                _pass(random.uniform(0, START))
                daemon.kill()
            daemon, seconds = self._come_back()
            back.append(seconds)
        daemon.ask_to_stop()
        self.assertEqual(daemon.wait(), 0)
        figures.note(
            self, f"back after {median(back):.2f} s (median), {max(back):.2f} s (slowest)"
        )

    def _start(self) -> Daemon:
        ini = INI.format(directory=self.directory, port=self.port)
        return self.daemon(ini, twistd=[f"--pidfile={self.directory}/twistd.pid"])

    def _come_back(self) -> tuple[Daemon, float]:
        """
        Start it, and wait until every address answers; the files of others stay.

        @return: the daemon, and how long that took (seconds).
        """
        directory = self.directory
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(f"{directory}/other.sock")
            other.listen()
            (directory / "notes").write_text("keep me")
            (directory / "link").symlink_to("nowhere")
            before = self._files()
            # One that was killed early in its start has not written it yet.
            is_stale = (directory / "twistd.pid").exists()
            began = time.monotonic()
            daemon = self._start()
            wait_until(lambda: echoes(("127.0.0.1", self.port)))
            seconds = time.monotonic() - began
            self.assertTrue(echoes(f"{directory}/echo.sock"))
            if is_stale:
                daemon.errors.find("Removing stale pidfile")
            with socket.socket(socket.AF_UNIX) as control:
                control.settimeout(DEADLINE)
                control.connect(f"{directory}/control.sock")
                control.sendall(b"status\n")
                self.assertIn(b"1 services", control.recv(4096))
            self.assertEqual(self._files(), before)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(f"{directory}/other.sock")
        for name in OTHERS:
            (directory / name).unlink()
        return daemon, seconds

    def _files(self) -> dict[str, int]:
        """List the files that are not the daemon's, by their inodes."""
        return {name: os.lstat(self.directory / name).st_ino for name in OTHERS}


class StopTests(FaultCase):
    """
    SIGSTOP, as by a debugger or a frozen machine, and SIGCONT.

    @ivar seconds: how long it is stopped, which is more than its deadlines.
    """

    seconds = 1.0

    def test_stop(self) -> None:
        """
        What came while the daemon was stopped is answered when it continues, no peer is
        refused, and only one that was silent all the time is closed.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(f"{self.directory}/notify")
            systemd.settimeout(DEADLINE)
            watchdog = str(int(self.seconds * 5e5))
            environment = self.environment(
                NOTIFY_SOCKET=f"{self.directory}/notify", WATCHDOG_USEC=watchdog
            )
            ini = STOP_INI.format(idle=int(self.seconds * 800))
            with self.daemon(ini, env=environment) as daemon:
                self._check(daemon, systemd)

    def _check(self, daemon: Daemon, systemd: socket.socket) -> None:
        talks, silent = daemon.connect("echo"), daemon.connect("echo")
        asks = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asks.settimeout(DEADLINE)
        asks.connect(daemon.address("echo", "udp"))
        self.check_echo(talks)
        self.check_echo(silent)
        # It has seen that they are silent when it is stopped.
        _pass(2.5 * TICK)
        daemon.signal(signal.SIGSTOP)
        came = [daemon.connect("echo") for _ in range(CROWD)]
        for sock in (talks, asks, *came):
            sock.sendall(b"hello")
        _pass(self.seconds)
        while select.select([systemd], [], [], 0)[0]:
            systemd.recv(4096)
        daemon.signal(signal.SIGCONT)
        began = time.monotonic()
        while systemd.recv(4096) != b"WATCHDOG=1":
            pass
        for sock in (talks, asks, *came):
            self.assertEqual(read_exactly(sock, 5), b"hello")
        passed = time.monotonic() - began
        figures.note(self, f"stopped {self.seconds} s: all answered after {1000 * passed:.0f} ms")
        self.assertLess(passed, RESUMED)
        while not select.select([silent], [], [], self.seconds / 20)[0]:
            self.check_echo(talks)
        self.assertEqual(read_to_end(silent), b"")
        self.check_echo(talks)
        name = address_of(silent)
        silent.close()
        daemon.output.find(rf"{name} \(echo \d+\) idle_timeout")
        self.assertEqual(daemon.output.text.count("idle_timeout"), 1)
        self.assertNotIn("first_byte_timeout", daemon.output.text)
        for sock in (talks, asks, *came):
            sock.close()


class ReloadTests(FaultCase):
    """
    Many reloads.

    @cvar half: how long half of them may take; C{slowest}: how long one may.
    """

    reloads = 50
    half = RELOAD
    slowest = SLOWEST

    def test_reloads(self) -> None:
        """
        While reloads alternate between two configurations, under light load, no peer is refused
        or cut; the daemon has no more memory and descriptors than before.
        """
        made = issued("localhost")
        self.write("server.pem", made.pem() + made.key_pem()).chmod(0o600)
        port = free_port()
        values = {"directory": self.directory, "port": port}
        inis = [BOTH.format(idle=60, **values), (BOTH + MORE).format(idle=90, **values)]

        def load() -> None:
            assert echoes(("127.0.0.1", port)), "a client was refused"

        with self.daemon(inis[0]) as daemon, daemon.connect("echo") as stays:
            with repeating(load) as problems:
                times_taken = self._reload(daemon, stays, inis)
        self.assertEqual(problems, [])
        figures.note(
            self,
            f"{self.reloads} reloads of {1000 * median(times_taken):.0f} ms (median), slowest"
            f" {1000 * max(times_taken):.0f} ms; {self.growth // 1024} KiB more",
        )
        self.assertLess(median(times_taken), self.half)
        self.assertLess(max(times_taken), self.slowest)
        self.assertLess(self.growth, GROWTH)

    def _reload(self, daemon: Daemon, stays: socket.socket, inis: list[str]) -> list[float]:
        found = []
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(DEADLINE)
            control.connect(f"{self.directory}/control.sock")
            answers_of = control.makefile("rb")
            for turn in range(WARM + self.reloads):
                if turn == WARM:
                    memory, descriptors = daemon.resident(), daemon.descriptors()
                self.write("socketd.ini", inis[turn % 2])
                began = time.monotonic()
                control.sendall(b"json reload\n")
                reply = json.loads(answers_of.readline())
                found.append(time.monotonic() - began)
                self.assertTrue(reply["ok"], reply)
                self.check_echo(stays)
            self.assertLess(abs(daemon.descriptors() - descriptors), 3)
            self.growth = 1024 * (daemon.resident() - memory)
        return found[WARM:]


def _pass(seconds: float) -> None:
    """Let time pass: what is waited for here is a moment."""
    select.select([], [], [], seconds)
