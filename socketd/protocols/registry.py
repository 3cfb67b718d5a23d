"""The installed protocols: those of this package, and those of others, found by entry point."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING

from socketd.protocols.spec import ProtocolSpec

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: The entry-point group in which another package registers its protocols.
GROUP = "socketd.protocols"

#: The modules of our own, by name.
OURS: Mapping[str, str] = {
    "ack": "messages.ack",
    "chargen": "measure.chargen",
    "daytime": "clock.daytime",
    "discard": "measure.discard",
    "echo": "measure.echo",
    "http": "web.http",
    "ipsla": "measure.ipsla",
    "ntp": "clock.ntp",
    "nts-ke": "clock.nts_ke",
    "qotd": "messages.qotd",
    "reply": "messages.reply",
    "stamp": "measure.stamp",
    "time": "clock.time",
    "upper": "messages.upper",
    "websocket": "web.websocket",
    "whoami": "messages.whoami",
}


def _entry_points() -> Mapping[str, EntryPoint]:
    # Lazy: to import this and to read what each installed package registers takes 15 ms, which a
    # daemon with our own protocols need not spend.
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP) if point.name not in OURS}


class Registry(Mapping[str, ProtocolSpec]):
    """
    Protocols by name; a protocol's module is imported when it is looked up.

    A name of ours is never another package's.
    """

    def __init__(self, find: Callable[[], Mapping[str, EntryPoint]] = _entry_points) -> None:
        """@param find: finds those of other packages, by name; called when they are needed."""
        self._find = find

    @cached_property
    def _others(self) -> Mapping[str, EntryPoint]:
        return self._find()

    def __getitem__(self, name: str) -> ProtocolSpec:
        if name in OURS:
            ours: ProtocolSpec = import_module(f"{__package__}.{OURS[name]}").declaration
            return ours
        try:
            spec = self._others[name].load()
        except AttributeError as problem:
            raise ImportError(str(problem)) from problem
        if not isinstance(spec, ProtocolSpec):
            raise ImportError(f"{self._others[name].value} is no ProtocolSpec")
        return spec

    def __iter__(self) -> Iterator[str]:
        yield from OURS
        yield from self._others

    def __len__(self) -> int:
        return len(OURS) + len(self._others)

    def __contains__(self, name: object) -> bool:
        return name in OURS or name in self._others


def installed() -> Registry:
    """Find all installed protocols without importing them."""
    return Registry()
