"""
The two forms in which operators are written to: text, and JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from socketd.common.events import Event
from socketd.control.results import (
    CommandError,
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
    How a session is written to.

    @ivar reply: writes what a command gave back.
    @ivar error: writes why it could not be carried out.
    @ivar event: writes an event, with the time of day.
    @ivar queue: writes who waits: how many, and the oldest.
    @ivar left_out: writes how many events were not shown.
    @ivar end: what stands behind an answer.
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
    Find out which form a line asks for.

    @return: the form, and the command.
    """
    line = line.lstrip()
    if line.startswith(_JSON):
        return JSON, line.removeprefix(_JSON)
    return TEXT, line
