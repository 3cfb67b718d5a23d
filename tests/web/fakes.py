"""A daemon of which only the figures are asked, and a browser in memory."""

from __future__ import annotations

import json
import re
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from socketd.configuration import Configuration
from socketd.daemon.daemon import Daemon
from socketd.daemon.wiring import make_daemon as build_daemon
from socketd.protocols.registry import installed
from socketd.settings.load import parse

INI = """
[echo]
listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1

[time]
listen = tcp:0:interface=127.0.0.1
"""


def make_daemon(reactor: Any = None, ini: str = INI) -> Daemon:
    """Make a daemon that is not started."""
    configuration = Configuration(parse(ini, "socketd.ini", installed(), "/run/socketd"))
    return build_daemon(Clock() if reactor is None else reactor, configuration, lambda: 0.0)


class BrowserTransport(StringTransport):
    """
    One connection to the page.

    @ivar peer: its address, as connections have it.
    """

    peer = "127.0.0.1:5"
    is_reset = False

    def abortConnection(self) -> None:
        self.is_reset = True
        self.loseConnection()

    def taken(self) -> bytes:
        """Take what was sent since the last time."""
        found = bytes(self.value())
        self.clear()
        return found

    def told(self) -> list[tuple[str, Any]]:
        """Take the events of a stream: their names and data."""
        text = self.taken().decode()
        found = re.findall(r"event: (\w+)\ndata: (.*)\n\n", text)
        return [(name, json.loads(data)) for name, data in found]
