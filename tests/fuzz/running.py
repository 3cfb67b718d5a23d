"""How long, with which seed, and from which corpus inputs are tried."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from attrs import frozen
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.fuzz.secure_streams import SecureMachine
from tests.fuzz.shapes import CORPUS, shape
from tests.fuzz.streams import StreamMachine
from tests.fuzz.targets import TARGETS

#: The state machines by name, and how many steps each takes.
MACHINES: dict[str, tuple[type[RuleBasedStateMachine], int]] = {
    "streams": (StreamMachine, 30),
    "secure_streams": (SecureMachine, 25),
}

#: A machine has so many times the time of a target.
SHARE = 4

#: Inputs of one round; the clock is looked at after each.
ROUND = 200

_PHASES = (Phase.generate, Phase.target, Phase.shrink)


@frozen
class Profile:
    """
    How many inputs to make, and from which seed.

    @ivar examples: how many.
    @ivar seed: C{None}: always the same ones.
    """

    examples: int
    seed: int | None = None

    def settings(self, steps: int = 1) -> settings:
        """Tell hypothesis; C{steps}: how many, of a state machine."""
        return settings(
            max_examples=self.examples,
            stateful_step_count=steps,
            derandomize=self.seed is None,
            deadline=None,
            database=None,
            phases=_PHASES,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )


def seeds(name: str) -> Iterator[tuple[str, bytes]]:
    """Read the corpus of a target."""
    for path in sorted((CORPUS / name).iterdir()):
        yield path.name, path.read_bytes()


def replay(name: str) -> None:
    """Give a target its corpus."""
    for file, data in seeds(name):
        try:
            TARGETS[name](data)
        except BaseException as problem:
            problem.add_note(f"with tests/fuzz/corpus/{name}/{file}")
            raise


def try_target(name: str, profile: Profile) -> None:
    """Give a target new inputs."""

    def run(data: bytes) -> None:
        TARGETS[name](data)

    tried = profile.settings()(given(shape(name))(run))
    (tried if profile.seed is None else seed(profile.seed)(tried))()


def try_machine(name: str, profile: Profile) -> None:
    """Have a machine take new ways."""
    machine, steps = MACHINES[name]
    # One of its own: the seed is kept at the class.
    fresh = type(machine.__name__, (machine,), {})
    if profile.seed is not None:
        fresh = seed(profile.seed)(fresh)
    run_state_machine_as_test(fresh, settings=profile.settings(steps))


def try_part(name: str, profile: Profile) -> None:
    """Try a machine or a target."""
    if name in MACHINES:
        try_machine(name, profile)
    else:
        try_target(name, profile)


def spend(
    name: str, seconds: float, first: int, clock: Callable[[], float] = time.monotonic
) -> int:
    """
    Try a part in rounds, each with its own seed, until its time is over.

    @param first: the seed of the first round; the next ones follow.
    @return: how many inputs were made.
    """
    ends, rounds = clock() + seconds, 0
    if name in TARGETS:
        replay(name)
    while clock() < ends:
        profile = Profile(ROUND, first + rounds)
        try:
            try_part(name, profile)
        except BaseException as problem:
            problem.add_note(f"again: --only {name} --seed {profile.seed} --seconds 1")
            raise
        rounds += 1
    return rounds * ROUND


def shares(names: list[str], seconds: float) -> dict[str, float]:
    """Share the time out, and return the seconds for each part."""
    weights = {name: SHARE if name in MACHINES else 1 for name in names}
    return {name: seconds * weight / sum(weights.values()) for name, weight in weights.items()}
