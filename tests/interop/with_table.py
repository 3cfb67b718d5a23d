"""The table itself: nothing that the daemon serves is left out of it."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.interop import with_clocks, with_sockets
from tests.interop.table import (
    CLIENTS,
    DATAGRAMS,
    PORT_123_QUERIES,
    QUERIES,
    SERVICES,
    STREAMS,
    rows,
)

TOP = Path(__file__).parent.parent.parent
ALL_QUERIES = QUERIES + PORT_123_QUERIES
PROTOCOLS = {service.name: service.protocol for service in SERVICES}

#: What is spoken by the clients of C{with_http.py}, C{with_websocket.py}, C{with_nts.py} and
#: C{with_stamp.py}; only routers speak IP SLA, and C{tests/system/test_ipsla.py} as they do.
ELSEWHERE = {"http", "websocket", "nts-ke", "stamp", "ipsla"}


def asked() -> set[tuple[str, str]]:
    """List the protocols and transports that some client speaks."""
    pairs = {(row.service.protocol, row.client.transport) for row in rows()}
    return pairs | {(PROTOCOLS[query.service], query.transport) for query in ALL_QUERIES}


def served() -> set[tuple[str, str]]:
    """List the protocols and transports that docs/guide.md promises."""
    text = (TOP / "docs" / "guide.md").read_text()
    table = text.partition("## What it serves")[2].partition("\n\n")[0]
    pairs = set()
    row = r"^\| `([\w-]+)` \| (.*) \| (.*) \|$"
    for protocol, *columns in re.findall(row, table, re.MULTILINE):
        for column, transports in zip(columns, (STREAMS, DATAGRAMS), strict=True):
            if column != "-":
                pairs |= {(protocol, transport) for transport in transports}
    return pairs


class TableTests(SynchronousTestCase):
    """Tests for what is in the table."""

    def test_everything_served_is_asked(self) -> None:
        """
        Each protocol of the guide is asked over each transport that it has; but no client
        speaks NTP over UNIX sockets, and some protocols are asked in files of their own.
        """
        pairs = served() - asked()
        left = {(name, transport) for name, transport in pairs if name not in ELSEWHERE}
        self.assertEqual(left, {("ntp", "unixgram")})

    def test_nothing_else_is_asked(self) -> None:
        """What is asked is in the guide."""
        self.assertEqual(asked() - served(), set())

    def test_every_client_has_its_test(self) -> None:
        """Each client of the table has the test of its name."""
        sockets = {f"test_{client.name.replace('.', '_')}" for client in CLIENTS}
        clocks = {f"test_{query.name}" for query in QUERIES}
        for names, case in (
            (sockets, with_sockets.SocketClientTests),
            (clocks, with_clocks.ClockClientTests),
        ):
            self.assertLessEqual(names, set(vars(case)))
