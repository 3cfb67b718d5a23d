"""
The JSON objects between operators and a daemon: requests, and answers and events with their text
form.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from socketd.common.commands import COMMAND, DATA, Command
from socketd.common.table import listing
from socketd.common.text import one_line

#: An answer, or an event: its values by key, as JSON has them.
Answer = Mapping[str, Any]


def encode(command: Command, arguments: Mapping[str, str]) -> str:
    """Encode a request, whose bytes that are not UTF-8 are surrogate escapes."""
    request = {COMMAND: command.name}
    for argument in command.arguments:
        if argument.key in arguments:
            data = arguments[argument.key].encode("utf-8", "surrogateescape")
            if argument.is_text:
                request[DATA] = b64encode(data).decode()
            else:
                request[argument.key] = data.decode("utf-8", "backslashreplace")
    return json.dumps(request)


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
