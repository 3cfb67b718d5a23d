"""
What a command gives back, and how it is written: for people, and as JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from socketd.common.events import Event, summary, timestamp
from socketd.common.table import listing

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
    @ivar units: of the columns, or of the rows of a single thing, by name; see
        L{socketd.common.table.listing}.
    """

    text: str = ""
    headers: Sequence[str] = ()
    rows: Sequence[Sequence[Value]] = ()
    facts: Mapping[str, Any] = field(factory=dict, eq=False)
    units: Mapping[str, str] = field(factory=dict, eq=False)


def reply_text(reply: Reply, width: int | None = None) -> str:
    """
    Write a reply for people: lines, none of them empty, no end behind the last.

    @param width: the columns of the terminal.
    """
    table = ""
    if reply.headers:
        names = [header.lower() for header in reply.headers]
        table = listing(names, reply.rows, reply.units, width)
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
        if reply.units:
            found["units"] = dict(reply.units)
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
    Write an event as the log has it: one line.
    """
    return _one_line(event.format.format(**facts))


def watch_text(event: Event, facts: Mapping[str, Any], moment: float) -> str:
    """
    Write an event for an operator who watches: one line, with the local time.

    @param moment: the time of day, in seconds since 1970.
    """
    clock = time.strftime("%H:%M:%S", time.localtime(moment))
    return f"{clock} {_one_line(summary(event, facts))}"


def event_json(event: Event, facts: Mapping[str, Any], moment: float) -> str:
    """
    Write an event for programs: one object in one line.
    """
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
