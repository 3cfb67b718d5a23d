"""Says what was probably meant by an option or a value that is not valid."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress

from socketd.settings import model
from socketd.settings.faults.profile import FAULT, FaultOptions
from socketd.settings.listener_syntax import meant
from socketd.settings.options import declared
from socketd.settings.tls import TlsOptions
from socketd.settings.value_types import unquoted

#: The options that every service has.
COMMON = (model.ServiceOptions, model.AccessOptions, model.SocketOptions, TlsOptions)

#: What other programs call the faults.
_FAULT_NAMES = {"delay": "latency", "drop": "loss", "rate": "bandwidth", "timeout": "close"}

#: Where an option of a fault profile belongs.
IN_PROFILE = "write it in a section [fault:NAME], and fault = NAME in that of the service"

#: Options that other programs have in place of C{listen}.
_INSTEAD_OF_LISTEN = ("address", "bind", "host", "interface", "port")


def where_it_belongs(
    section: str, name: str, value: str, protocols: Mapping[str, model.ProtocolSpec], runtime: str
) -> str:
    """
    Say in which section an unknown option belongs, or which option has this name in other
    programs.

    @return: an empty string if neither is known.
    """
    if match := re.match(r"(\w+)\s*:\s*(.+)", name):
        return f"write {match[1]} = {match[2]}={value}"
    if any(name in declared(group) for group in COMMON):
        for_all = "" if section == model.DEFAULTS else ", or in [defaults] for all"
        return f"write it in the section of a service{for_all}"
    if section.startswith(FAULT) and name in _FAULT_NAMES:
        return f"write {_FAULT_NAMES[name]}"
    if name in declared(FaultOptions):
        return IN_PROFILE
    if name in declared(model.DaemonOptions):
        return f"write it in [{model.DAEMON}]"
    if owners := sorted(_owners(name, protocols)):
        return f"{' and '.join(owners)} {'have' if owners[1:] else 'has'} it"
    if name in _INSTEAD_OF_LISTEN and section not in (model.DAEMON, model.DEFAULTS):
        return f"write listen = {meant(value, runtime) or 'tcp:PORT or udp:PORT'}"
    return ""


def _owners(name: str, protocols: Mapping[str, model.ProtocolSpec]) -> Iterator[str]:
    """List the protocols that have an option; imports all, so it is called for errors only."""
    for protocol in protocols:
        # A protocol that cannot be imported matters only to services that use it.
        with suppress(ImportError):
            if name in declared(protocols[protocol].options):
                yield protocol


def about_comment(value: str) -> str:
    """Describe the comment syntax if a value contains a C{#} comment."""
    for line in value.split("\n"):
        before, *after = re.split(r"(?:^|\s+)#", line, maxsplit=1)
        if after:
            right = f"{before}  ;{after[0]}" if before else f";{after[0]}, on a line of its own"
            return f"has a #, and a comment begins with a semicolon; write {right.strip()}"
    return ""


def about_quotes(value: str) -> str:
    """Describe the quotes around a value, which the INI dialect does not have."""
    bare = unquoted(value)
    return f"has quotes, which would be part of it; write {bare}" if bare != value else ""
