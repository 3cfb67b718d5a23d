"""
Declares options as fields of attrs classes.

The field holds the value type, the default and the help text; the parser, the diagnostics
and the manual pages read them from there.
"""

from __future__ import annotations

from typing import Any

import attrs
from attrs import frozen

from socketd.settings.value_types import ValueType

#: Marks an option that has no default and must be given.
REQUIRED = attrs.NOTHING


@frozen
class Option:
    """One declared option; its default is parsed, or C{REQUIRED}."""

    name: str
    type: ValueType
    default: Any
    help: str


def option(type: ValueType, default: Any, help: str) -> Any:
    """Declare a field of an options class."""
    return attrs.field(default=default, metadata={"type": type, "help": help}, kw_only=True)


def declared(options: type[Any]) -> dict[str, Option]:
    """List the options of a class, in declaration order."""
    return {
        field.name: Option(field.name, default=field.default, **field.metadata)
        for field in attrs.fields(options)
    }
