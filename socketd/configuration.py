"""
Validates a configuration for this machine. All reasons to refuse a start are found here,
so that C{socketd check} and the start always agree.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from socketd.net.needs import needed
from socketd.net.sockets import rlimit
from socketd.net.sockets.conflicts import conflicts
from socketd.net.sockets.sockopts import validate
from socketd.protocols.registry import installed
from socketd.protocols.spec import MAX_AMPLIFY
from socketd.settings.diagnostics import Diagnostic, SettingsError
from socketd.settings.listeners import RUNTIME
from socketd.settings.load import load
from socketd.settings.model import DAEMON, Service, Settings


def configure(file: str, runtime: str, limit: int | None = None) -> Settings:
    """
    Read and validate a configuration; nothing is bound.

    @param file: its path.
    @param runtime: the directory for UNIX sockets.
    @param limit: the descriptor limit of the process; C{None}: not checked.
    @raise SettingsError: with all complaints.
    """
    return load(file, installed(), runtime, partial(refusals, limit=limit))


def configure_again(file: str, runtime: str, limit: int | None = None) -> Settings:
    """
    Read a configuration for a reload, which must not block the reactor.

    @raise SettingsError: with all complaints, or if the file is a pipe, which may have no
        writer.
    """
    if Path(file).is_fifo():
        raise SettingsError([Diagnostic(file, 0, "is a pipe; a reload does not wait for one")])
    return configure(file, runtime, limit)


def refusals(settings: Settings, limit: int | None = None) -> Iterator[Diagnostic]:
    """List everything in a configuration that this machine does not support."""
    for service in settings.services:
        for option, message in _validate(service):
            yield service.complaint(option, message)
    yield from conflicts(settings)
    yield from _control(settings)
    if limit is not None:
        yield from rlimit.diagnostics(settings, limit)


def _control(settings: Settings) -> Iterator[Diagnostic]:
    """Report a control socket in a world-writable directory, where any user could replace it."""
    if settings.control is None:
        return
    directory = os.path.dirname(settings.control.path) or "."
    if os.path.isdir(directory) and os.stat(directory).st_mode & stat.S_IWOTH:
        message = f"is in {directory}, where everybody can write;"
        message += f" write control = {RUNTIME}/control.sock"
        line = settings.lines["control"]
        yield Diagnostic(settings.file, line, message, DAEMON, "control", settings.control.path)


def hints_of(settings: Settings) -> Iterator[Diagnostic]:
    """
    List valid settings that may be unintended: UDP listeners that answer only long
    datagrams.
    """
    for service in settings.services:
        shortest = service.declared.shortest_reply(service.options)
        speaks_udp = any(listener.kind in ("udp", "udp6") for listener in service.listeners)
        if speaks_udp and shortest > service.declared.reply_floor(service.options):
            message = f"answers over UDP only datagrams of {shortest} bytes or more, because"
            message += " the sender of a shorter one may be forged"
            if shortest <= MAX_AMPLIFY:
                message += f"; udp_amplify = {shortest} answers all"
            line = service.lines["listen"]
            yield Diagnostic(settings.file, line, message, service.name, "listen")


def _validate(service: Service) -> Iterator[tuple[str, str]]:
    yield from validate(service)
    if not _speaks_tls(service):
        return
    # Imported lazily: most configurations do not need the TLS libraries.
    from socketd.net.tls.context import trial

    for option, message in trial(service.tls):
        # A key that is not named is expected beside the certificate.
        yield option if option in service.lines else "tls_certificate", message


def _speaks_tls(service: Service) -> bool:
    speaks = any(listener.tls for listener in service.listeners)
    return speaks and bool(service.tls.tls_certificate)


def warnings_of(settings: Settings, runtime: str) -> Iterator[Diagnostic]:
    """
    List problems that do not prevent a start: certificates that are not valid now, and
    requirements that are missing now but may be met at the start.

    @param runtime: the directory for UNIX sockets, which the start creates.
    """
    for service in settings.services:
        for listener in service.listeners:
            if missing := needed(listener, runtime):
                yield service.complaint("listen", missing, str(listener))
    # The start creates the directory of the control socket.
    if settings.http is not None and (missing := needed(settings.http, runtime)):
        line, value = settings.lines["http"], str(settings.http)
        yield Diagnostic(settings.file, line, missing, DAEMON, "http", value)
    for service in filter(_speaks_tls, settings.services):
        from socketd.net.tls.context import ServerContext

        context = ServerContext(service.tls, time.time)
        context.load()
        for option, message in context.invalid():
            yield service.complaint(option, message)
