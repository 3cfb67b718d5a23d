"""Tests for L{socketd.protocols.messages.reply}."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.fakes import answers, make_stream
from tests.protocols.feeding import Make, Outcome, feed, outcomes
from tests.support.source_tree import ROOT


def replying(**options: Any) -> Make:
    """Say how to make a C{reply} that answers C{R}."""
    return lambda: make_stream("reply", reply=b"R", **options)


class ReplyTests(SynchronousTestCase):
    """Tests for C{reply}."""

    def test_every_message(self) -> None:
        """Every message is answered, whatever it says."""
        self.assertEqual(feed(replying(), [b"a", b"\0", b"b\nc"]), Outcome(b"RRR", False))

    def test_nothing(self) -> None:
        """Who says nothing is told nothing, and may leave."""
        self.assertEqual(feed(replying(), []), Outcome(b"", False))
        self.assertEqual(feed(replying(), [], then_end=True), Outcome(b"", True))

    def test_long_message(self) -> None:
        """A message that is longer than allowed is several."""
        for length, count in ((1, 1), (4, 1), (5, 2), (8, 2), (9, 3)):
            found = feed(replying(max_message=4), [b"x" * length])
            self.assertEqual(found.sent, b"R" * count, f"{length} bytes")

    def test_lines(self) -> None:
        """With lines, every line is answered, the last one without its end too."""
        found = outcomes(replying(framing="line"), b"a\n\nbc\nd", then_end=True)
        self.assertEqual(found, {Outcome(b"RRRR", True)})

    def test_close(self) -> None:
        """With C{close} only the first message is answered, and the connection closed."""
        for data in (b"a", b"abc", b"x" * 20):
            found = outcomes(replying(close=True, max_message=8), data)
            self.assertEqual(found, {Outcome(b"R", True)}, data)

    def test_close_lines(self) -> None:
        """So it is with lines: the first one has to end first."""
        close = replying(close=True, framing="line")
        self.assertEqual(outcomes(close, b"ab"), {Outcome(b"", False)})
        self.assertEqual(outcomes(close, b"ab\ncd\nef\n"), {Outcome(b"R", True)})
        self.assertEqual(outcomes(close, b"ab", then_end=True), {Outcome(b"R", True)})

    def test_nothing_after_close(self) -> None:
        """What a transport still delivers after the close is not answered."""
        protocol, transport = replying(close=True)(), StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(b"a")
        protocol.dataReceived(b"b")
        self.assertEqual(transport.value(), b"R")

    def test_datagrams(self) -> None:
        """Each datagram is answered, an empty one too."""
        found = answers("reply", b"a", b"", b"b" * 65507, reply=b"R", udp_amplify=1)
        self.assertEqual(found, [b"R"] * 3)

    def test_imported(self) -> None:
        """Without rules a service does not wait for their import."""
        program = "import sys, socketd.protocols.messages.reply\n"
        program += "import socketd.protocols.web.http, socketd.protocols.web.upgrade\n"
        program += "sys.exit('socketd.protocols.rules.rule' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
        self.assertEqual(done.returncode, 0)
