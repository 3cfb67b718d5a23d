"""
One sample of one server.

For a rate all servers of a work are kept running, so that their turns are close
together: what disturbs the machine for seconds disturbs them all.
"""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from subprocess import Popen

from bench import load, nts, offset, proc, shares
from bench.cores import Cores
from bench.held import HELD_SOCKET, MESSAGE, bytes_per_message
from bench.load import LoadFailed, LoadReport
from bench.peers.listening import BESIDE
from bench.process import Running, ServerFailed, serving
from bench.results import Sample
from bench.servers import LATENCY, Server
from bench.works import IDLE_CONNECTIONS, LATE_CONNECTIONS, Effort, Kind, Work

#: Descriptors beyond the idle connections that a server or the load has open.
SPARE_FILES = 200

#: Seconds for a server to settle before its memory is read.
SETTLE = 0.3

#: Seconds for all workers to start, when one has answered.
WORKERS_SETTLE = 3.0

#: Seconds that idle connections are held at most while the memory is read; and that those with a
#: latency are asked, so that each answers twice.
LOAD_SECONDS = {Kind.IDLE: 30.0, Kind.LATE: 2.0}

#: Seconds of load in which a client looks at the clock, several times what it needs.
OFFSET_SECONDS = 1.0

#: Seconds that the first reply may take.
ASK_LIMIT = 5.0

#: Bytes in a megabyte of a rate, a kibibyte and a mebibyte of memory.
MB, KIB, MIB = 1e6, 1024, 1024 * 1024

#: Microseconds and milliseconds in a second.
US, MS = 1e6, 1e3


class RunFailed(Exception):
    """A round gave no figure."""


@dataclass
class Bench:
    """
    How to take samples; L{close} ends what it keeps running.

    @ivar reactor: what twistd is told to use; empty: its own choice.
    """

    cores: Cores
    effort: Effort
    reactor: str = ""
    _work: str = ""
    _kept: dict[str, Running] = field(default_factory=dict)
    _servers: ExitStack = field(default_factory=ExitStack)

    def sample(self, work: Work, server: Server) -> Sample:
        """
        Measure a server once, freshly started where its memory or its start counts.

        @raise RunFailed: if there is no figure.
        """
        try:
            if not work.fresh:
                return self._measure(work, self._running(work, server))
            self.close()
            with self._serving(work, server) as running:
                return self._measure(work, running)
        except ServerFailed as error:
            raise RunFailed(str(error)) from None

    def close(self) -> None:
        """Stop the servers of the last work."""
        self._kept.clear()
        self._servers.close()

    def _running(self, work: Work, server: Server) -> Running:
        """The server, started if it is the first time in this work."""
        if work.name != self._work:
            self.close()
            self._work = work.name
        if server.name not in self._kept:
            self._kept[server.name] = self._servers.enter_context(self._serving(work, server))
        return self._kept[server.name]

    def _serving(self, work: Work, server: Server) -> AbstractContextManager[Running]:
        return serving(server, self._cores(work).server, work.probe, self.reactor)

    def _cores(self, work: Work) -> Cores:
        """Who runs where in a work."""
        return self.cores.together if work.together else self.cores

    def _measure(self, work: Work, running: Running) -> Sample:
        """The sample of a server that answers."""
        try:
            if work.kind is Kind.START:
                return _start_sample(running)
            if work.kind is Kind.WORKERS:
                return _workers_sample(running)
            if work.kind is Kind.IDLE:
                return self._idle_sample(work, running)
            if work.kind is Kind.LATE:
                return self._late_sample(work, running)
            if work.kind is Kind.PACED:
                return self._paced_sample(work, running)
            if work.kind is Kind.OFFSET:
                return self._offset_sample(work, running)
            if work.kind is Kind.SHARE:
                return _share_sample(running)
            return self._rate_sample(work, running)
        except LoadFailed as error:
            said = running.last_line()
            raise RunFailed(f"{error}; server: {said}" if said else str(error)) from None

    def _run_load(
        self, work: Work, running: Running, on_mark: Callable[[str], None], *more: str
    ) -> LoadReport:
        """One load, with more options than the work has, and what it counted."""
        seconds = LOAD_SECONDS.get(work.kind, self.effort.seconds)
        timing = ["--seconds", str(seconds), "--warm-up", str(self.effort.warm_up)]
        arguments = [*load_options(work, running.port), *timing, *more]
        report = load.run(arguments, self._cores(work).load, on_mark)
        if report.errors:
            raise LoadFailed(f"{report.errors} errors, the first: {report.first_error}")
        if not report.messages:
            raise LoadFailed("not one reply in the measured time")
        return report

    def _rate_sample(self, work: Work, running: Running) -> Sample:
        """Answers, or bytes, by the second."""
        cpu: dict[str, float] = {}

        def on_mark(mark: str) -> None:
            cpu[mark] = proc.cpu_seconds(running.pid)

        report = self._run_load(work, running, on_mark)
        counted = report.bytes / MB if work.kind is Kind.BULK else report.messages
        return Sample(
            figure=counted / report.seconds,
            p50_us=report.p50_us or None,
            p99_us=report.p99_us or None,
            cpu_us=(cpu["end"] - cpu["begin"]) / report.messages * US,
            load_busy=report.load_busy,
            note=_note(report),
        )

    def _half(self, work: Work, running: Running) -> list[str]:
        """The load's options for half of the rate that a server reaches now."""
        peak = self._run_load(work, running, lambda mark: None)
        connections = int(work.load[work.load.index("--connections") + 1])
        return ["--every", str(2 * connections * peak.seconds / peak.messages)]

    def _paced_sample(self, work: Work, running: Running) -> Sample:
        """How late answers are while there is time for as many again."""
        half = self._half(work, running)
        report = self._run_load(work, running, lambda mark: None, *half)
        note = f"{report.messages / report.seconds:.0f}/s"
        return Sample(report.p99_us, report.p50_us, report.p99_us, note=note)

    def _offset_sample(self, work: Work, running: Running) -> Sample:
        """How wrong this machine's clock is by a server of the time."""
        if work.name == "offset":
            return Sample(offset.us(offset.ask(running), ASK_LIMIT))
        asked: list[Popen[str]] = []
        late: list[bool] = []

        def on_mark(mark: str) -> None:
            if mark == "begin":
                asked.append(offset.ask(running))
            else:
                late.append(asked[0].poll() is None)

        half = self._half(work, running)
        self._run_load(work, running, on_mark, *half, "--seconds", str(OFFSET_SECONDS))
        note = "the load ended before the client" if any(late) else ""
        return Sample(offset.us(asked[0], ASK_LIMIT), note=note)

    def _late_sample(self, work: Work, running: Running) -> Sample:
        """How much later answers are than they should be."""
        require_files(LATE_CONNECTIONS + SPARE_FILES)
        report = self._run_load(work, running, lambda mark: None)
        late, note = report.p99_us * MS / US, ""
        if (running.log.parent / HELD_SOCKET).exists():
            late -= LATENCY
            held = bytes_per_message(running.pid, running.log.parent)
            note = f"{held:.0f} bytes of memory for each held message of {len(MESSAGE)}"
        return Sample(figure=late, p50_us=report.p50_us, p99_us=report.p99_us, note=note)

    def _idle_sample(self, work: Work, running: Running) -> Sample:
        """What each idle connection costs the server."""
        require_files(IDLE_CONNECTIONS + SPARE_FILES)
        time.sleep(SETTLE)
        before = proc.resident_bytes(running.pid)
        held: list[int] = []

        def on_mark(_mark: str) -> None:
            time.sleep(SETTLE)
            held.append(proc.resident_bytes(running.pid))

        report = self._run_load(work, running, on_mark)
        note = f"{report.messages} of {report.asked} asked answered"
        each = (held[0] - before) / IDLE_CONNECTIONS / KIB
        return Sample(figure=each, memory_mib=held[0] / MIB, note=note)


