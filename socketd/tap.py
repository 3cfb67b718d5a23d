"""C{twistd socketd}: its command line options, and the wiring of the service tree."""

from __future__ import annotations

import faulthandler
import gc
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import FilteringLogObserver, ILogObserver, LogLevel, LogLevelFilterPredicate
from twisted.python import usage

from socketd.common.cores import usable_cores
from socketd.common.errors import BAD_CONFIGURATION
from socketd.common.paths import find_config, make_private, runtime_directory
from socketd.configuration import Configuration, configure, configure_again
from socketd.daemon.announcement import Announcement
from socketd.daemon.daemon import Daemon
from socketd.daemon.log import STDERR, STDOUT, LineLog, goes_to_journal, make_observer
from socketd.daemon.notify import Notifier, NotifyService
from socketd.daemon.signals import Hangups, Signals, Terminal
from socketd.daemon.state import CannotStart
from socketd.daemon.summaries import Summaries
from socketd.daemon.wiring import make_daemon
from socketd.net.reactor.batch import BatchReactor
from socketd.net.sockets.activation import Inherited
from socketd.net.sockets.group import Sharing
from socketd.net.sockets.rlimit import raise_limit
from socketd.settings.diagnostics import SettingsError
from socketd.settings.model import Settings

#: Makes a configuration, from the directory for UNIX sockets and the descriptor limit.
Configure = Callable[[str, int], Configuration]


class Options(usage.Options):
    """
    The command line options of C{twistd socketd}.

    @ivar announced: how the bound addresses are printed on standard output, which then has no
        log: C{text}, C{json}, or C{console}; empty: not at all.
    """

    announced = ""

    synopsis = "[options]"
    longdesc = "Answers sockets: echo, ack, upper, reply and time, from one INI file."
    optParameters = [
        ["config", "c", None, "The INI file; else $SOCKETD_CONFIG or /etc/socketd/socketd.ini."]
    ]
    optFlags = [
        ["console", None, "Make this terminal the operator's console."],
        ["journal", None, "Begin each line of the log with its priority, as for journald."],
    ]

    def parseArgs(self, *rest: str) -> None:
        """Refuse what is no option, by its name."""
        if rest:
            raise usage.UsageError(f"{rest[0]} is one argument too many")

    def postOptions(self) -> None:
        """
        Read the configuration.

        @raise SystemExit: 78 for an invalid configuration (C{usage.UsageError} would exit
            with status 0), 1 for C{--console} without C{--nodaemon}.
        """
        if self["console"] and self.parent is not None and not self.parent["nodaemon"]:
            raise SystemExit("socketd: --console needs a terminal; start twistd with --nodaemon")
        file = find_config(self["config"], os.environ)
        try:
            self.configure(partial(configure, file), partial(configure_again, file))
        except SettingsError as error:
            print(error, file=sys.stderr)
            raise SystemExit(BAD_CONFIGURATION) from None

    def configure(self, read: Configure, again: Configure) -> None:
        """
        Read the configuration.

        @param again: reads it for a reload.
        @raise SettingsError: with all errors.
        """
        self["runtime"] = runtime_directory(os.environ, os.geteuid())
        self["limit"] = raise_limit()
        self["again"] = partial(again, self["runtime"], self["limit"])
        self["configuration"] = read(self["runtime"], self["limit"])


