"""Tests for the command line in L{bench.__main__}."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.__main__ import (
    FULL_OUTPUT,
    PARTIAL_OUTPUT,
    choose_servers,
    choose_works,
    main,
    output_for,
    parser,
)
from bench.servers import BY_NAME
from bench.works import QUICK_PEERS

#: Arguments that leave something out of the published figures.
PARTIAL = [["--quick"], ["--only", "udp"], ["--servers", "socketd,uvloop"], ["--reactor", "poll"]]


class ParserTests(SynchronousTestCase):
    """Tests for L{parser}."""

    def test_names(self) -> None:
        """Names are given with commas between them."""
        options = parser().parse_args(["--only", "udp,bulk", "--servers", "uvloop"])
        self.assertEqual((options.only, options.servers), (["udp", "bulk"], ["uvloop"]))

    def test_profile(self) -> None:
        """The profile is of socketd, unless another server is named."""
        options = parser().parse_args(["profile", "udp"])
        self.assertEqual(
            (options.command, options.work, options.server), ("profile", "udp", "socketd")
        )


class ChoiceTests(SynchronousTestCase):
    """Tests for L{choose_servers} and L{choose_works}."""

    def test_servers(self) -> None:
        """A full run has all servers, a quick one a few, and what is named is taken."""
        self.assertEqual(choose_servers([], quick=False), BY_NAME)
        self.assertEqual(tuple(choose_servers([], quick=True)), QUICK_PEERS)
        self.assertEqual(list(choose_servers(["socat"], quick=True)), ["socat"])

    def test_unknown_server(self) -> None:
        """An unknown name is answered with the known ones."""
        error = self.assertRaises(ValueError, choose_servers, ["inetd"], quick=False)
        self.assertIn("no server 'inetd'; there are socketd, ", str(error))

    def test_no_server_left(self) -> None:
        """A work without any of the servers is refused before anything is started."""
        self.assertRaises(ValueError, choose_works, ["idle"], False, ["xinetd"])


class OutputTests(SynchronousTestCase):
    """Tests for L{output_for}."""

    def test_full(self) -> None:
        """A full run replaces the published results, a partial one does not."""
        self.assertEqual(output_for(parser().parse_args([])), FULL_OUTPUT)
        for arguments in PARTIAL:
            self.assertEqual(output_for(parser().parse_args(arguments)), PARTIAL_OUTPUT)

    def test_given(self) -> None:
        """What was asked for is taken."""
        target = Path(self.mktemp())
        target.parent.mkdir(parents=True, exist_ok=True)
        options = parser().parse_args(["--quick", "--output", str(target)])
        self.assertEqual(output_for(options), target)

    def test_no_folder(self) -> None:
        """Where nothing can be written, it is said before the measurement."""
        options = parser().parse_args(["--output", "no/such/folder/RESULTS.md"])
        self.assertRaises(ValueError, output_for, options)


class MainTests(SynchronousTestCase):
    """Tests for L{main}."""

    def test_usage(self) -> None:
        """A name that means nothing ends in status 2, without a traceback."""
        for arguments in (["--only", "tea"], ["--servers", "tea"], ["profile", "start"]):
            self.assertEqual(main(arguments), 2)
