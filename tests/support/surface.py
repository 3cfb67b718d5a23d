"""
What users write or parse, collected from the code; C{tests/support/surface.json} has it as it was.

C{python -m tests.support.surface} writes the file again, when something was added.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from zope.interface.interface import InterfaceClass

from socketd.common import errors
from socketd.common.events import CATALOGUE
from socketd.common.answers import Answer
from socketd.common.commands import COMMANDS
from socketd.common.lag import LagMeter
from socketd.control.commands import respond
from socketd.control.results import JSON
from socketd.protocols.batches import IBatchProtocol, IDatagramBatch
from socketd.protocols.spec import ProtocolContext, ProtocolSpec
from socketd.settings.options import declared
from socketd.testing import Service, SocketdServer
from socketd.web.metrics import make_registry
from tests.control.fakes import FakeOperatorSession, connect
from tests.control.fakes import make_daemon as make_commanded
from tests.web.fakes import make_daemon as make_measured
from tools.manual.options_page import default_text, groups
from tools.manual.program import arguments, command_line

FILE = Path(__file__).with_name("surface.json")

#: The commands that only ask, whose answers programs read.
QUESTIONS = ("status", "services", "connections", "waiting", "show 1", "bans", "faults")

#: What other packages and test suites use.
CLASSES: tuple[Any, ...] = (
    ProtocolSpec, ProtocolContext, IBatchProtocol, IDatagramBatch, SocketdServer, Service,
)  # fmt: skip

#: The metrics of this project; the others are those of the client library.
PREFIX = "socketd_"


def surface() -> dict[str, Any]:
    """Collect everything, in values that JSON has."""
    return {
        "options": _options(),
        "events": {name: dict.fromkeys(event.fields, True) for name, event in CATALOGUE.items()},
        "metrics": _metrics(),
        "commands": dict.fromkeys(COMMANDS, True),
        "json": _answers(),
        "subcommands": _subcommands(),
        "statuses": {
            name: value for name, value in vars(errors).items() if isinstance(value, int)
        },
        "entry_points": _entry_points(),
        "python": {kind.__name__: dict.fromkeys(_names(kind), True) for kind in CLASSES},
    }


def write(found: dict[str, Any]) -> str:
    """Write what was collected, a line for each value, so that a change shows as one."""
    return json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def stored() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def missing(old: Any, new: Any, name: str = "") -> list[str]:
    """List what is no longer as it was. More keys are no change."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            text
            for key, value in old.items()
            for text in missing(value, new.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if old == new else [f"{name} was {old!r} and is {new!r}"]


def _options() -> dict[str, Any]:
    """
    Collect the options with their defaults: those of the daemon, those of every service, and
    those of each protocol.
    """
    found: dict[str, dict[str, str]] = {}
    for title, options in groups():
        rows = declared(options).values()
        section = title.partition(": ")[0]
        found.setdefault(section, {}).update({row.name: default_text(row) for row in rows})
    return found


def _entry_points() -> dict[str, Any]:
    """Collect what other programs find by the metadata: commands, plugins and protocols."""
    found: dict[str, dict[str, bool]] = {}
    for point in distribution("socketd").entry_points:
        found.setdefault(point.group, {})[point.name] = True
    return found


def _names(kind: Any) -> list[str]:
    """List the public names of a class or an interface, and the fields of its objects."""
    names = list(kind) if isinstance(kind, InterfaceClass) else dir(kind)
    return [name for name in names if not name.startswith("_")]


def _metrics() -> dict[str, Any]:
    daemon = make_measured()
    # Faults have no figures before there is a profile.
    daemon.service_states[0].counters.faults["latency"] = 1
    registry = make_registry(daemon, LagMeter(daemon.reactor))
    found: dict[str, dict[str, bool]] = {}
    for family in registry.collect():
        for sample in family.samples:
            if sample.name.startswith(PREFIX):
                found.setdefault(sample.name, {}).update(dict.fromkeys(sample.labels, True))
    return found


def _answers() -> dict[str, Any]:
    daemon = make_commanded()
    connect(daemon).receive(b"hello")
    found = {}
    for line in QUESTIONS:
        answers: list[Answer] = []
        respond(daemon, line, FakeOperatorSession()).addCallback(answers.append)
        found[line] = _shape(json.loads(JSON.write(answers[0])))
    return found


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape(one) for key, one in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {"each": _shape(value[0])}
    return type(value).__name__


def _subcommands() -> dict[str, Any]:
    parsers = command_line()[1]
    return {
        name: {flag: True for action in arguments(parser) for flag in action.option_strings}
        for name, parser in {**parsers, "twistd": parsers["run"]}.items()
    }


def main() -> int:
    """
    Write the file, unless something that it has is gone.

    @return: the exit status.
    """
    new = surface()
    gone = missing(stored(), new) if FILE.exists() else []
    if gone:
        sys.stderr.write("".join(f"{line}\n" for line in gone))
        return 1
    FILE.write_text(write(new))
    return 0


if __name__ == "__main__":
    sys.exit(main())