def _share_sample(running: Running) -> Sample:
    """How far the shares of lost, doubled and late answers are from those of the profile."""
    found = shares.ask(running.port)
    return Sample(figure=max(map(abs, found.deviations.values())), note=str(found))


def _start_sample(running: Running) -> Sample:
    """How long it took, and what it holds now."""
    memory = proc.resident_bytes(running.pid) / MIB
    return Sample(figure=running.start_seconds * MS, memory_mib=memory)


def _workers_sample(running: Running) -> Sample:
    """What each worker holds, with its part of what all share."""
    time.sleep(WORKERS_SETTLE)
    workers = proc.children(running.pid)
    if not workers:
        raise RunFailed("there is no worker")
    held = sum(map(proc.proportional_bytes, workers)) / len(workers) / MIB
    return Sample(held, note=f"{len(workers)} workers")


def load_options(work: Work, port: int) -> list[str]:
    """
    What the load is told about a work, and what has to be asked of the server first.

    @raise LoadFailed: if it does not answer that.
    """
    options = [*work.load, "--port", str(port)]
    if work.load[0] == "ask":
        options += ["--size", str(reply_size(work, port))]
    if work.load[0] == "nts":
        options += ["--datagram", nts.request(port).hex()]
    return options


def reply_size(work: Work, port: int) -> int:
    """Ask once, and count the bytes of the reply, which are the same in each."""
    said = dict(zip(work.load[1::2], work.load[2::2]))
    answer = said["--answer"].encode()
    with socket.create_connection((BESIDE, port), ASK_LIMIT) as sock, sock.makefile("rb") as file:
        if "--first" in said:
            sock.sendall(os.fsencode(said["--first"]))
            while file.readline() not in (b"\r\n", b""):
                pass
        sock.sendall(os.fsencode(said["--question"]))
        reply = b""
        while not reply.endswith(answer):
            byte = file.read(1)
            if not byte:
                raise LoadFailed("no reply that ends as it should")
            reply += byte
    return len(reply)


def _note(report: LoadReport) -> str:
    """What a reader of the figure has to know."""
    said = []
    if report.lost:
        said.append(f"{report.lost / (report.lost + report.messages):.1%} lost")
    if report.unserved:
        said.append(f"{report.unserved} connections without any reply")
    return ", ".join(said)


def require_files(count: int) -> None:
    """
    Check that a server and the load may have so many descriptors.

    @raise RunFailed: if the system does not allow it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        raise RunFailed(f"RLIMIT_NOFILE is {soft} (hard {hard}) and {count} are needed")


def raise_file_limit() -> None:
    """As many descriptors as the system allows; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
