"""Tests for L{bench.proc}."""

from __future__ import annotations

import os
import time

from twisted.trial.unittest import SynchronousTestCase

from bench.proc import (
    Stat,
    children,
    cpu_seconds,
    family,
    parse_rollup,
    parse_stat,
    proportional_bytes,
    resident_bytes,
)

#: As the kernel writes it, with 11 utime, 7 stime, 5 cutime, 3 cstime.
LINE = (
    "4242 ({name}) S 17 4242 4242 0 -1 4194560 914 0 0 0 11 7 5 3 20 0 1 0 123456 8000000 900 "
    "18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)

#: Names that a program may give itself.
NAMES = ["twistd", "a b", "S) 9 9 (x", "(", ""]

ROLLUP = """\
55d0c0000000-7ffd3f9f6000 ---p 00000000 00:00 0                          [rollup]
Rss:               12345 kB
Pss:                9000 kB
"""

#: Enough for a clock tick, should it be as coarse as 10 ms.
BUSY_SECONDS = 0.05


def stat(pid: int, parent: int) -> Stat:
    """A process that did nothing yet."""
    return Stat(pid, parent, own_ticks=0, waited_ticks=0)


class ParseTests(SynchronousTestCase):
    """Tests for L{parse_stat} and L{parse_rollup}."""

    def test_stat(self) -> None:
        """User and system time are told, apart from those of waited-for children."""
        for name in NAMES:
            parsed = parse_stat(LINE.format(name=name))
            self.assertEqual(parsed, Stat(4242, 17, own_ticks=18, waited_ticks=8))

    def test_rss(self) -> None:
        """A size is in bytes; a file without it is refused."""
        self.assertEqual(parse_rollup(ROLLUP), 12345 * 1024)
        self.assertEqual(parse_rollup(ROLLUP, "Pss"), 9000 * 1024)
        self.assertRaises(ValueError, parse_rollup, "Pss: 9000 kB\n")


class FamilyTests(SynchronousTestCase):
    """Tests for L{family}."""

    def test_descendants(self) -> None:
        """Children and theirs belong to it, in whatever order they are listed; others do not."""
        stats = [stat(4, 3), stat(3, 2), stat(9, 1), stat(2, 1), stat(5, 2)]
        self.assertEqual({member.pid for member in family(2, stats)}, {2, 3, 4, 5})

    def test_gone(self) -> None:
        """A process that ended has no family."""
        self.assertEqual(family(2, [stat(3, 1)]), [])


class KernelTests(SynchronousTestCase):
    """Tests with this process itself."""

    def test_cpu_seconds(self) -> None:
        """CPU time grows as it is used."""
        before, began = cpu_seconds(os.getpid()), time.process_time()
        while time.process_time() - began < BUSY_SECONDS:
            pass
        self.assertGreater(cpu_seconds(os.getpid()), before)

    def test_proportional(self) -> None:
        """A process has children while they run, and each a part of what they share."""
        self.assertIn(os.getpid(), children(os.getppid()))
        self.assertLessEqual(proportional_bytes(os.getpid()), resident_bytes(os.getpid()))

    def test_resident_bytes(self) -> None:
        """Memory grows as it is used."""
        before = resident_bytes(os.getpid())
        held = b"x" * 2**24
        self.assertGreater(resident_bytes(os.getpid()), before + len(held) // 2)
