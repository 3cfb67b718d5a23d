"""The changes between two configurations, as readable lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from socketd.settings.faults.profile import FAULT
from socketd.settings.model import ServiceSettings, Settings

#: Daemon options that take effect only at the next start.
AT_START = (
    "control", "http", "http_names", "status_page", "log_format", "workers", "balance",
)  # fmt: skip


def differences(old: Settings, new: Settings) -> tuple[str, ...]:
    """List the changes between two configurations."""
    return (*_daemon(old, new), *_faults(old, new), *_services(old, new))


def _daemon(old: Settings, new: Settings) -> Iterator[str]:
    for name in _changed(old.daemon, new.daemon):
        later = " (from the next start on)" if name in AT_START else ""
        yield f"[socketd] {name} changed{later}"


def _faults(old: Settings, new: Settings) -> Iterator[str]:
    for name in old.faults:
        if name not in new.faults:
            yield f"[{FAULT}{name}] removed"
    for name, profile in new.faults.items():
        if name not in old.faults:
            yield f"[{FAULT}{name}] added"
        elif changed := _changed(old.faults[name].options, profile.options):
            yield f"[{FAULT}{name}] {', '.join(changed).replace('_', '-')} changed"


def _services(old: Settings, new: Settings) -> Iterator[str]:
    before = {service.name: service for service in old.services}
    after = {service.name: service for service in new.services}
    for name in before:
        if name not in after:
            yield f"[{name}] removed"
    for name, service in after.items():
        if name not in before:
            yield f"[{name}] added"
        elif what := list(_what(before[name], service)):
            yield f"[{name}] {', '.join(what)} changed"


def _what(old: ServiceSettings, new: ServiceSettings) -> Iterator[str]:
    if old.protocol != new.protocol:
        yield "protocol"
    elif old.options != new.options:
        yield from _changed(old.options, new.options)
    if old.listeners != new.listeners:
        yield "listen"
    for group in ("common", "policy", "sockets", "tls"):
        for name in _changed(getattr(old, group), getattr(new, group)):
            if name not in ("listen", "protocol"):
                yield name


def _changed(old: Any, new: Any) -> list[str]:
    names = [field.name for field in attrs.fields(type(old))]
    return [name for name in names if getattr(old, name) != getattr(new, name)]
