"""
A configuration as this machine can have it: read, and its socket options tried.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from socketd.net.sockopts import try_out
from socketd.protocols.registry import installed
from socketd.settings.complaints import Complaint, SettingsError
from socketd.settings.load import load
from socketd.settings.model import Service, Settings

#: sysexits.h: EX_CONFIG.  systemd is told not to start again after it.
EXIT_CONFIG = 78


def configure(file: str, runtime: str) -> Settings:
    """
    Read a configuration; nothing is bound.

    @param file: its path.
    @param runtime: the directory for UNIX sockets.
    @raise SettingsError: with all complaints.
    """
    return load(file, installed(), runtime, _try_out)


def configure_again(file: str, runtime: str) -> Settings:
    """
    Read a configuration while peers are served, who must not wait for it.

    @raise SettingsError: with all complaints, or if it is a pipe, which may have no writer.
    """
    if Path(file).is_fifo():
        raise SettingsError([Complaint(file, 0, "is a pipe; a reload does not wait for one")])
    return configure(file, runtime)


def _try_out(service: Service) -> Iterator[tuple[str, str]]:
    yield from try_out(service)
    if not _speaks_tls(service):
        return
    # Most configurations have no TLS, and need not wait for its libraries.
    from socketd.net.tls import trial

    for option, message in trial(service.tls):
        # A key that is not named is looked for beside the certificate.
        yield option if option in service.lines else "tls_certificate", message


def _speaks_tls(service: Service) -> bool:
    speaks = any(listener.tls for listener in service.listeners)
    return speaks and bool(service.tls.tls_certificate)


def warnings_of(settings: Settings) -> Iterator[Complaint]:
    """
    List what is served all the same, and should not be: certificates that are not valid
    now.
    """
    for service in filter(_speaks_tls, settings.services):
        from socketd.net.tls import ServerContext

        context = ServerContext(service.tls, time.time)
        context.load()
        for option, message in context.invalid():
            line = service.lines[option]
            yield Complaint(settings.file, line, message, service.name, option)
