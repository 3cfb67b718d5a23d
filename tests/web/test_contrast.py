"""The colours of the status page have enough contrast for all users (WCAG 2.2, level AA)."""

from __future__ import annotations

import re
from importlib import resources

from twisted.trial.unittest import SynchronousTestCase

STYLE = (resources.files("socketd.web") / "files" / "page.css").read_text()

#: The least contrast of text (1.4.3), and of lines and edges of controls (1.4.11).
TEXT, LINES = 4.5, 3.0

#: What is read on which ground, and what is drawn there.
READ = ("text", "quiet", "accent", "good", "bad", "s0", "s1", "s2", "s3", "s4")
DRAWN = ("quiet", "accent")


def luminance(colour: str) -> float:
    """Compute the relative luminance of C{#rrggbb}."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Compute the contrast of two colours, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


class ContrastTests(SynchronousTestCase):
    """Both schemes are legible."""

    def test_measure(self) -> None:
        """Black on white has 21, a colour on itself 1."""
        self.assertAlmostEqual(contrast("#000000", "#ffffff"), 21)
        self.assertEqual(contrast("#0b5cad", "#0b5cad"), 1)

    def test_schemes(self) -> None:
        """All text has 4.5, edges of controls have 3, in the light scheme and in the dark one."""
        blocks = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
        self.assertEqual(len(blocks), 2)
        for block in blocks:
            colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
            for ground in ("back", "panel"):
                for name in READ:
                    self.assertTrue(contrast(colours[name], colours[ground]) >= TEXT, name)
                for name in DRAWN:
                    self.assertTrue(contrast(colours[name], colours[ground]) >= LINES, name)
            self.assertTrue(contrast(colours["on-accent"], colours["accent"]) >= TEXT)

    def test_only_variables(self) -> None:
        """No colour is written but in the two schemes."""
        rest = re.sub(r":root \{.*?\}", "", STYLE, flags=re.DOTALL)
        self.assertEqual(re.findall(r"#[0-9a-f]{3,8}\b(?=[;\s])|rgb|hsl", rest), [])
