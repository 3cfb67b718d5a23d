"""A daemon of which only the figures are asked."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

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
