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

#: The two forms of transport.
STREAM, DATAGRAM = "stream", "datagram"


@frozen
class Option:
    """
    One declared option; its default is parsed, or C{REQUIRED}.

    @ivar form: L{STREAM} or L{DATAGRAM}, if it means nothing to the other.
    """

    name: str
    type: ValueType
    default: Any
    help: str
    form: str = ""

    @property
    def attribute(self) -> str:
        """The name of its field."""
        return self.name.replace("-", "_")


def option(type: ValueType, default: Any, help: str, name: str = "", form: str = "") -> Any:
    """
    Declare a field of an options class.

    @param name: the name in the file, if it has a hyphen where that of the field cannot.
    @param form: as for L{Option}.
    """
    metadata = {"type": type, "help": help, "form": form} | ({"name": name} if name else {})
    return attrs.field(default=default, metadata=metadata, kw_only=True)


def declared(options: type[Any]) -> dict[str, Option]:
    """List the options of a class, in declaration order."""
    known = (
        Option(**{"name": one.name} | one.metadata, default=one.default)
        for one in attrs.fields(options)
    )
    return {found.name: found for found in known}
