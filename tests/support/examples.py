"""The configurations of C{etc/examples}."""

from __future__ import annotations

import re

from tests.support.source_tree import ROOT

EXAMPLES = {path.stem: path for path in (ROOT / "etc" / "examples").glob("*.ini")}


def example(name: str) -> str:
    """Read an example, with ports that are free in place of its own."""
    return re.sub(r"tcp:\d+:", "tcp:0:", EXAMPLES[name].read_text())
