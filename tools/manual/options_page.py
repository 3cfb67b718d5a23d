"""Generates the reference of options, C{options.md}, from their declarations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from socketd.protocols.registry import installed
from socketd.settings.faults.profile import FaultOptions
from socketd.settings.faults.values import PERCENT, as_written
from socketd.settings.model import AccessOptions, DaemonOptions, ServiceOptions, SocketOptions
from socketd.settings.options import REQUIRED, Option, declared
from socketd.settings.tls import TlsOptions
from socketd.settings.value_types import RATE

_HEAD = """\
# Options

Every option of a configuration, written by `make docs`. `[defaults]` takes all that services
have, but `listen` and `protocol`. Where no default stands, `listen`, and `reply` or
`rules` of `protocol = reply`, must be given, and a socket option is left as the system has it.
"""


def groups() -> list[tuple[str, type[Any]]]:
    """
    List the options classes with their titles: of the daemon, of every service, and of each
    installed protocol.
    """
    found = installed()
    return [
        ("`[socketd]`: the daemon", DaemonOptions),
        ("Every service", ServiceOptions),
        ("Every service: access policy", AccessOptions),
        ("Every service: socket options", SocketOptions),
        ("Every service: TLS", TlsOptions),
        ("`[fault:NAME]`: how the services that name it misbehave", FaultOptions),
        *((f"`protocol = {name}`", found[name].options) for name in sorted(found)),
    ]


def markdown() -> str:
    """Generate the page in Markdown."""
    return _HEAD + "".join(line for group in groups() for line in _table(*group))


def default_text(found: Option) -> str:
    """Format a default in INI syntax; empty if there is none."""
    value = found.default
    if value is REQUIRED or value is None or value in ("", (), frozenset()):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if found.type is PERCENT:
        return as_written(value)
    if isinstance(value, float):
        return f"{value:g}/s" if found.type is RATE else f"{value:g}s"
    if isinstance(value, bytes):
        return value.decode().encode("unicode_escape").decode()
    return str(value)


def _table(title: str, options: type[Any]) -> Iterator[str]:
    rows = declared(options)
    if rows:
        yield f"\n## {title}\n| option | form | default | meaning |\n|---|---|---|---|\n"
    for found in rows.values():
        form = found.type.syntax.replace("|", "\\|")
        default = default_text(found)
        default = f"`{default}`" if isinstance(found.default, bytes) and default else default
        yield f"| `{found.name}` | {form} | {default} | {found.help} |\n"
