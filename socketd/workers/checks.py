"""Checks of what a worker tells: its master believes none of it."""

from __future__ import annotations

from typing import Any

from socketd.common.events import CATALOGUE, Event
from socketd.common.text import one_line, printable
from socketd.workers.link import Malformed
from socketd.workers.relay import MASTERS, Told

#: More than any figure becomes: the bytes of two years at 100 Gbit/s.
MAX_COUNT = 10**18

#: Types of what is shown as it is.
_PLAIN = (int, float, bool, type(None))

#: The events that no worker has.
_NOT_ITS_OWN = {event.name for event in MASTERS}


def count(found: Any, least: int = 0) -> int:
    """Take a whole number."""
    if isinstance(found, bool) or not isinstance(found, int) or not least <= found < MAX_COUNT:
        raise Malformed("it told what is no count")
    return found


def number(found: Any) -> float:
    """Take a number of seconds."""
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) < MAX_COUNT:
        raise Malformed("it told what is no number")
    return found


def text(found: Any) -> str:
    """Take a text of one line."""
    if not isinstance(found, str):
        raise Malformed("it told what is no text")
    return one_line(found)


def value(found: Any) -> Any:
    """Take a value that is shown."""
    if isinstance(found, float):
        return number(found)
    return found if isinstance(found, _PLAIN) else text(found)


def event(name: Any, facts: Any) -> tuple[Event, dict[str, Any]]:
    """Take an event, with all that its line shows."""
    found = CATALOGUE.get(text(name))
    if found is None or name in _NOT_ITS_OWN or not isinstance(facts, dict):
        raise Malformed("it told what is no event of a worker")
    failure = facts.pop("log_failure", None)
    taken = {fact: value(what) for fact, what in facts.items()}
    try:
        found.format.format(**taken)
    except (LookupError, ValueError):
        raise Malformed(f"it told {name} without its facts") from None
    if failure is not None:
        taken["log_failure"] = Told(printable(str(failure)))
    return found, taken