class Root(MultiService):
    """
    The root of the service tree: the daemon and the services around it.

    @ivar observer: the log observer that replaces twistd's; C{None}: twistd's own.
    """

    observer: Any = None

    def setServiceParent(self, parent: Any) -> None:
        """
        Install the log observer, which writes to the configured output or to the console;
        log and console share one terminal.
        """
        if self.observer is not None:
            parent.setComponent(ILogObserver, self.observer)
        super().setServiceParent(parent)

    def stopService(self) -> Deferred[None]:
        """Stop the children in reverse order, so that the console shows how the daemon stops."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop_in_turn())

    async def _stop_in_turn(self) -> None:
        for child in reversed(self.services):
            await maybeDeferred(child.stopService)

    def privilegedStartService(self) -> None:
        """
        Bind all listeners.

        @raise SystemExit: 1, with one line on standard error for each error.
        """
        try:
            super().privilegedStartService()
        except CannotStart as problem:
            for child in self.services:
                if hasattr(child, "close"):
                    child.close()
            # sys.stderr goes to the log at this point.
            print(problem, file=sys.__stderr__)
            raise SystemExit(1) from None


def makeService(options: Options, reactor: Any = None) -> Root:
    """
    Build the service tree; nothing is bound or started.

    @param reactor: C{None}: the global reactor, for which signals, the terminal and stack
        dumps are set up too.
    """
    hangups = terminal = None
    if reactor is None:
        from twisted.internet import reactor

        # Set before anything is scheduled: a step of the wall clock must neither fire nor
        # delay a timer.
        reactor.seconds = time.monotonic  # type: ignore[attr-defined]
        terminal, hangups = Terminal(), Hangups()
        _show_stacks()
        # What is imported lives as long as the process; each full collection would take
        # 12 ms to find that out, the first one during the start: none ran since twistd began to
        # import this (twisted/plugins).
        gc.freeze()
        gc.enable()
    configuration, runtime = options["configuration"], options["runtime"]
    settings = configuration.settings
    limit, again = options["limit"], options["again"]
    _make_directories(settings, runtime)
    inherited = Inherited.take(os.environ, os.getpid())
    daemon = _make_daemon(reactor, configuration, limit, inherited, again)
    root = Root()
    root.observer = log = _make_log(options, settings.daemon.log_format, reactor)
    # The children stop in reverse order: systemd is notified to the end, and operators
    # and health checks see the daemon drain.
    notifier = Notifier(os.environ, reactor, os.getpid())
    NotifyService(reactor, daemon, notifier).setServiceParent(root)
    Signals(reactor, daemon.reload, daemon.abort, hangups, terminal).setServiceParent(root)
    if options["console"]:
        _add_console(root, options, reactor, daemon)
    elif options.announced:
        root.observer = _without_twistd(log)
    Summaries(daemon, lambda: 0 if log is None else log.lost).setServiceParent(root)
    _add_own(root, daemon, settings)
    if options.announced:
        Announcement(daemon, options.announced)
    daemon.setServiceParent(root)
    return root


def _make_daemon(reactor: Any, configuration: Configuration, *more: Any) -> Daemon:
    """Make a daemon that serves itself, or has workers."""
    sharing = Sharing.asked(configuration.settings, usable_cores())
    parts = (BatchReactor(reactor), configuration, time.time, *more)
    if sharing.workers == 1:
        return make_daemon(*parts)
    from socketd.workers.master import make_master

    return make_master(reactor, sharing.tried(), *parts)


def _add_own(root: Root, daemon: Daemon, settings: Settings) -> None:
    """Add what has a listener of the daemon itself, imported only where it is: that takes time."""
    if settings.http is not None:
        from socketd.web.service import WebService

        WebService(daemon, settings.http).setServiceParent(root)
    if settings.control is not None:
        from socketd.control.server import ControlService

        ControlService(daemon, settings.control.path).setServiceParent(root)


def _make_directories(settings: Settings, runtime: str) -> None:
    """Make the daemon's own directories for sockets."""
    listeners = [listener for service in settings.services for listener in service.listeners]
    listeners += [] if settings.http is None else [settings.http]
    try:
        if settings.control is not None:
            from socketd.control.server import make_directory

            make_directory(settings.control.path)
        if any(listener.path.startswith(f"{runtime}/") for listener in listeners):
            make_private(runtime)
    except OSError as problem:
        text = str(problem)
        if problem.filename is not None:
            remedy = f"make it, or write another path in {settings.file}"
            if runtime.startswith(problem.filename):
                remedy = "mount a directory there that can be written, or set RUNTIME_DIRECTORY to"
                remedy += " another one"
            text = f"cannot make {problem.filename} for sockets: {problem.strerror}; {remedy}"
        raise SystemExit(f"socketd: {text}") from None


def _add_console(root: Root, options: Options, reactor: Any, daemon: Daemon) -> None:
    from socketd.control.console import ConsoleService
    from socketd.terminal.device import CbreakMode

    terminals = all(one is not None and one.isatty() for one in (sys.stdin, sys.stdout))
    keys = CbreakMode(sys.stdin.fileno()) if terminals else None
    console = ConsoleService(reactor, daemon, sys.stdout, keys)
    console.setServiceParent(root)
    twistd: Any = options.parent or {}
    if not (twistd.get("logfile") or twistd.get("syslog")):
        root.observer = console.observer


def _without_twistd(observer: Any) -> FilteringLogObserver:
    """Leave out what twistd tells of itself."""
    levels = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    levels.setLogLevelForNamespace("socketd", LogLevel.debug)
    return FilteringLogObserver(observer, [levels])


def _show_stacks() -> None:
    """Enable faulthandler: a crash, or the watchdog's SIGABRT, dumps the stacks to the log."""
    if sys.__stderr__ is not None:
        faulthandler.enable(sys.__stderr__)


def _make_log(options: Options, log_format: str, reactor: Any) -> LineLog | None:
    """Make the log observer; C{None} if twistd's own is used, or there is no twistd."""
    if options.parent is None:
        return None
    descriptor = STDERR if options.announced else STDOUT
    prioritised = bool(options["journal"]) or goes_to_journal(os.environ, descriptor)
    try:
        return make_observer(log_format, options.parent, prioritised, reactor, descriptor)
    except OSError as problem:
        raise SystemExit(f"socketd: {problem}") from None
