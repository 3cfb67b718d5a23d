"""What it was measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from bench.load import FOLDER
from bench.servers import find_program

#: Python packages whose version matters to a figure.
PACKAGES = ("socketd", "Twisted", "uvloop", "attrs", "zope.interface", "cffi")

#: Programs whose version does, and how each is asked.
PROGRAMS = (
    ("xinetd", "xinetd", "-version"),
    ("socat", "socat", "-V"),
    ("chronyd", "chronyd", "--version"),
    ("haproxy", "haproxy", "-v"),
    ("Go", "go", "version"),
    ("C compiler", "cc", "--version"),
)

#: The line of a program's answer that holds its version.
VERSION = re.compile(r"\d+\.\d+")

NOT_THERE = "not installed"


@dataclass(frozen=True)
class Machine:
    """
    The machine and what is installed on it.

    @ivar versions: name and version of everything that matters.
    """

    date: str
    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    versions: tuple[tuple[str, str], ...]


def describe() -> Machine:
    """This machine, now."""
    return Machine(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        cpu=parse_cpu(Path("/proc/cpuinfo").read_text()),
        cores=os.cpu_count() or 1,
        memory_gib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        kernel=f"{platform.system()} {platform.release()}",
        versions=_versions(),
    )


def parse_cpu(cpuinfo: str) -> str:
    """The name of the processor from /proc/cpuinfo."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _versions() -> tuple[tuple[str, str], ...]:
    """Every version that can be asked for."""
    python = ("Python", f"{platform.python_implementation()} {platform.python_version()}")
    packages = [(name, _package_version(name)) for name in PACKAGES]
    programs = [(name, _program_version(*command)) for name, *command in PROGRAMS]
    return (python, *packages, *programs, ("commit", _commit()))


def _package_version(name: str) -> str:
    """The version of a package that may be missing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return NOT_THERE


def _program_version(name: str, option: str) -> str:
    """The version of a program that may be missing."""
    path = find_program(name)
    if path is None:
        return NOT_THERE
    done = subprocess.run([path, option], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return next((line.strip() for line in lines if VERSION.search(line)), "unknown")


def _commit() -> str:
    """What of socketd was measured; C{-dirty}: with changes that are not committed."""
    git = find_program("git")
    if git is None:
        return "unknown"
    describe = [git, "describe", "--always", "--dirty"]
    done = subprocess.run(describe, cwd=FOLDER, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
