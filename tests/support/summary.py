"""
A filter for the output of trial: what was skipped is said once more at its end, with what
to install for it. Skipped tests are easily overlooked, and their packages come one by one.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterable

#: The last line of a run, when some tests were skipped.
_SKIPPED = re.compile(r"^(?:PASSED|FAILED) \(.*\bskips=(\d+)")

#: How a test says what is missing; see C{tests.support.needs}.
_PACKAGES = re.compile(r"^needs .*: apt-get install (.+)$")
_OTHER = re.compile(r"^needs (.+)$")


def summarise(lines: Iterable[str]) -> list[str]:
    """
    Make the last lines.

    @param lines: what trial has written.
    @return: nothing if no test was skipped.
    """
    skipped, packages, others = 0, set[str](), list[str]()
    for line in lines:
        if found := _SKIPPED.match(line):
            skipped += int(found[1])
        elif found := _PACKAGES.match(line):
            packages.update(found[1].split())
        elif found := _OTHER.match(line):
            others.append(found[1].strip())
    if not skipped:
        return []
    install = f" To run them: apt-get install {' '.join(sorted(packages))}" if packages else ""
    return [
        f"{skipped} skipped.{install}",
        *(f"    needs {other}" for other in dict.fromkeys(others)),
    ]


def main() -> None:
    """Copy standard input, and add what was skipped."""
    # Trial ends by the same Ctrl-C; its last words are copied, too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kept = []
    for line in sys.stdin:
        sys.stdout.write(line)
        sys.stdout.flush()
        if line.startswith(("needs ", "PASSED ", "FAILED ")):
            kept.append(line)
    for line in summarise(kept):
        print(line)


if __name__ == "__main__":
    main()
