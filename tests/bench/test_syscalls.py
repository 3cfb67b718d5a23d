"""Tests for L{bench.syscalls}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.syscalls import Calls, parse_summary, render

SUMMARY = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.600000           3    200000       100 recvfrom
 40.00    0.400000           2    200000           sendto
------ ----------- ----------- --------- --------- ----------------
100.00    1.000000           2    400000       100 total
"""

CALLS = [Calls("recvfrom", 200000, 100, 0.6), Calls("sendto", 200000, 0, 0.4)]


class SummaryTests(SynchronousTestCase):
    """Tests for L{parse_summary} and L{render}."""

    def test_parse(self) -> None:
        """Every call is read, with its errors if it has any; heading and sum are not calls."""
        self.assertEqual(parse_summary(SUMMARY), CALLS)
        self.assertEqual(parse_summary(""), [])

    def test_render(self) -> None:
        """Calls are told by message, and their sum."""
        lines = render(CALLS, 100000, "message").splitlines()
        self.assertEqual(lines[2].split("|")[1].strip(), "recvfrom")
        each = [line.split("|")[3].strip() for line in lines[2:]]
        self.assertEqual(each, ["2.000", "2.000", "4.000"])
