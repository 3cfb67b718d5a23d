"""
C{make soak}: C{python -m tests.soak [--seconds N] [--seed N] [--workers N]}.

The end by Ctrl-C is an early one: what was done until then is judged and told.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from tests.soak.loads import available
from tests.soak.running import Plan, Soak

#: How long there is load, after the warm-up.
SECONDS = 600.0

ENDS = (signal.SIGINT, signal.SIGTERM)


def parse(arguments: list[str]) -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="under load, at least")
    parser.add_argument("--seed", type=int, help="of all that is drawn; random where not given")
    parser.add_argument("--workers", type=int, default=1, help="of the daemon")
    chosen = parser.parse_args(arguments)
    seed = random.randrange(2**32) if chosen.seed is None else chosen.seed
    return Plan(chosen.seconds, seed, chosen.workers)


def main(arguments: list[str]) -> int:
    """
    @return: the exit status.
    """
    plan = parse(arguments)
    print(f"seed {plan.seed}; {plan.seconds:.0f} s over {' '.join(available())}", flush=True)
    with TemporaryDirectory(prefix="soak-") as made:
        soak = Soak(plan, Path(made))
        _end_early(soak)
        is_good = soak.run()
        print(soak.summary() + ("GOOD" if is_good else "BAD"), flush=True)
    return 0 if is_good else 1


def _end_early(soak: Soak) -> None:
    """Let the first Ctrl-C, or SIGTERM, end the load, and the second one everything."""

    def end(number: int, frame: FrameType | None) -> None:
        print("ending early", flush=True)
        soak.over.set()
        for one in ENDS:
            signal.signal(one, signal.default_int_handler)

    for one in ENDS:
        signal.signal(one, end)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
