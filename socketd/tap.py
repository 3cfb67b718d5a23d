"""
C{twistd socketd}: the options of its command line, and the wiring.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import ILogObserver
from twisted.python import usage

from socketd.configuration import EXIT_CONFIG, configure
from socketd.control.console import ConsoleService
from socketd.daemon import CannotStart, Daemon
from socketd.net.batch import batched
from socketd.net.descriptors import complaints, raise_limit
from socketd.net.inherit import Inherited
from socketd.settings.complaints import SettingsError
from socketd.settings.places import find_config, make_private, runtime_directory
from socketd.signals import Hangups, Signals


class Options(usage.Options):
    """
    The command line behind C{twistd socketd}.
    """

    synopsis = "[options]"
    longdesc = "Answers sockets: echo, ack, upper, reply and time, from one INI file."
    optParameters = [
        ["config", "c", None, "The INI file; else $SOCKETD_CONFIG or /etc/socketd/socketd.ini."]
    ]
    optFlags = [["console", None, "Make this terminal the operator's console."]]

    def postOptions(self) -> None:
        """
        Read the configuration.

        @raise SystemExit: 78 for a configuration that cannot be used (a
            C{usage.UsageError} would end in status 0), 1 for a console that
            would have no terminal.
        """
        if self["console"] and self.parent is not None and not self.parent["nodaemon"]:
            raise SystemExit("socketd: --console needs a terminal; start twistd with --nodaemon")
        self["runtime"] = runtime_directory(os.environ, os.geteuid())
        try:
            self["settings"] = configure(find_config(self["config"], os.environ), self["runtime"])
        except SettingsError as error:
            print(error, file=sys.stderr)
            raise SystemExit(EXIT_CONFIG) from None


class Root(MultiService):
    """
    What twistd runs: the daemon, and perhaps the console.

    @ivar observer: takes the log, in place of twistd's standard output.
    """

    observer: Any = None

    def setServiceParent(self, parent: Any) -> None:
        """
        Have twistd log to the console: the two share one terminal.
        """
        if self.observer is not None:
            parent.setComponent(ILogObserver, self.observer)
        super().setServiceParent(parent)

    def stopService(self) -> Deferred[None]:
        """
        Stop the last child first: the console shows how the daemon stops.
        """
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop_in_turn())

    async def _stop_in_turn(self) -> None:
        for child in reversed(self.services):
            await maybeDeferred(child.stopService)

    def privilegedStartService(self) -> None:
        """
        Bind.

        @raise SystemExit: 1, with one line on standard error for each listener
            that could not be bound.
        """
        try:
            super().privilegedStartService()
        except CannotStart as problem:
            # sys.stderr is the log by now.
            print(problem, file=sys.__stderr__)
            raise SystemExit(1) from None


def makeService(options: Options, reactor: Any = None) -> Root:
    """
    Build the service tree; nothing is bound or started.

    @param reactor: twistd's own where none is given.
    """
    hangups = None
    if reactor is None:
        from twisted.internet import reactor

        # Before anything is scheduled: a step of the wall clock must neither
        # fire nor freeze a timer.
        reactor.seconds = time.monotonic  # type: ignore[attr-defined]
        hangups = Hangups()
    settings = options["settings"]
    limit = raise_limit()
    if found := list(complaints(settings, limit)):
        print(SettingsError(found), file=sys.stderr)
        raise SystemExit(EXIT_CONFIG)
    runtime = options["runtime"]
    listeners = [listener for service in settings.services for listener in service.listeners]
    if any(listener.path.startswith(f"{runtime}/") for listener in listeners):
        try:
            make_private(runtime)
        except OSError as problem:
            raise SystemExit(f"socketd: {problem}") from None
    root = Root()
    inherited = Inherited.take(os.environ, os.getpid())
    read = partial(configure, settings.file, runtime)
    daemon = Daemon(batched(reactor), settings, time.time, limit, inherited, read)
    Signals(reactor, daemon.reload, daemon.abort, hangups).setServiceParent(root)
    if options["console"]:
        console = ConsoleService(reactor, daemon, sys.stdout)
        console.setServiceParent(root)
        twistd: Any = options.parent or {}
        if not (twistd.get("logfile") or twistd.get("syslog")):
            root.observer = console.observer
    daemon.setServiceParent(root)
    return root
