"""Tests for the hints of L{socketd.cli.system.check}."""

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
    """What works as it is written, and may not be what was meant, is a hint and no complaint."""

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
            (["[daytime]", "listen = udp:9013"], 2, "daytime", 26),
            (["[daytime]", "format = iso", "listen = tcp:9013, udp6:9013"], 3, "daytime", 22),
            (["[qotd]", "texts = {quotes}", "listen = udp:9017"], 3, "qotd", 5),
            (["[reply]", "reply = hello", "", "listen = udp:9001"], 4, "reply", 5),
            (["[reply]", "reply = hello", "udp_amplify = 4", "listen = udp:9001"], 4, "reply", 5),
        ]
        for lines, line, service, size in cases:
            output, hints = self.check(*lines)
            message = (HINT + WAY_OUT).format(size, size)
            self.assertEqual(hints, [f"hint: {self.file}:{line}: [{service}] listen: {message}"])
            self.assertIn("configuration OK", output)

    def test_longer_than_allowed(self) -> None:
        """An answer that is longer than any datagram may be amplified to has no way out."""
        _, hints = self.check("[reply]", f"reply = {'x' * 513}", "listen = udp:9001")
        message = HINT.format(513)
        self.assertEqual(hints, [f"hint: {self.file}:3: [reply] listen: {message}"])

    def test_none(self) -> None:
        """There is no hint where short datagrams are answered, or the sender is known."""
        for lines in (
            ["[daytime]", "listen = tcp:9013, unixgram:{{runtime}}/d"],
            ["[daytime]", "listen = udp:9013", "udp_amplify = 26"],
            ["[qotd]", "texts = {quotes}", "listen = udp:9017", "udp_amplify = 5"],
            ["[echo]", "listen = udp:9007", "[time]", "listen = udp:9037"],
            ["[ntp]", "listen = udp:9123"],
            ["[upper]", "listen = udp:9001", "[chargen]", "listen = udp:9019"],
        ):
            self.assertEqual(self.check(*lines)[1], [], lines)

    def test_json(self) -> None:
        """Programs find the hints, too."""
        output, _ = self.check("[daytime]", "listen = udp:9013", json=True)
        found = json.loads(output)
        (hint,) = found["hints"]
        self.assertEqual((found["ok"], found["warnings"]), (True, []))
        self.assertEqual((hint["section"], hint["option"], hint["line"]), ("daytime", "listen", 2))
