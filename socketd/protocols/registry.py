"""
The protocols that are installed: ours and those of other packages alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points

from attrs import frozen

from socketd.protocols.spec import ProtocolSpec

#: The entry-point group that a package adds its protocols to.
GROUP = "socketd.protocols"


@frozen
class Registry(Mapping[str, ProtocolSpec]):
    """
    Protocols by name; each file is imported when it is first looked up.
    """

    found: Mapping[str, EntryPoint]

    def __getitem__(self, name: str) -> ProtocolSpec:
        try:
            declaration = self.found[name].load()
        except AttributeError as problem:
            raise ImportError(str(problem)) from problem
        if not isinstance(declaration, ProtocolSpec):
            raise ImportError(f"{self.found[name].value} is no Declaration")
        return declaration

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def __contains__(self, name: object) -> bool:
        return name in self.found


def installed() -> Registry:
    """
    Find every installed protocol without importing any.
    """
    return Registry({point.name: point for point in entry_points(group=GROUP)})
