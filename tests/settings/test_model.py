"""Tests for L{socketd.settings.model}: which values its options take."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from socketd.settings.model import DaemonOptions, ServiceOptions, SocketOptions
from socketd.settings.options import declared
from tests.settings.refusals import refusal

KNOWN = declared(DaemonOptions) | declared(ServiceOptions) | declared(SocketOptions)

#: Option, text, value.
GOOD: list[tuple[str, str, Any]] = [
    ("drain_timeout", "0s", 0.0),
    ("log_level", "debug", "debug"),
    ("control", "/run/a b.sock", "/run/a b.sock"),
    ("http", "", ""),
    ("log_messages", "hex", "hex"),
    ("so_linger", "no", False),
    ("so_linger", "off", False),
    ("so_linger", "False", False),
    ("so_linger", "0s", True),
    ("so_linger", "0ms", True),
    ("so_rcvbuf", "1", 1),
    ("so_sndbuf", "1GiB", 1024**3),
    ("tcp_keepidle", "1s", 1.0),
    ("tcp_keepintvl", "9h", 32400.0),
    ("tcp_keepcnt", "127", 127),
    ("tcp_user_timeout", "1ms", 0.001),
    ("tcp_user_timeout", "24h", 86400.0),
    ("so_bindtodevice", "lo", "lo"),
]

#: Option, text, a part of the complaint.
BAD = [
    ("log_level", "verbose", "write debug or info or warn or error"),
    ("log_messages", "yes", "write no or text or hex"),
    ("control", "/run/a\n/run/b", "is not a path"),
    ("control", "/run/a\0", "is not a path"),
    ("http", "tcp:1\ntcp:2", "is not a path"),
    ("so_linger", "5s", "write no or 0s"),
    ("so_linger", "yes", "write no or 0s"),
    ("so_rcvbuf", "0", "write up to 1GiB"),
    ("so_sndbuf", "2GiB", "write up to 1GiB"),
    ("tcp_keepidle", "0s", "write 1s to 9h"),
    ("tcp_keepidle", "10h", "write 1s to 9h"),
    ("tcp_keepcnt", "0", "write 1 to 127"),
    ("tcp_keepcnt", "128", "write 1 to 127"),
    ("tcp_user_timeout", "0ms", "write 1ms to 24h"),
    ("tcp_user_timeout", "25h", "write 1ms to 24h"),
    ("so_keepalive", "60s", "is neither yes nor no"),
]


class RangeTests(SynchronousTestCase):
    """Tests for the kinds that the model narrows."""

    def test_good(self) -> None:
        """Each option takes what the system can do."""
        read = [(name, text, KNOWN[name].type.parse(text)) for name, text, _ in GOOD]
        self.assertEqual(read, GOOD)

    def test_bad(self) -> None:
        """Each option says what it would take instead."""
        for name, text, part in BAD:
            self.assertIn(part, refusal(KNOWN[name].type.parse, text), f"{name} = {text}")

    def test_sockets_keep_the_system(self) -> None:
        """A socket option that is not given is the system's."""
        self.assertEqual(set(attrs.asdict(SocketOptions()).values()), {None})
