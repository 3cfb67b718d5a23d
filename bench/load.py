"""The load generator: build it, run it, read what it says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.cores import on_cores

FOLDER = Path(__file__).parent
BUILD = FOLDER / "build"

#: Every C program of the benchmark, by the name of its executable.
SOURCES = {
    "load": FOLDER / "load.c",
    "epoll_echo": FOLDER / "peers" / "epoll_echo.c",
    "udp_time": FOLDER / "peers" / "udp_time.c",
}

COMPILER = ("cc", "-O2", "-Wall", "-Wextra")


class LoadFailed(Exception):
    """The load could not be built, or could not make its measurement."""


@dataclass(frozen=True)
class LoadReport:
    """
    What the load counted in its window.

    @ivar seconds: length of the window; for C{idle}: how long the opening took.
    @ivar messages: complete and correct replies.
    @ivar unserved: connections without any reply in the window.
    @ivar load_busy: the part of its core that the load itself used.
    """

    mode: str
    seconds: float
    messages: int
    errors: int
    first_error: str
    bytes: int = 0
    p50_us: float = 0.0
    p99_us: float = 0.0
    lost: int = 0
    unserved: int = 0
    load_busy: float = 0.0
    asked: int = 0


def program(name: str) -> Path:
    """
    The executable of a C program of the benchmark, compiled if it is not there or too old.

    @raise LoadFailed: if it cannot be compiled.
    """
    source, target = SOURCES[name], BUILD / name
    if target.exists() and target.stat().st_mtime > source.stat().st_mtime:
        return target
    BUILD.mkdir(exist_ok=True)
    try:
        subprocess.run(
            [*COMPILER, "-o", target, source], check=True, capture_output=True, text=True
        )
    except FileNotFoundError:
        raise LoadFailed("a C compiler is needed and there is no cc") from None
    except subprocess.CalledProcessError as error:
        raise LoadFailed(f"{source.name} does not compile: {error.stderr}") from None
    return target


def run(
    arguments: Iterable[str], cores: Collection[int], on_mark: Callable[[str], None]
) -> LoadReport:
    """
    Run one load to its end. It ends by itself.

    @param cores: where it runs.
    @param on_mark: called with C{"begin"} and C{"end"} of the window, or with C{"held"} once all
        idle connections are open; the load waits until the call is over.
    @raise LoadFailed: with what the load says was wrong.
    """
    command = [str(program("load")), *arguments]
    pipe = subprocess.PIPE
    with on_cores(cores):
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    try:
        return _follow(process, on_mark)
    finally:
        process.kill()
        process.communicate()


def _follow(process: subprocess.Popen[str], on_mark: Callable[[str], None]) -> LoadReport:
    """Read lines until the last one, which is the report."""
    assert process.stdin and process.stdout and process.stderr
    for line in map(str.strip, process.stdout):
        if line.startswith("{"):
            return parse(line)
        on_mark(line)
        with suppress(BrokenPipeError):  # it died: its last words are read below
            process.stdin.write("\n")
            process.stdin.flush()
    said = process.stderr.read().strip()
    raise LoadFailed(said or f"the load ended with status {process.wait()}")


def parse(line: str) -> LoadReport:
    """The report from the load's last line."""
    return LoadReport(**json.loads(line))
