"""
What a machine, or its user, may not have and a test needs: a program, a file, a right.

A test that needs something asks for it here, where it begins or where it uses it, and is
skipped with the name of the Debian package, or of the right, that is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from unittest import SkipTest

from tests.chaos.figures import FIGURES

PACKAGES = Path(__file__).with_name("packages.txt")

#: What the loads of the benchmark need, which are written in C.
COMPILING = ("cc", "/usr/include/stdio.h")

#: Debian has some daemons where only root looks for commands.
PLACES = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))

#: Longer than any probe takes on a busy machine (seconds).
PATIENCE = 15.0

#: How a right is given to a user that is not root.
NAMESPACES = "run it as root, or let users make namespaces (user_namespaces(7))"


def packages() -> dict[str, str]:
    """Read which package has which command or file."""
    lines = PACKAGES.read_text(encoding="utf-8").splitlines()
    pairs = (line.split() for line in lines if not line.startswith("#"))
    return {name: package for name, package in pairs}


def missing(what: str, how: str) -> Exception:
    """
    Make what a test raises that cannot be run here.

    @param what: what is missing.
    @param how: how to get it.
    @return: a failure where what the test measures is wanted, else a reason to skip it.
    """
    kind = AssertionError if FIGURES in os.environ else SkipTest
    return kind(f"needs {what}: {how}")


def need(*names: str) -> None:
    """Need commands, or files with an absolute path, of L{PACKAGES}."""
    if absent := [name for name in names if not _found(name)]:
        install = " ".join(dict.fromkeys(packages()[name] for name in absent))
        raise missing(", ".join(absent), f"apt-get install {install}")


def locate(name: str) -> str:
    """
    Find a command that a test needs.

    @return: its path.
    """
    need(name)
    return _found(name)


def _found(name: str) -> str:
    if name.startswith("/"):
        return name if os.path.exists(name) else ""
    return shutil.which(name, path=PLACES) or ""


def need_right(what: str, *command: str) -> None:
    """Need what a command tries."""
    if complaint := _complaint(command):
        raise missing(what, f"{NAMESPACES}; {complaint}")


@cache
def _complaint(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except OSError as problem:
        return str(problem)
    return done.stderr.strip() or "it fails" if done.returncode else ""
