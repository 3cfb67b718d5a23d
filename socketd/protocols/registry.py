"""The installed protocols, those of other packages included, found by entry point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points

from attrs import frozen

from socketd.protocols.spec import ProtocolSpec

#: The entry-point group in which a package registers its protocols.
GROUP = "socketd.protocols"


@frozen
class Registry(Mapping[str, ProtocolSpec]):
    """Protocols by name; a protocol's module is imported when it is looked up."""

    entry_points: Mapping[str, EntryPoint]

    def __getitem__(self, name: str) -> ProtocolSpec:
        try:
            spec = self.entry_points[name].load()
        except AttributeError as problem:
            raise ImportError(str(problem)) from problem
        if not isinstance(spec, ProtocolSpec):
            raise ImportError(f"{self.entry_points[name].value} is no ProtocolSpec")
        return spec

    def __iter__(self) -> Iterator[str]:
        return iter(self.entry_points)

    def __len__(self) -> int:
        return len(self.entry_points)

    def __contains__(self, name: object) -> bool:
        return name in self.entry_points


def installed() -> Registry:
    """Find all installed protocols without importing them."""
    return Registry({point.name: point for point in entry_points(group=GROUP)})
