"""C{etc/faults.ini} as tests serve it."""

from __future__ import annotations

import re

from tests.support.source_tree import ROOT

FILE = ROOT / "etc" / "faults.ini"
TEXT = FILE.read_text(encoding="utf-8")

#: Which of the first connections of C{flaky} are served (s) and reset (r), the same in each run.
FLAKY = "rrssrsrssrrs"

#: The ports of the file, and those of the service that is still a comment in it.
_PORT = re.compile(r"(?<=:)29\d{3}(?=:)")

#: What makes the lines of that service comments.
_COMMENT = re.compile(r"(?m)^; (?=\[reset-in-server|(protocol|listen|tls_\w+|fault) = )")


def at_free_ports(text: str = TEXT) -> str:
    """Have the kernel choose the ports."""
    return _PORT.sub("0", text)


def with_certificate(pem: str) -> str:
    """Write the file with the service that is a comment, and this path of its certificate."""
    return _COMMENT.sub("", TEXT).replace("server.pem", pem)
