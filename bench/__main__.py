"""The command line: C{python -m bench}."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path

from bench import before, load, machine, proc, report, runner, syscalls
from bench.cores import Cores
from bench.cores import choose as choose_cores
from bench.load import LoadFailed
from bench.measure import Bench, raise_file_limit
from bench.process import ServerFailed
from bench.reach import SUBJECT, SUBJECTS
from bench.report import Run
from bench.servers import BY_NAME, Server
from bench.syscalls import NoStrace
from bench.works import FULL, QUICK, QUICK_PEERS, WORKS, Work, choose

#: What is published: only a full run replaces it without being told to.
FULL_OUTPUT = load.FOLDER / "RESULTS.md"
PARTIAL_OUTPUT = load.BUILD / "RESULTS.md"

#: What people have to say about the results.
NOTES = load.FOLDER / "notes.md"

OK, FAILED, USAGE = 0, 1, 2


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m bench", description="Measure socketd.")
    top.add_argument("--quick", action="store_true", help="less than a minute")
    top.add_argument("--only", metavar="WORK", type=_names, default=[], help=_works())
    top.add_argument("--servers", metavar="A,B", type=_names, default=[], help=_servers())
    top.add_argument("--reactor", default="", help="what socketd's twistd is told to use")
    top.add_argument("--output", type=Path, help=f"default: {FULL_OUTPUT.name}; build/ if partial")
    commands = top.add_subparsers(dest="command", title="commands")
    profile = commands.add_parser("profile", help="count the system calls under one load")
    profile.add_argument("work", help=_works())
    profile.add_argument("--server", default=SUBJECT, help=_servers())
    earlier = commands.add_parser("before", help="compare with another checkout, in turn")
    earlier.add_argument("checkout", type=Path, help="a folder in which make test was run")
    return top


def _names(text: str) -> list[str]:
    """Names between commas."""
    return [name for name in text.split(",") if name]


def _works() -> str:
    """Every work there is."""
    return ", ".join(work.name for work in WORKS)


def _servers() -> str:
    """Every server there is."""
    return ", ".join(BY_NAME)


def choose_servers(names: Sequence[str], quick: bool) -> dict[str, Server]:
    """
    The servers that were asked for.

    @raise ValueError: for a name that no server has.
    """
    for name in names:
        if name not in BY_NAME:
            raise ValueError(f"no server {name!r}; there are {_servers()}")
    chosen = names or (QUICK_PEERS if quick else BY_NAME)
    return {name: BY_NAME[name] for name in chosen}


def choose_works(names: list[str], quick: bool, servers: Collection[str]) -> tuple[Work, ...]:
    """
    The works that were asked for and that one of the servers does.

    @raise ValueError: for a name that no work has, or if there are none left.
    """
    works = tuple(w for w in choose(names, quick) if set(w.servers) & set(servers))
    if not works:
        raise ValueError("none of these servers does any of these works")
    return works


def measure(options: argparse.Namespace) -> int:
    """Measure, print the table, write the page."""
    chosen_servers = choose_servers(options.servers, options.quick)
    chosen_works = choose_works(options.only, options.quick, chosen_servers)
    output = output_for(options)
    effort = QUICK if options.quick else FULL
    cores = prepare()
    load.program("load")
    began, others = time.monotonic(), proc.others_cpu_seconds()
    with closing(Bench(cores, effort, options.reactor)) as bench:
        results = runner.run(chosen_works, chosen_servers, effort.rounds, bench.sample, _say)
    part = (proc.others_cpu_seconds() - others) / (time.monotonic() - began)
    run = Run(machine.describe(), effort, chosen_works, results, part)
    _publish(run, output)
    failed = any(o.failed for o in results.outcomes if o.server in SUBJECTS)
    return FAILED if failed else OK


def compare(options: argparse.Namespace) -> int:
    """Print how this checkout does beside another one."""
    servers = before.servers(options.checkout)
    works = before.works(choose(options.only, options.quick))
    effort = QUICK if options.quick else FULL
    cores = prepare()
    load.program("load")
    with closing(Bench(cores, effort, options.reactor)) as bench:
        results = runner.run(works, servers, effort.rounds, bench.sample, _say)
    print(before.ratios(works, results))
    return FAILED if any(outcome.failed for outcome in results.outcomes) else OK


def prepare() -> Cores:
    """
    Get this process ready: it ends cleanly on SIGTERM, and stays off the servers' core.

    @return: who runs where.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(FAILED))
    raise_file_limit()
    cores = choose_cores()
    if cores.shared:
        _say("There is one core only: the load takes its time from the servers.")
    os.sched_setaffinity(0, cores.load)
    return cores


def output_for(options: argparse.Namespace) -> Path:
    """
    Where the page goes.

    @raise ValueError: if it cannot be written there.
    """
    partial = options.quick or options.only or options.servers or options.reactor
    given: Path | None = options.output
    if given and not given.parent.is_dir():
        raise ValueError(f"no folder {given.parent} to write {given.name} to")
    return given or (PARTIAL_OUTPUT if partial else FULL_OUTPUT)


def _publish(run: Run, output: Path) -> None:
    """Print the tables and keep the page."""
    print(report.one_table(run.works, run.results))
    print(report.reach_table(run.results))
    output.write_text(report.page(run, NOTES.read_text() if NOTES.exists() else ""))
    _say(f"{run.warning}\nwritten to {output}".strip())


def profile(options: argparse.Namespace) -> int:
    """Print a server's system calls under one load."""
    works = [work for work in choose([options.work], quick=False) if work.load]
    if not works:
        raise ValueError(f"{options.work} has no load to count system calls under")
    cores = prepare()
    (server,) = choose_servers([options.server], quick=False).values()
    if reason := server.missing():
        raise ServerFailed(reason)
    for work in works:
        print(f"{server.title}: {work.title}")
        print(syscalls.profile(work, server, cores, options.reactor))
    return OK


def _say(line: str) -> None:
    """Tell how it goes, apart from what comes out."""
    print(line, file=sys.stderr, flush=True)


COMMANDS: dict[str | None, Callable[[argparse.Namespace], int]] = {
    None: measure,
    "before": compare,
    "profile": profile,
}


def main(arguments: Sequence[str]) -> int:
    """
    Do what the command line asks for.

    @return: the exit status.
    """
    options = parser().parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except ValueError as error:
        _say(f"bench: {error}")
        return USAGE
    except (LoadFailed, NoStrace, ServerFailed) as error:
        _say(f"bench: {error}")
        return FAILED
    except KeyboardInterrupt:
        return FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
