"""Tells who started a daemon where it listens, on standard output."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from ipaddress import ip_address
from socket import AF_UNIX
from typing import Any

from twisted.logger import Logger

from socketd.daemon.daemon import Daemon
from socketd.daemon.state import State
from socketd.net.listen import Bound


class Announcement:
    """Prints the addresses of a daemon, once it serves them."""

    _log = Logger()

    def __init__(self, daemon: Daemon, form: str) -> None:
        """@param form: C{text}, C{json}, or C{console}, where the log has the addresses."""
        self._daemon = daemon
        self._form = form
        self._is_made = False
        daemon.on_state(self._changed)

    def _changed(self, state: State, detail: str) -> None:
        if state == State.SERVING and not self._is_made:
            self._is_made = True
            # Later: a program that waits for the lines may then send a signal, which is handled
            # only once the reactor runs.
            self._daemon.reactor.callLater(0, self._announce)

    def _announce(self) -> None:
        bound = [one for service in self._daemon.services for one in service.bound]
        if self._form == "json":
            own = {one.option: one.bound for one in self._daemon.own if one.bound is not None}
            service, *_ = self._daemon.services
            found = {"protocol": service.settings.protocol, "listeners": [*map(_describe, bound)]}
            _print([json.dumps(found | {name: _describe(one) for name, one in own.items()})])
        elif self._form == "text":
            _print([f"listening on {one}" for one in bound])
        if open_ones := ", ".join(str(one) for one in bound if not _is_local(one)):
            self._log.warn("other machines can reach {listeners}", listeners=open_ones)


def _describe(bound: Bound) -> dict[str, Any]:
    name = bound.sock.getsockname()
    if bound.sock.family == AF_UNIX:
        return {"kind": bound.listener.kind, "path": os.fsdecode(name)}
    return {"kind": bound.listener.kind, "host": name[0], "port": name[1]}


def _is_local(bound: Bound) -> bool:
    if bound.sock.family == AF_UNIX:
        return True
    return ip_address(bound.sock.getsockname()[0]).is_loopback


def _print(lines: list[str]) -> None:
    """Write to standard output itself, which twistd has replaced by the log."""
    if sys.__stdout__ is not None:
        # A reader that is gone does not end the service.
        with suppress(OSError):
            os.write(sys.__stdout__.fileno(), "".join(f"{line}\n" for line in lines).encode())
