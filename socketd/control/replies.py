"""
What a command gives back, and how it is written: for people, and as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from socketd.events import Event
from socketd.table import render

Value = str | int | float | bool | None

#: The exit statuses that C{socketd} leaves for a command that could not be carried out.
FAILED = 1
USAGE = 2
BAD_CONFIGURATION = 78


class CommandError(Exception):
    """
    A command that cannot be carried out; the text says why, in one line.

    @ivar status: what C{socketd} ends with.
    @ivar details: more lines, for a configuration with several faults.
    """

    def __init__(self, text: str, status: int = FAILED, details: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.details = tuple(details)


@frozen
class Reply:
    """
    What a command gives back: a sentence, or rows under headers, or both.

    @ivar facts: for programs, what the sentence says.
    """

    text: str = ""
    headers: Sequence[str] = ()
    rows: Sequence[Sequence[Value]] = ()
    facts: Mapping[str, Any] = field(factory=dict, eq=False)


def reply_text(reply: Reply) -> str:
    """
    Write a reply for people: lines, none of them empty, no end behind the last.
    """
    table = ""
    if reply.headers:
        table = render(reply.headers, [[_cell(value) for value in row] for row in reply.rows])
    return "\n".join(line for line in (table + reply.text).split("\n") if line)


def reply_json(reply: Reply) -> str:
    """
    Write a reply for programs: one object in one line.
    """
    found: dict[str, Any] = {"ok": True}
    if reply.text:
        found["text"] = reply.text
    if reply.headers:
        names = [header.lower() for header in reply.headers]
        found["columns"] = names
        found["rows"] = [dict(zip(names, row)) for row in reply.rows]
    return json.dumps(found | dict(reply.facts))


def error_text(problem: CommandError) -> str:
    """
    Write for people why a command could not be carried out.
    """
    return "\n".join(line for line in (f"error: {problem}", *problem.details) if line)


def error_json(problem: CommandError) -> str:
    """
    Write the same for programs.
    """
    found: dict[str, Any] = {"ok": False, "status": problem.status, "error": str(problem)}
    if problem.details:
        found["details"] = problem.details
    return json.dumps(found)


def event_text(event: Event, facts: Mapping[str, Any]) -> str:
    """
    Write an event for people: one line.
    """
    return " ".join(event.format.format(**facts).split("\n"))


def event_json(event: Event, facts: Mapping[str, Any]) -> str:
    """
    Write an event for programs: one object in one line.
    """
    kept = {name: fact for name, fact in facts.items() if name != "log_failure"}
    found = {"event": event.name, "line": event_text(event, facts), "facts": kept}
    return json.dumps(found, default=str)


def _cell(value: Value) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
