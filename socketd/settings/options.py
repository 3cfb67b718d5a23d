"""
How a class of options is declared: an attrs class whose fields say all.

The kind, the default and the help stand beside the field, once; the parser, the
complaints and the manuals read them from there.
"""

from __future__ import annotations

from typing import Any

import attrs
from attrs import frozen

from socketd.settings.value_types import Kind

#: The default of an option that must be given.
REQUIRED = attrs.NOTHING


@frozen
class Option:
    """
    One declared option.

    @ivar name: as written in the INI file.
    @ivar kind: how its value is written and read.
    @ivar default: its value where the file gives none, or C{REQUIRED}.
    @ivar help: one sentence for the manual.
    """

    name: str
    kind: Kind
    default: Any
    help: str


def option(kind: Kind, default: Any, help: str) -> Any:
    """
    Declare a field of an options class.

    @param default: the parsed default, or C{REQUIRED}.
    """
    return attrs.field(default=default, metadata={"kind": kind, "help": help}, kw_only=True)


def declared(options: type[Any]) -> dict[str, Option]:
    """
    List what an options class declares, in its own order.
    """
    return {
        field.name: Option(
            field.name, field.metadata["kind"], field.default, field.metadata["help"]
        )
        for field in attrs.fields(options)
    }
