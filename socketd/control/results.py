"""Command results and errors, and their text and JSON formats."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from socketd.common.errors import CommandError
from socketd.common.events import Event, summary, timestamp
from socketd.common.table import listing

Value = str | int | float | bool | None


@frozen
class Reply:
    """
    The result of a command: a sentence, a table, or both.

    @ivar facts: the values in the sentence, for programs.
    @ivar units: units by name of the column, or of the row if one object is shown; see
        L{socketd.common.table.listing}.
    """

    text: str = ""
    headers: Sequence[str] = ()
    rows: Sequence[Sequence[Value]] = ()
    facts: Mapping[str, Any] = field(factory=dict, eq=False)
    units: Mapping[str, str] = field(factory=dict, eq=False)


def reply_text(reply: Reply, width: int | None = None) -> str:
    """
    Format a reply for people: no empty lines, no final line end.

    @param width: the terminal's columns.
    """
    table = ""
    if reply.headers:
        names = [header.lower() for header in reply.headers]
        table = listing(names, reply.rows, reply.units, width)
    return "\n".join(line for line in (table + reply.text).split("\n") if line)


def reply_json(reply: Reply) -> str:
    """Format a reply for programs: one JSON object on one line."""
    found: dict[str, Any] = {"ok": True}
    if reply.text:
        found["text"] = reply.text
    if reply.headers:
        names = [header.lower() for header in reply.headers]
        found["columns"] = names
        found["rows"] = [dict(zip(names, row)) for row in reply.rows]
        if reply.units:
            found["units"] = dict(reply.units)
    return json.dumps(found | dict(reply.facts))


def error_text(problem: CommandError) -> str:
    """Format a command's error for people."""
    return "\n".join(line for line in (f"error: {problem}", *problem.details) if line)


def error_json(problem: CommandError) -> str:
    """Format a command's error for programs."""
    found: dict[str, Any] = {"ok": False, "status": problem.status, "error": str(problem)}
    if problem.details:
        found["details"] = problem.details
    return json.dumps(found)


def event_text(event: Event, facts: Mapping[str, Any]) -> str:
    """Format an event as in the log: one line."""
    return _one_line(event.format.format(**facts))


def watch_text(event: Event, facts: Mapping[str, Any], moment: float) -> str:
    """
    Format an event for a watching operator: one line, with the local time.

    @param moment: seconds since 1970.
    """
    clock = time.strftime("%H:%M:%S", time.localtime(moment))
    return f"{clock} {_one_line(summary(event, facts))}"


def event_json(event: Event, facts: Mapping[str, Any], moment: float) -> str:
    """Format an event for programs: one JSON object on one line."""
    kept = {name: fact for name, fact in facts.items() if name != "log_failure"}
    found = {
        "event": event.name,
        "time": timestamp(moment),
        "line": event_text(event, facts),
        "summary": _one_line(summary(event, facts)),
        "facts": kept,
    }
    return json.dumps(found, default=str)


def _one_line(text: str) -> str:
    return " ".join(text.split("\n"))
