"""Where the time goes, without slowing the interpreter: socketd's system calls under one load."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import load
from bench.cores import Cores
from bench.measure import load_options
from bench.process import Running, serving
from bench.report import table
from bench.servers import Server
from bench.works import Work

#: Seconds under load: enough for a mean, short because strace makes every call slow.
SECONDS = 2.0

#: Seconds that strace gets to attach and to write its summary.
STRACE_LIMIT = 5.0

#: Columns of C{strace -c}: share, seconds, microseconds each, calls, [errors,] name.
FEWEST_COLUMNS, MOST_COLUMNS = 5, 6

NO_STRACE = "strace is not installed (apt-get install strace)"


class NoStrace(Exception):
    """The profile needs strace."""


@dataclass(frozen=True)
class Calls:
    """One system call in a summary."""

    name: str
    count: int
    errors: int
    seconds: float


def parse_summary(text: str) -> list[Calls]:
    """Read what C{strace -c} writes."""
    calls = []
    for line in text.splitlines():
        cells = line.split()
        if FEWEST_COLUMNS <= len(cells) <= MOST_COLUMNS and cells[3].isdigit():
            errors = int(cells[4]) if len(cells) == MOST_COLUMNS else 0
            calls.append(Calls(cells[-1], int(cells[3]), errors, float(cells[1])))
    return [call for call in calls if call.name != "total"]


def profile(work: Work, server: Server, cores: Cores, reactor: str = "") -> str:
    """
    Run one load against one server under strace.

    @return: a table of system calls for each message.
    @raise NoStrace: if it is not installed.
    """
    if shutil.which("strace") is None:
        raise NoStrace(NO_STRACE)
    timing = ["--seconds", str(SECONDS), "--warm-up", "0"]
    with serving(server, cores.server, work.probe, reactor) as running:
        arguments = [*load_options(work, running.port), *timing]
        with _strace(running) as summary:
            report = load.run(arguments, cores.load, lambda mark: None)
        calls = parse_summary(summary.read_text())
    return render(calls, max(report.messages, 1), work.each)


def render(calls: list[Calls], messages: int, each: str) -> str:
    """The most frequent calls first."""
    rows = [
        [call.name, str(call.count), f"{call.count / messages:.3f}", str(call.errors)]
        for call in sorted(calls, key=lambda call: -call.count)
    ]
    total = sum(call.count for call in calls)
    rows.append(["all", str(total), f"{total / messages:.3f}", ""])
    return table(("call", "count", f"for each {each}", "errors"), rows)


@contextmanager
def _strace(running: Running) -> Iterator[Path]:
    """Count a server's calls as long as the block lasts; the summary is there afterwards."""
    summary = running.log.with_name("strace.txt")
    command = ["strace", "-c", "-f", "-qq", "-o", str(summary), "-p", str(running.pid)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _wait_until_traced(running.pid)
        yield summary
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(STRACE_LIMIT)


def _wait_until_traced(pid: int) -> None:
    """Wait until strace has its hands on it."""
    deadline = time.monotonic() + STRACE_LIMIT
    while "TracerPid:\t0\n" in Path(f"/proc/{pid}/status").read_text():
        if time.monotonic() > deadline:
            raise NoStrace("strace may not attach to the server: see ptrace(2), ptrace_scope")
        time.sleep(0.01)
