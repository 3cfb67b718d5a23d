"""Tests for L{socketd.common.cores}."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from socketd.common.cores import usable_cores, waited


class UsableCoresTests(SynchronousTestCase):
    """Tests for L{usable_cores}."""

    def setUp(self) -> None:
        self.patch(os, "sched_getaffinity", lambda pid: set(range(8)))
        self.root = Path(self.mktemp())
        self.own = self.root / "cgroup"

    def cores(self, own: str, files: dict[str, str]) -> int:
        """Count with files of control groups, by path."""
        for path, text in {"cgroup": own, **files}.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text)
        return usable_cores(self.root, self.own)

    def test_no_groups(self) -> None:
        """Without control groups the affinity counts."""
        self.assertEqual(usable_cores(self.root, self.own), 8)

    def test_quota(self) -> None:
        """The quota of a group is rounded up; that of any group above counts, too."""
        for quota, expected in (
            ("max 100000", 8),
            ("150000 100000\n", 2),
            ("10000 100000", 1),
            ("0 100000", 1),
            ("nonsense", 8),
        ):
            files = {"a/b/cpu.max": "max 100000\n", "a/cpu.max": quota}
            self.assertEqual(self.cores("0::/a/b\n", files), expected, quota)

    def test_version_1(self) -> None:
        """Control groups of version 1 have a quota in two files; -1 is none."""
        own = "12:memory:/x\n4:cpu,cpuacct:/a\n1:name=systemd:/y\n"
        for quota, expected in (("-1", 8), ("250000", 3)):
            files = {"cpu/a/cpu.cfs_quota_us": quota, "cpu/a/cpu.cfs_period_us": "100000\n"}
            self.assertEqual(self.cores(own, files), expected)


class WaitedTests(SynchronousTestCase):
    """Tests for L{waited}."""

    def test_own(self) -> None:
        """It grows, or is not counted."""
        before = waited(os.getpid())
        self.assertTrue(0 <= before <= waited(os.getpid()))

    def test_unknown(self) -> None:
        """A process that there is not has not waited."""
        self.assertEqual(waited(2**31 - 1), 0.0)
