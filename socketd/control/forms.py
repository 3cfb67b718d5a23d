"""The two output formats of an operator session: text and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from socketd.common.errors import CommandError
from socketd.common.events import Event
from socketd.control.results import (
    Reply,
    error_json,
    error_text,
    event_json,
    reply_json,
    reply_text,
    watch_text,
)

_JSON = "json "


@frozen
class Form:
    """
    The output format of a session.

    @ivar reply: formats the result of a command.
    @ivar error: formats the error of a command.
    @ivar event: formats an event, with the time of day.
    @ivar queue: formats the operator queue: its length and the oldest entries.
    @ivar left_out: formats the number of events that were not shown.
    @ivar end: the terminator of an answer.
    """

    reply: Callable[[Reply], str]
    error: Callable[[CommandError], str]
    event: Callable[[Event, Mapping[str, Any], float], str]
    queue: Callable[[int, list[dict[str, Any]]], str]
    left_out: Callable[[int], str]
    end: str


def _queue_text(count: int, oldest: list[dict[str, Any]]) -> str:
    if not count:
        return "nobody waits for a word"
    name = "{service} {id} ({peer})".format(**oldest[0])
    return f"{count} waiting for a word; the oldest is {name}: answer {oldest[0]['id']} TEXT"


def _queue_json(count: int, oldest: list[dict[str, Any]]) -> str:
    return json.dumps({"event": "waiting", "count": count, "oldest": oldest})


TEXT = Form(
    reply_text,
    error_text,
    watch_text,
    _queue_text,
    lambda count: f"{count} events were left out",
    "\n\n",
)
JSON = Form(
    reply_json,
    error_json,
    event_json,
    _queue_json,
    lambda count: json.dumps({"event": "left_out", "count": count}),
    "\n",
)


def form_of(line: str) -> tuple[Form, str]:
    """
    Determine the format that a line asks for.

    @return: the format, and the command.
    """
    line = line.lstrip()
    if line.startswith(_JSON):
        return JSON, line.removeprefix(_JSON)
    return TEXT, line
