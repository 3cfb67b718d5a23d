"""
The commands of a daemon with workers: which of these each concerns, and one result of all answers.

What is not named here the master does by itself. A worker is not believed: an answer that is not
like those of its command counts as none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from socketd.common.answers import encode
from socketd.common.errors import FAILED, CommandError
from socketd.common.text import one_line
from socketd.control.ban_commands import banned
from socketd.control.fault_commands import switched
from socketd.control.requests import Request
from socketd.control.results import MAX_ROWS, CommandResult, Value, left_out
from socketd.daemon.daemon import Daemon
from socketd.daemon.faults import switches

#: How long workers may take to answer an operator (seconds): less than until one that hangs is
#: killed.
LIMIT = 3.0

#: What the master does, as it would alone.
Own = Callable[[], Deferred[CommandResult]]

#: Commands of which the workers hear by themselves.
_TOLD = ("attend", "watch")


async def run_all(daemon: Daemon, request: Request, who: str, own: Own) -> CommandResult:
    """
    Execute a request in the processes that it concerns; L{CommandError}, too, if the worker of a
    connection does not answer.

    @param own: executes it in this process.
    """
    name = request.command.name
    asked = {"line": encode(request.command, request.arguments), "who": who}
    if name in _OF_ONE:
        return await _ask_owner(daemon, request.values[0], asked, own)
    if name in ("status", "services", "faults"):
        await daemon.refresh()
    result = await own()
    if name == "fault":
        return await _switch(daemon, request, result)
    if name in _TOLD:
        # They were told by messages; what is answered behind these shows that all have them.
        await daemon.crew.ask("ping", LIMIT)
    if name in _TABLES or name in _CHANGES:
        found = await daemon.crew.ask("request", LIMIT, **asked)
        answers = [one and one.get("answer") for one in found]
        if name == "ban":
            reset = _total(answers, "connections_reset")
            result = banned(result.facts["source"], result.facts["seconds"], reset)
        if name in _CHANGES:
            return _confirmed(result, answers)
        return _TABLES[name](daemon, result, answers)
    return result


async def _ask_owner(
    daemon: Daemon, number: str, asked: Mapping[str, str], own: Own
) -> CommandResult:
    """Ask the worker whose connection it is."""
    if not (number.isascii() and number.isdigit()):
        return await own()
    worker = daemon.crew.owner(int(number))
    answer = await daemon.crew.ask_one(worker, "request", LIMIT, **asked)
    try:
        return _read((answer or {})["answer"])
    except (AttributeError, LookupError, TypeError, ValueError):
        text = f"worker {worker.index} does not answer; its connections are not known"
        raise CommandError(text) from None


def _read(answer: Mapping[str, Any]) -> CommandResult:
    """Read an answer as the result that it was; raise its error."""
    found = dict(answer)
    if not found.pop("ok"):
        details = [one_line(str(one)) for one in found.get("details", ())]
        status = found["status"] if isinstance(found["status"], int) else FAILED
        raise CommandError(one_line(str(found["error"])), status, details)
    text = str(found.pop("text", ""))
    columns = [str(one) for one in found.pop("columns", ())]
    rows = [[_value(row[name]) for name in columns] for row in found.pop("rows", ())]
    units = {str(name): str(unit) for name, unit in found.pop("units", {}).items()}
    return CommandResult(text, columns, rows, found, units)


def _value(found: Any) -> Value:
    if found is None or isinstance(found, int | float):
        return found
    return one_line(str(found))


def _rows(columns: Sequence[str], answers: Sequence[Any]) -> Iterator[list[Value]]:
    """List the rows of answers; what is no row of such a table is left out."""
    for answer in answers:
        for row in _get(answer, "rows", []):
            if isinstance(row, dict) and all(name in row for name in columns):
                yield [_value(row[name]) for name in columns]


def _get(answer: Any, name: str, default: Any) -> Any:
    """Read a value of an answer, if it is of the kind that it should be."""
    found = answer.get(name) if isinstance(answer, dict) else None
    return found if type(found) is type(default) else default


def _total(answers: Sequence[Any], name: str) -> int:
    return sum(_get(answer, name, 0) for answer in answers)


def _missing(answers: Sequence[Any], does: str) -> str:
    """Name the workers of which there is no answer."""
    numbers = [str(index) for index, one in enumerate(answers) if not isinstance(one, dict)]
    return f"worker {', '.join(numbers)} {does}" if numbers else ""


def _joined(*texts: str) -> str:
    return "; ".join(filter(None, texts))


# Tables


def _figure(column: int, row: Sequence[Any]) -> float:
    return row[column] if isinstance(row[column], int | float) else 0


def _connections(daemon: Daemon, result: CommandResult, answers: Sequence[Any]) -> CommandResult:
    found = sorted(_rows(result.columns, answers), key=partial(_figure, 0))
    listed, left = found[:MAX_ROWS], len(found[MAX_ROWS:]) + _total(answers, "more")
    text, facts = left_out(left, int(_figure(0, listed[-1]))) if left and listed else ("", {})
    text = _joined(text, _missing(answers, "does not answer"))
    return evolve(result, text=text, rows=listed, facts=facts)


def _waiting(daemon: Daemon, result: CommandResult, answers: Sequence[Any]) -> CommandResult:
    # The oldest connection first; each worker lists its own in the order in which they wait.
    age = result.columns.index("age")
    found = sorted(_rows(result.columns, answers), key=partial(_figure, age), reverse=True)
    left = len(found[MAX_ROWS:])
    text = _joined(f"{left} more" if left else "", _missing(answers, "does not answer"))
    return evolve(result, text=text, rows=found[:MAX_ROWS])


def _sources(daemon: Daemon, result: CommandResult, answers: Sequence[Any]) -> CommandResult:
    # As in one process: by service, the latest of each first.
    order = {child.name: place for place, child in enumerate(daemon.services)}
    silent = result.columns.index("silent")

    def place(row: Sequence[Any]) -> tuple[int, float]:
        return order.get(str(row[0]), len(order)), _figure(silent, row)

    found = sorted(_rows(result.columns, answers), key=place)
    return evolve(result, text=_missing(answers, "does not answer"), rows=found[:MAX_ROWS])


def _listeners(daemon: Daemon, result: CommandResult, answers: Sequence[Any]) -> CommandResult:
    # Those of the master, and those that protocols have opened in one worker.
    found = {tuple(row[:2]): row for row in result.rows}
    for row in _rows(result.columns, answers):
        found.setdefault(tuple(row[:2]), row)
    return evolve(result, rows=list(found.values()))


# Changes: the master has made them before


def _confirmed(result: CommandResult, answers: Sequence[Any]) -> CommandResult:
    text = _joined(result.text, _missing(answers, "has not confirmed it yet"))
    return evolve(result, text=text)


async def _switch(daemon: Daemon, request: Request, result: CommandResult) -> CommandResult:
    """Switch a fault profile in all workers, with the seed that the master has drawn."""
    service, profile, now = request.values
    faults, open_of = switches(daemon.services), service if now else ""
    answers = await daemon.crew.ask("switch", LIMIT, faults=faults, open_of=open_of)
    count = _total(answers, "count")
    return _confirmed(switched(service, profile, result.facts["seed"], count, now), answers)


_OF_ONE = frozenset({"show", "reply", "answer", "close", "half-close", "reset"})
_TABLES: dict[str, Callable[[Daemon, CommandResult, Sequence[Any]], CommandResult]] = {
    "connections": _connections,
    "waiting": _waiting,
    "sources": _sources,
    "listeners": _listeners,
}
_CHANGES = frozenset({"ban", "unban", "log-level"})
