"""The text form of the JSON objects that a daemon sends to operators: its answers and events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from socketd.common.table import listing
from socketd.common.text import one_line

#: An answer, or an event: its values by key, as JSON has them.
Answer = Mapping[str, Any]


def text_of(found: Answer, width: int | None = None) -> str:
    """
    Format an answer or an event.

    @param width: the terminal's columns; C{None} without a terminal.
    @return: printable lines, none of them empty; one for an event.
    @raise Exception: C{AttributeError}, C{IndexError}, C{KeyError}, C{TypeError} or
        C{ValueError} if it is neither.
    """
    if "event" in found:
        return _event_text(found)
    lines: list[str] = []
    if "columns" in found:
        columns = [str(name) for name in found["columns"]]
        rows = [[row[name] for name in columns] for row in found["rows"]]
        lines += listing(columns, rows, dict(found.get("units", {})), width).splitlines()
    lines += str(found.get("text", found.get("error", ""))).splitlines()
    lines += map(str, found.get("details", ()))
    return "\n".join(filter(None, map(one_line, lines)))


def _event_text(event: Answer) -> str:
    if event["event"] == "left_out":
        return f"{event['count']} events were left out"
    if event["event"] == "waiting":
        if not event["oldest"]:
            return "no connection waits for the operator"
        oldest = event["oldest"][0]
        name = one_line("{service} {id} ({peer})".format(**oldest))
        return f"{event['count']} waiting; the oldest is {name}: answer {oldest['id']} TEXT"
    line = one_line(str(event.get("summary", event.get("line", ""))))
    try:
        moment = datetime.fromisoformat(str(event.get("time"))).astimezone()
    except (ValueError, OverflowError):
        return line
    return f"{moment:%H:%M:%S} {line}"
