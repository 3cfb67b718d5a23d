"""
How late the daemon's timers are while peers flood it: C{python -m bench.lag}.

The daemon's own service tree runs in this process, with a timer that should fire
every few milliseconds, while the load generator floods it from the other core.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.epollreactor import EPollReactor

from bench.cores import choose, on_cores
from bench.load import program
from socketd.configuration import Configuration
from socketd.daemon.wiring import make_daemon
from socketd.net.reactor.batch import BatchReactor
from socketd.protocols.registry import installed
from socketd.settings.load import parse

INI = """
[defaults]
log_connections = no
[echo]
listen = tcp:0:interface=127.0.0.1
[time]
listen = udp:0:interface=127.0.0.1
"""

#: Chosen before this process is bound to one of them.
CORES = choose()

#: How often the timer should fire (seconds).
PERIOD = 0.005

#: How long each flood lasts (seconds).
SECONDS = 2.0

#: The mode of the load generator and its further arguments.
FLOODS = (
    ("one connection, bulk", "echo", ("--connections", "1", "--size", "65536")),
    ("1000 connections", "echo", ("--connections", "1000", "--size", "64")),
    ("one UDP socket", "udp", ("--connections", "1", "--in-flight", "64")),
    ("8 UDP sockets", "udp", ("--connections", "8", "--in-flight", "16")),
)


@dataclass
class Watch:
    """
    A timer that measures how late it fires.

    @ivar worst: the longest delay (seconds).
    """

    reactor: Any
    worst: float = 0.0
    due: float = field(default=0.0)

    def start(self) -> None:
        """Restart the measurement."""
        self.worst, self.due = 0.0, time.monotonic() + PERIOD
        self.reactor.callLater(PERIOD, self.fire)

    def fire(self) -> None:
        """Note the delay, and go on."""
        now = time.monotonic()
        self.worst = max(self.worst, now - self.due)
        self.due = now + PERIOD
        self.reactor.callLater(PERIOD, self.fire)


def flood(mode: str, port: int, arguments: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Start the load generator on the other core."""
    times = ("--seconds", str(SECONDS), "--warm-up", "0.1")
    command = [str(program("load")), mode, "--port", str(port), *arguments, *times]
    with on_cores(CORES.load):
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def measure(mode: str, arguments: tuple[str, ...]) -> float:
    """
    Flood a daemon of its own.

    @return: the longest delay of its timer (seconds).
    """
    reactor = EPollReactor()
    reactor.seconds = time.monotonic
    configuration = Configuration(parse(INI, "lag.ini", installed(), "/run"))
    daemon = make_daemon(BatchReactor(reactor), configuration, time.time)
    daemon.privilegedStartService()
    daemon.startService()
    name = "time" if mode == "udp" else "echo"
    (service,) = (one for one in daemon.services if one.name == name)
    port = service.bound[0].sock.getsockname()[1]
    watch = Watch(reactor)

    def begin() -> None:
        load = flood(mode, port, arguments)
        watch.start()
        wait(load)

    def wait(load: subprocess.Popen[bytes]) -> None:
        if load.poll() is None:
            reactor.callLater(0.05, wait, load)
        else:
            reactor.stop()

    reactor.callLater(0, begin)
    reactor.run(installSignalHandlers=False)
    return watch.worst


def main() -> int:
    """Flood in every way and print how late the timer was."""
    os.sched_setaffinity(0, CORES.server)
    for name, mode, arguments in FLOODS:
        late = measure(mode, arguments) * 1000
        print(f"{name}: a timer of {PERIOD * 1000:g} ms was {late:.1f} ms late at most")
    return 0


if __name__ == "__main__":
    sys.exit(main())
