"""Tests for L{bench.machine}."""

from __future__ import annotations

import platform

from twisted.trial.unittest import SynchronousTestCase

from bench.machine import describe, parse_cpu


class MachineTests(SynchronousTestCase):
    """Tests for L{parse_cpu} and L{describe}."""

    def test_cpu(self) -> None:
        """The processor is called by its name; where there is none, by its architecture."""
        cpuinfo = "processor\t: 0\nmodel name\t: Abacus 9: fast\n"
        self.assertEqual(parse_cpu(cpuinfo), "Abacus 9: fast")
        self.assertEqual(parse_cpu("processor\t: 0\n"), platform.machine())

    def test_versions(self) -> None:
        """What figures depend on is named with its version, or as not installed."""
        versions = dict(describe().versions)
        self.assertTrue({"Python", "Twisted", "uvloop", "xinetd", "commit"} <= versions.keys())
        self.assertTrue(all(versions.values()), versions)
