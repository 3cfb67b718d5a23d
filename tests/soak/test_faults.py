"""Tests for the tables of faults and loads."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from threading import Event
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.soak import faults, loads
from tests.soak.client import Gone
from tests.soak.faults import Fault, Trouble, make_faults


class Listener:
    """Stands for the crowd, as far as it is told of problems."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def note(self, problem: str) -> None:
        """Keep it."""
        self.problems.append(problem)


class OrderTests(SynchronousTestCase):
    """Tests for L{tests.soak.faults.make_faults}."""

    def setUp(self) -> None:
        """Have faults that only note themselves."""
        self.made: list[str] = []
        server: Any = None
        crowd: Any = Listener()
        self.problems = crowd.problems
        self.trouble = Trouble(server, crowd, Random(1), Event())
        found = tuple(Fault(name, self.note(name), name == "long") for name in ("a", "b", "long"))
        self.patch(faults, "FAULTS", found)

    def note(self, name: str) -> Callable[[Trouble], None]:
        """Make a fault that notes its name."""
        return lambda trouble: self.made.append(name)

    def fail_at_once(self, trouble: Trouble) -> None:
        """Go wrong."""
        raise KeyError("x")

    def test_once(self) -> None:
        """Where there is no time left each is made once, long ones only where wanted."""
        self.trouble.over.set()
        make_faults(self.trouble, 0, with_long=False, all_once=True)
        self.assertEqual(sorted(self.made), ["a", "b"])
        make_faults(self.trouble, 0, with_long=True, all_once=True)
        self.assertEqual(self.trouble.done, {"a": 2, "b": 2, "long": 1})

    def test_over(self) -> None:
        """When it is over none is made."""
        self.trouble.over.set()
        make_faults(self.trouble, 0, with_long=True, all_once=False)
        self.assertEqual(self.made, [])

    def test_problem(self) -> None:
        """What goes wrong is noted with the fault's name, and the others are made."""
        bad = Fault("bad", self.fail_at_once)
        self.patch(faults, "FAULTS", (bad, *faults.FAULTS))
        self.trouble.over.set()
        make_faults(self.trouble, 0, with_long=False, all_once=True)
        self.assertEqual(self.problems, ["bad: KeyError: 'x'"])
        self.assertEqual(self.trouble.done, {"a": 1, "b": 1})


class CrowdTests(SynchronousTestCase):
    """Tests for L{tests.soak.loads.Crowd}."""

    def crowd(self, *found: loads.Load) -> loads.Crowd:
        """Make the clients of some loads, and let each make one exchange."""
        self.patch(loads, "GROUPS", {"group": found})
        server: Any = Nowhere()
        crowd = loads.Crowd(server, 1)
        crowd.start()
        crowd.stop()
        return crowd

    def test_names(self) -> None:
        """Each load and fault has a name of its own, for the tables and the seeds."""
        names = [load.name for group in loads.GROUPS.values() for load in group]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(len(faults.FAULTS), len({fault.name for fault in faults.FAULTS}))

    def test_once(self) -> None:
        """Each client makes an exchange at least."""
        crowd = self.crowd(loads.Load("good", lambda client: None, 3))
        self.assertEqual(crowd.problems, [])
        self.assertTrue(crowd.ledger().deed("good").times >= 3)

    def test_problem(self) -> None:
        """What goes wrong is noted with the kind of load."""

        def fail(client: Any) -> None:
            raise ValueError("reason")

        crowd = self.crowd(loads.Load("bad", fail))
        self.assertEqual(crowd.problems[0], "bad: ValueError: reason")
        self.assertEqual(crowd.ledger().deed("bad").times, 0)

    def test_gone(self) -> None:
        """What is not there is a problem for those only who must find it."""

        def miss(client: Any) -> None:
            raise Gone("passing")

        self.assertEqual(self.crowd(loads.Load("may", miss, misses=True)).problems, [])
        self.assertNotEqual(self.crowd(loads.Load("must", miss)).problems, [])

    def test_seed(self) -> None:
        """The same seed draws the same for each client, whatever the others do."""
        drawn: list[float] = []
        load = loads.Load("draws", lambda client: drawn.append(client.random.random()))
        for _ in range(2):
            drawn.clear()
            self.crowd(load)
            first = drawn[0]
        self.assertEqual(first, Random("1 draws 0").random())


class Nowhere:
    """Stands for a daemon that nobody asks."""

    directory: Any = "/nowhere"

    def places(self) -> dict[tuple[str, str], Any]:
        """It is nowhere."""
        return {}
