"""Command results, errors and events: as JSON objects, and in the formats of a session."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import field, frozen

from socketd.common.answers import Answer, text_of
from socketd.common.errors import CommandError
from socketd.common.events import Event, summary, timestamp

#: Connections, or sources, listed per answer: formatting this many takes 25 ms, half the lateness
#: that the daemon's timers allow.
MAX_ROWS = 500

Value = str | int | float | bool | None

_JSON = "json "


@frozen
class CommandResult:
    """
    The result of a command: a sentence, a table, or both.

    @ivar facts: the values in the sentence, for programs.
    @ivar units: units by name of the column, or of the row if one object is shown; see
        L{socketd.common.table.listing}.
    """

    text: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Value]] = ()
    facts: Mapping[str, Any] = field(factory=dict, eq=False)
    units: Mapping[str, str] = field(factory=dict, eq=False)

    @property
    def answer(self) -> Answer:
        """The JSON object of the answer."""
        found: dict[str, Any] = {"ok": True}
        if self.text:
            found["text"] = self.text
        if self.columns:
            found["columns"] = list(self.columns)
            found["rows"] = [dict(zip(self.columns, row)) for row in self.rows]
            if self.units:
                found["units"] = dict(self.units)
        return found | dict(self.facts)


def error_answer(problem: CommandError) -> Answer:
    """Return the JSON object of a command's error."""
    found: dict[str, Any] = {"ok": False, "status": problem.status, "error": str(problem)}
    return found | ({"details": problem.details} if problem.details else {})


def event_line(event: Event, facts: Mapping[str, Any]) -> str:
    """Format an event as in the log: one line."""
    return _joined(event.format.format(**facts))


def event_object(event: Event, facts: Mapping[str, Any], moment: float) -> Answer:
    """Return the JSON object of an event at a moment (seconds since 1970)."""
    return {
        "event": event.name,
        "time": timestamp(moment),
        "line": event_line(event, facts),
        "summary": _joined(summary(event, facts)),
        "facts": {name: fact for name, fact in facts.items() if name != "log_failure"},
    }


def _joined(text: str) -> str:
    return text.replace("\n", " ")


@frozen
class Format:
    """
    The output format of a session: how answers and events are written, and what ends an answer.
    """

    write: Callable[[Answer], str]
    end: str


TEXT = Format(lambda found: "error: " * ("error" in found) + text_of(found), "\n\n")
JSON = Format(partial(json.dumps, default=str), "\n")


def format_of(line: str) -> tuple[Format, str]:
    """Return the format that a line asks for (C{json}, or an object), and the request."""
    line = line.lstrip()
    if line.startswith(_JSON):
        return JSON, line.removeprefix(_JSON).lstrip()
    return JSON if line.startswith("{") else TEXT, line


def left_out(left: int, last: int) -> tuple[str, dict[str, Value]]:
    """Say that there are more connections than C{connections} lists, and how to list them."""
    return f"{left} more; write connections {last}", {"more": left, "after": last}
