"""Tests for L{socketd.protocols.measure.echo}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.fakes import answers, make_stream
from tests.protocols.feeding import Outcome, outcomes

EVERY_BYTE = bytes(range(256))


class EchoTests(SynchronousTestCase):
    """Tests for C{echo}."""

    def test_stream(self) -> None:
        """Every byte comes back, in order, and the connection stays."""
        for data in (b"", b"a", b"two\nlines", EVERY_BYTE):
            found = outcomes(lambda: make_stream("echo"), data)
            self.assertEqual(found, {Outcome(data, False)})

    def test_end(self) -> None:
        """It ends when the peer does."""
        found = outcomes(lambda: make_stream("echo"), EVERY_BYTE, then_end=True)
        self.assertEqual(found, {Outcome(EVERY_BYTE, True)})

    def test_datagrams(self) -> None:
        """Each datagram goes back to where it came from, an empty one too."""
        datagrams = [b"a", b"", EVERY_BYTE, b"x" * 65507]
        self.assertEqual(answers("echo", *datagrams), datagrams)
