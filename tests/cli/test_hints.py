"""
Tests for the hints of L{socketd.cli.check}.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.main import main

#: What is said of a service whose answers need long datagrams.
HINT = (
    "answers over UDP only datagrams of {} bytes or more, because the sender of a shorter one may"
    " be forged"
)
WAY_OUT = "; udp_amplify = {} answers all"


class HintTests(SynchronousTestCase):
    """
    What works as it is written, and may not be what was meant, is a hint and no complaint.
    """

    def setUp(self) -> None:
        self.file = Path(self.mktemp()).absolute()
        self.quotes = self.file.with_name("quotes")
        self.quotes.write_text("A longer quote.\n%\nNo.\n")

    def check(self, *lines: str, json: bool = False) -> tuple[str, list[str]]:
        """
        Check a configuration.

        @return: what is printed, and the hints.
        """
        self.file.write_text("\n".join(lines).format(quotes=self.quotes) + "\n")
        output, errors = io.StringIO(), io.StringIO()
        arguments = ["check", str(self.file), *["--json"][: int(json)]]
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            self.assertEqual(main(arguments), 0)
        return output.getvalue(), errors.getvalue().splitlines()

    def test_long_answers(self) -> None:
        """
        A listener by UDP whose shortest answer is longer than a short datagram may have
        answers long datagrams only, and the option that changes it is named.
        """
        cases = [
            (["[daytime]", "listen = udp:13"], 2, "daytime", 26),
            (["[daytime]", "format = iso", "listen = tcp:13, udp6:13"], 3, "daytime", 22),
            (["[qotd]", "texts = {quotes}", "listen = udp:17"], 3, "qotd", 5),
            (["[reply]", "reply = hello", "", "listen = udp:1"], 4, "reply", 5),
            (["[reply]", "reply = hello", "udp_amplify = 4", "listen = udp:1"], 4, "reply", 5),
        ]
        for lines, line, service, size in cases:
            output, hints = self.check(*lines)
            message = (HINT + WAY_OUT).format(size, size)
            self.assertEqual(hints, [f"hint: {self.file}:{line}: [{service}] listen: {message}"])
            self.assertIn("configuration OK", output)

    def test_longer_than_allowed(self) -> None:
        """
        An answer that is longer than any datagram may be amplified to has no way out.
        """
        _, hints = self.check("[reply]", f"reply = {'x' * 513}", "listen = udp:1")
        message = HINT.format(513)
        self.assertEqual(hints, [f"hint: {self.file}:3: [reply] listen: {message}"])

    def test_none(self) -> None:
        """
        There is no hint where short datagrams are answered, or the sender is known.
        """
        for lines in (
            ["[daytime]", "listen = tcp:13, unixgram:{{runtime}}/d"],
            ["[daytime]", "listen = udp:13", "udp_amplify = 26"],
            ["[qotd]", "texts = {quotes}", "listen = udp:17", "udp_amplify = 5"],
            ["[echo]", "listen = udp:7", "[time]", "listen = udp:37", "[ntp]", "listen = udp:123"],
            ["[upper]", "listen = udp:1", "[chargen]", "listen = udp:19"],
        ):
            self.assertEqual(self.check(*lines)[1], [], lines)

    def test_json(self) -> None:
        """
        Programs find the hints, too.
        """
        output, _ = self.check("[daytime]", "listen = udp:13", json=True)
        found = json.loads(output)
        (hint,) = found["hints"]
        self.assertEqual((found["ok"], found["warnings"]), (True, []))
        self.assertEqual((hint["section"], hint["option"], hint["line"]), ("daytime", "listen", 2))
