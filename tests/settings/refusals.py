"""What settings say of bad input, in a form that a table can be compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from socketd.settings.diagnostics import SettingsError
from socketd.settings.load import parse
from socketd.settings.model import ProtocolSpec, Settings
from socketd.settings.options import REQUIRED, option
from socketd.settings.value_types import NUMBER, TEXT, YES_NO

#: The directory for UNIX sockets, in these tests.
RUNTIME = "/run/test"


@frozen
class TalkOptions:
    """The options of a protocol that has some: one of them must be given."""

    reply: bytes = option(TEXT, REQUIRED, "What to say.")
    close: bool = option(YES_NO, False, "Whether to close.")
    times: int = option(NUMBER, 1, "How often to say it.")


@frozen
class Silence:
    """The options of a protocol that has none."""


@frozen
class Spoken:
    """A protocol, as far as settings look at one."""

    options: type[Any] = Silence
    stream: Any = None
    datagram: Any = None
    further_ports: Any = lambda options: range(0)
    refusals: Any = lambda options, listeners: ()
    references: Mapping[str, str] = field(factory=dict)
    fixed: Mapping[str, str] = field(factory=dict)
    defaults: Mapping[str, str] = field(factory=dict)


#: What is installed, in these tests.
PROTOCOLS: Mapping[str, Any] = {
    "echo": Spoken(stream=1, datagram=1),
    "stream": Spoken(stream=1),
    "datagram": Spoken(datagram=1),
    "talk": Spoken(TalkOptions, stream=1, datagram=1),
}


@frozen
class Importing(Mapping[str, ProtocolSpec]):
    """Protocols whose import can fail, and that remember which were imported."""

    imported: list[str] = field(factory=list)

    def __getitem__(self, name: str) -> ProtocolSpec:
        self.imported.append(name)
        if name == "broken":
            raise ImportError("no module named crypt")
        found: ProtocolSpec = PROTOCOLS[name]
        return found

    def __iter__(self) -> Any:
        return iter([*PROTOCOLS, "broken"])

    def __len__(self) -> int:
        return len(PROTOCOLS) + 1

    def __contains__(self, name: object) -> bool:
        return name in PROTOCOLS or name == "broken"


def refusal(read: Callable[..., Any], *arguments: Any) -> str:
    """Give the text with which a parser refuses its input; empty if it does not."""
    try:
        read(*arguments)
    except ValueError as problem:
        return str(problem)
    return ""


def parsed(text: str, protocols: Mapping[str, ProtocolSpec] = PROTOCOLS) -> Settings:
    """Read a configuration that is right."""
    return parse(text, "FILE", protocols, RUNTIME)


def diagnostics(text: str, protocols: Mapping[str, ProtocolSpec] = PROTOCOLS) -> list[str]:
    """List what is wrong with a configuration, as the operator reads it."""
    try:
        parsed(text, protocols)
    except SettingsError as error:
        return str(error).split("\n")
    return []
