"""
C{make fuzz}: C{python -m tests.fuzz [--seconds N] [--seed N] [--only NAME] [--atheris]}.

Without C{--atheris} hypothesis makes the inputs. With it atheris does, led by what they
reach, if it is installed; what it finds goes to C{build/fuzz/NAME/}.
"""

from __future__ import annotations

import argparse
import importlib
import random
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

#: The time for all parts together (seconds).
SECONDS = 120.0

#: Where atheris keeps what it has found.
FOUND = Path("build/fuzz")

#: The longest input that atheris makes; a PROXY header is no longer.
MAX_INPUT = 4200


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all parts together")
    parser.add_argument("--seed", type=int, help="of the first round; random where not given")
    parser.add_argument("--only", action="append", metavar="NAME", help="this part; repeatable")
    parser.add_argument("--atheris", action="store_true", help="have atheris make the inputs")
    return parser.parse_args(arguments)


def run(arguments: list[str]) -> int:
    """Try all parts, or those that are named; return how many of them failed."""
    chosen = parse(arguments)
    if chosen.atheris:
        return run_atheris(chosen)
    from tests.fuzz.running import MACHINES, shares
    from tests.fuzz.targets import TARGETS

    known = [*MACHINES, *TARGETS]
    names = chosen.only or known
    if unknown := set(names) - set(known):
        raise SystemExit(f"no part {', '.join(unknown)}; there are {', '.join(known)}")
    seed = random.randrange(2**32) if chosen.seed is None else chosen.seed
    print(f"seed {seed}", flush=True)
    times = shares(names, chosen.seconds)
    return sum(not succeeds(name, times[name], seed) for name in names)


def succeeds(name: str, seconds: float, seed: int) -> bool:
    """Try one part, and print its figures or its failure."""
    from tests.fuzz.running import spend

    began = time.monotonic()
    try:
        count = spend(name, seconds, seed)
    except Exception:
        traceback.print_exc(file=sys.stdout)
        print(f"{name}: FAILED", flush=True)
        return False
    print(f"{name}: {count} inputs in {time.monotonic() - began:.0f} s", flush=True)
    return True


def run_atheris(chosen: argparse.Namespace) -> int:
    """Have atheris try each target in a process of its own, which it ends."""
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        raise SystemExit("atheris is not installed here; leave --atheris out") from None
    with atheris.instrument_imports(include=["socketd"]):
        targets = importlib.import_module("tests.fuzz.targets").TARGETS
    names = chosen.only or list(targets)
    if len(names) == 1:
        fuzz(atheris, names[0], targets[names[0]], chosen.seconds)
    share = max(1, round(chosen.seconds / len(names)))
    command = [sys.executable, "-m", "tests.fuzz", "--atheris", "--seconds", str(share), "--only"]
    return sum(subprocess.run([*command, name], check=False).returncode != 0 for name in names)


def fuzz(atheris: Any, name: str, check: Any, seconds: float) -> None:
    """Have atheris try a target; this does not return."""
    found = FOUND / name
    found.mkdir(parents=True, exist_ok=True)
    corpus = Path(__file__).parent / "corpus" / name
    options = [f"-max_total_time={seconds:.0f}", f"-max_len={MAX_INPUT}"]
    options += [f"-artifact_prefix={found}-", "-verbosity=0", "-print_final_stats=1"]
    print(f"{name}:", flush=True)
    atheris.Setup([sys.argv[0], *options, str(found), str(corpus)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(min(run(sys.argv[1:]), 1))
