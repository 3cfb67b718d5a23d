"""
Validates a configuration for this machine. All reasons to refuse a start are found here,
so that C{socketd check} and the start always agree.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from socketd.common.cores import usable_cores
from socketd.common.paths import OTHERS_WRITE
from socketd.net.needs import needed
from socketd.net.sockets import rlimit
from socketd.net.sockets.conflicts import conflicts
from socketd.net.sockets.group import Sharing
from socketd.net.sockets.sockopts import validate
from socketd.protocols.registry import installed
from socketd.protocols.spec import MAX_AMPLIFY
from socketd.settings.diagnostics import Diagnostic, SettingsError
from socketd.settings.ini import IniSection, read_file
from socketd.settings.listener_syntax import RUNTIME
from socketd.settings.load import assemble, parse
from socketd.settings.model import ServiceSettings, Settings

if TYPE_CHECKING:
    from socketd.net.tls.context import ServerContext


@frozen
class Configuration:
    """
    A valid configuration.

    @ivar contexts: the TLS contexts of the services, with their certificates loaded.
    """

    settings: Settings
    contexts: Mapping[str, ServerContext] = {}


def configure(
    file: str,
    runtime: str,
    limit: int | None = None,
    wall_clock: Callable[[], float] = time.time,
    clock: Callable[[], float] = time.monotonic,
) -> Configuration:
    """
    Read and validate a configuration; nothing is bound.

    @param file: its path.
    @param runtime: the directory for UNIX sockets.
    @param limit: the descriptor limit of the process; C{None}: not checked.
    @param clock: the clock of the reactor, for the TLS contexts.
    @raise SettingsError: with all errors.
    """
    machine = _Machine(runtime, limit, wall_clock, clock)
    settings = parse(read_file(file), file, installed(), runtime, machine.refusals)
    return Configuration(settings, machine.contexts)


def configure_sections(
    sections: list[IniSection],
    diagnostics: list[Diagnostic],
    place: str,
    runtime: str,
    limit: int | None = None,
) -> Configuration:
    """
    Validate sections that come from no file; listeners without an interface are on loopback.

    @param diagnostics: the errors of their parser.
    @param place: what stands for the file in diagnostics.
    @raise SettingsError: with all errors.
    """
    machine = _Machine(runtime, limit, time.time, time.monotonic)
    found = (sections, diagnostics, place, installed(), runtime, machine.refusals)
    return Configuration(assemble(*found, is_local=True), machine.contexts)


def configure_again(file: str, runtime: str, limit: int | None = None) -> Configuration:
    """
    Read a configuration for a reload, which must not block the reactor.

    @raise SettingsError: with all errors, or if the file is a pipe, which may have no
        writer.
    """
    if Path(file).is_fifo():
        raise SettingsError([Diagnostic(file, 0, "is a pipe; a reload does not wait for one")])
    return configure(file, runtime, limit)


@define
class _Machine:
    """What this machine does not support, and the certificates that it has."""

    runtime: str
    limit: int | None
    wall_clock: Callable[[], float]
    clock: Callable[[], float]
    contexts: dict[str, ServerContext] = field(factory=dict, init=False)

    def refusals(self, settings: Settings) -> Iterator[Diagnostic]:
        """List everything in a configuration that this machine does not support."""
        for service in settings.services:
            for option, message in (*validate(service), *self._load(service)):
                yield service.complaint(option, message)
        yield from conflicts(settings)
        yield from Sharing.asked(settings).refusals(settings.services)
        yield from _control(settings)
        yield from _runtime(settings, self.runtime)
        if self.limit is not None:
            workers = Sharing.asked(settings, usable_cores()).workers
            yield from rlimit.diagnostics(settings, self.limit, workers)

    def _load(self, service: ServiceSettings) -> Iterator[tuple[str, str]]:
        """Load the certificates of a service, and report what is wrong with them."""
        uses_tls = any(listener.tls for listener in service.listeners)
        if not uses_tls or not service.tls.tls_certificate:
            return
        # Lazy: this import takes 0.1 s, which a daemon without TLS need not spend.
        from socketd.net.tls.context import ServerContext

        context = ServerContext(service.tls, self.wall_clock, self.clock)
        for option, message in context.load():
            # A key that is not named is expected beside the certificate.
            yield option if option in service.lines else "tls_certificate", message
        self.contexts[service.name] = context


def _control(settings: Settings) -> Iterator[Diagnostic]:
    """Report a control socket in a world-writable directory, where any user could replace it."""
    if settings.control is None:
        return
    directory = os.path.dirname(settings.control.path) or "."
    if os.path.isdir(directory) and os.stat(directory).st_mode & stat.S_IWOTH:
        message = f"is in {directory}, which every user can write;"
        message += f" write control = {RUNTIME}/control.sock"
        yield settings.complaint("control", message, settings.control.path)


def _runtime(settings: Settings, runtime: str) -> Iterator[Diagnostic]:
    """Report sockets in a runtime directory where other users could replace them."""
    if not os.path.lexists(runtime):
        # The start creates it.
        return
    mode = os.lstat(runtime).st_mode
    if stat.S_ISDIR(mode) and not mode & OTHERS_WRITE:
        return
    message = f"is in {runtime}, which is not a directory that only its owner can write"
    for service in settings.services:
        for listener in service.listeners:
            if listener.path.startswith(f"{runtime}/"):
                yield service.complaint("listen", message, str(listener))
    if settings.http is not None and settings.http.path.startswith(f"{runtime}/"):
        yield settings.complaint("http", message, settings.http)


def hints_of(settings: Settings) -> Iterator[Diagnostic]:
    """
    List valid settings that may be unintended: UDP listeners that answer only long
    datagrams, and what protocols know.
    """
    for service in settings.services:
        users = [
            listener
            for other in settings.services
            for option in other.declared.references
            if getattr(other.options, option) == service.name
            for listener in other.listeners
        ]
        for option, message in service.declared.hints(service.options, service.listeners, users):
            yield service.complaint(option, message)
        shortest = service.declared.shortest_reply(service.options)
        speaks_udp = any(listener.kind in ("udp", "udp6") for listener in service.listeners)
        if speaks_udp and shortest > service.declared.reply_floor(service.options):
            message = f"answers over UDP only datagrams of {shortest} bytes or more, because"
            message += " the sender of a shorter one may be forged"
            if shortest <= MAX_AMPLIFY:
                message += f"; udp_amplify = {shortest} answers all"
            yield service.complaint("listen", message)


def warnings_of(configuration: Configuration, runtime: str) -> Iterator[Diagnostic]:
    """
    List problems that do not prevent a start: certificates that are not valid now, and
    requirements that are missing now but may be met at the start.

    @param runtime: the directory for UNIX sockets, which the start creates.
    """
    settings = configuration.settings
    for service in settings.services:
        for listener in service.listeners:
            if missing := needed(listener, runtime):
                yield service.complaint("listen", missing, str(listener))
    # The start creates the directory of the control socket.
    if settings.http is not None and (missing := needed(settings.http, runtime)):
        yield settings.complaint("http", missing, settings.http)
    for service in settings.services:
        if service.name in configuration.contexts:
            for option, message in configuration.contexts[service.name].invalid():
                yield service.complaint(option, message)
