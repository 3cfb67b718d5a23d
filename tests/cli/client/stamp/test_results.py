"""Tests for L{socketd.cli.client.stamp.results}."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.client.stamp.results import (
    Loss,
    Sample,
    StampResults,
    jitter,
    render,
    render_json,
)


def sample(asked: int, answered: int, **more: Any) -> Sample:
    """Make an answer."""
    usual: dict[str, Any] = {
        "forward": 0.001, "backward": 0.002, "round_trip": 0.003, "error": 0.0005, "ttl": 250,
    }  # fmt: skip
    return Sample(asked, answered, **(usual | more))


def results(
    sent: int, *answers: tuple[int, int], counted: bool = False, **more: Any
) -> StampResults:
    """Collect answers: the number of the packet, and that of the answer."""
    found = StampResults(sent)
    for asked, answered in answers:
        found.add(sample(asked, answered, **more), counted)
    return found


class LossTests(SynchronousTestCase):
    """Where packets are lost."""

    def test_none(self) -> None:
        """All were answered."""
        self.assertEqual(results(3, (0, 0), (1, 1), (2, 2)).loss, Loss())

    def test_forward(self) -> None:
        """The reflector has counted fewer packets."""
        self.assertEqual(results(4, (0, 0), (3, 1)).loss, Loss(forward=2))

    def test_backward(self) -> None:
        """It has counted answers that did not come."""
        found = results(5, (0, 0), (4, 4), counted=True)
        self.assertEqual(found.loss, Loss(backward=3))

    def test_both(self) -> None:
        """Of what is lost behind the last answer it is not known where."""
        found = results(10, (0, 0), (3, 2), (6, 4))
        self.assertEqual(found.loss, Loss(forward=2, backward=2, unknown=3))

    def test_stateless(self) -> None:
        """A reflector that repeats the numbers tells nothing, unless it says that it counts."""
        self.assertEqual(results(5, (0, 0), (4, 4)).loss, Loss(unknown=3))
        self.assertEqual(results(5).loss, Loss(unknown=5))

    def test_doubled(self) -> None:
        """An answer with a number of its own is to a packet that was doubled on its way."""
        found = results(3, (0, 0), (1, 1), (1, 2), (1, 2), (2, 3))
        self.assertEqual((found.doubled_forward, found.doubled_backward), (1, 1))
        self.assertEqual(found.loss, Loss())
        found = results(2, (0, 0), (0, 0), (1, 1))
        self.assertEqual((found.doubled_forward, found.doubled_backward), (0, 1))
        self.assertEqual(len(found.samples), 2)

    def test_reordered(self) -> None:
        """What comes behind a later one is reordered."""
        found = results(4, (0, 0), (3, 1), (1, 2), (2, 3), counted=True)
        self.assertEqual((found.reordered, found.loss), (2, Loss()))


class FigureTests(SynchronousTestCase):
    """Delays and how they are shown."""

    def test_jitter(self) -> None:
        """The estimate moves by a sixteenth (RFC 3550, section 6.4.1)."""
        self.assertEqual(jitter([1.0]), 0.0)
        self.assertEqual(jitter([1.0, 17.0]), 1.0)
        self.assertEqual(jitter([1.0, 17.0, 17.0]), 15 / 16)

    def test_error(self) -> None:
        """One-way delays are as exact as the worst answer; not at all without a clock."""
        self.assertEqual(results(1, (0, 0)).error, 0.0005)
        self.assertIsNone(results(1, (0, 0), error=None).error)
        self.assertIsNone(results(1).error)

    def test_text(self) -> None:
        """The text has a row for each way, and says how exact they are."""
        text = render(results(2, (0, 0), (1, 1)))
        self.assertIn("2 sent, 2 received, 0 doubled, 0 reordered\n", text)
        self.assertIn("lost: 0 forward, 0 backward, 0 unknown\n", text)
        self.assertRegex(text, r"(?m)^forward +1\.000 ")
        self.assertRegex(text, r"(?m)^round trip +3\.000 ")
        self.assertIn("exact to 0.500 ms\n", text)
        text = render(results(1, (0, 0), error=None))
        self.assertIn("not exact: a clock is not synchronised\n", text)
        self.assertEqual(render(results(1)).count("\n"), 2)
        many = render(results(20, *((n, n) for n in range(20))))
        self.assertNotIn("#", many)
        spread = StampResults(20)
        for number in range(20):
            spread.add(sample(number, number, round_trip=0.001 * (number + 1)))
        spread.wrong = 3
        self.assertIn("#", render(spread))
        self.assertIn(", 3 wrong\n", render(spread))
        spread.bad_hmac, spread.is_ssid_lost = 2, True
        self.assertIn(", 3 wrong (2 by the HMAC)\n", render(spread))
        self.assertIn("the reflector does not return the SSID: it has no", render(spread))

    def test_json(self) -> None:
        """JSON has all of it."""
        found = json.loads(render_json(results(3, (0, 0), (2, 1))))
        self.assertEqual(found["lost"], {"forward": 1, "backward": 0, "unknown": 0})
        self.assertEqual((found["hops"], found["error_ms"]), (5, 0.5))
        self.assertEqual((found["wrong"], found["bad_hmac"], found["ssid_lost"]), (0, 0, False))
        self.assertEqual(found["forward_ms"]["avg"], 1.0)
        self.assertEqual(found["round_trip_ms"]["jitter"], 0.0)
        self.assertEqual(found["times_ms"], [3.0, 3.0])
        found = json.loads(render_json(results(1)))
        self.assertEqual((found["hops"], found["backward_ms"]), (None, {}))
