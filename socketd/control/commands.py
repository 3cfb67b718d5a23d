"""
What each command of L{socketd.common.commands} does.

A command returns a L{CommandResult} of values; the session formats it (a table for people,
JSON for programs).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from socketd.common.answers import Answer
from socketd.common.commands import COMMANDS, LEVELS
from socketd.common.errors import BAD_CONFIGURATION, USAGE, CommandError
from socketd.common.events import OPERATOR_ANSWERED, OPERATOR_COMMAND, PROTOCOL_FAILED
from socketd.common.operator_queue import Question
from socketd.common.table import FIELD
from socketd.common.text import escaped
from socketd.control import ban_commands, fault_commands, reports
from socketd.control.requests import IOperatorSession, parse_request, raw, shown
from socketd.control.results import MAX_ROWS, CommandResult, error_answer, left_out
from socketd.daemon.daemon import Daemon
from socketd.daemon.state import State
from socketd.net.service_state import Connection
from socketd.settings.diagnostics import nearest

# More digits than a connection counter reaches.
_ID = re.compile(r"\d{1,18}", re.ASCII)


def respond(daemon: Daemon, line: str, session: IOperatorSession) -> Deferred[Answer]:
    """Execute a request, and return its answer, which may be an error; log an internal error."""
    return Deferred.fromCoroutine(_respond(daemon, line, session))


async def _respond(daemon: Daemon, line: str, session: IOperatorSession) -> Answer:
    try:
        return (await execute(daemon, line, session)).answer
    except CommandError as problem:
        return error_answer(problem)
    except Exception as problem:
        text = f"{type(problem).__name__}: {problem}".encode("utf-8", "backslashreplace")
        daemon.event_bus.emit(
            PROTOCOL_FAILED,
            service="control",
            peer=session.who,
            error=escaped(text),
            log_failure=Failure(),
        )
        return error_answer(CommandError("internal error; the log has it"))


async def execute(daemon: Daemon, line: str, session: IOperatorSession) -> CommandResult:
    """
    Execute a request, whose bytes that are not UTF-8 are surrogate escapes; L{CommandError} if it
    is no command, has the wrong arguments, or fails.
    """
    request = parse_request(line.lstrip().rstrip("\r\n"))
    run = FUNCTIONS[request.command.name]
    own = partial(maybeDeferred, run, daemon, session, *request.values)
    result: CommandResult
    if daemon.crew is None:
        result = await own()
    else:
        from socketd.control.crew_commands import run_all

        result = await run_all(daemon, request, session.who, own)
    if request.command.changes:
        daemon.event_bus.emit(OPERATOR_COMMAND, who=session.who, text=str(request))
    return result


def answer(daemon: Daemon, question: Question, reply: bytes, who: str) -> None:
    """Answer a connection that waits; C{who} is how the log names the operator."""
    connection = daemon.find(question.transport.connection_id)
    daemon.operator.answer(question, reply)
    if connection is not None:
        connection.service_state.emit(
            OPERATOR_ANSWERED,
            who=who,
            text=escaped(reply),
            peer=connection.peer,
            connection=connection.connection_id,
        )


def _help(daemon: Daemon, session: IOperatorSession) -> CommandResult:
    rows = [(command.usage, command.help) for command in COMMANDS.values()]
    return CommandResult(columns=("command", "does"), rows=rows)


def _connections(daemon: Daemon, session: IOperatorSession, after: str) -> CommandResult:
    if after and _ID.fullmatch(after) is None:
        raise CommandError(f"{shown(after)} is no id; write connections [AFTER]", USAGE)
    found = [one for one in daemon.connection_table if one.connection_id > int(after or 0)]
    listed, left = found[:MAX_ROWS], len(found[MAX_ROWS:])
    if not left:
        return _table(daemon, listed)
    text, facts = left_out(left, listed[-1].connection_id)
    return _table(daemon, listed, text, facts)


def _waiting(daemon: Daemon, session: IOperatorSession) -> CommandResult:
    ids = [question.transport.connection_id for question in daemon.operator.waiting]
    listed = filter(None, map(daemon.connection_table.get, ids[:MAX_ROWS]))
    left = len(ids[MAX_ROWS:])
    return _table(daemon, listed, f"{left} more" if left else "")


def _show(daemon: Daemon, session: IOperatorSession, number: str) -> CommandResult:
    connection = _find(daemon, number)
    table = _table(daemon, [connection])
    found = dict(zip(table.columns, table.rows[0]))
    found["fault"] = connection.fault.text if connection.fault else None
    rows = [(name.upper(), value) for name, value in found.items()]
    facts = {"connection": found}
    return CommandResult("", (FIELD, "value"), rows, facts, _CONNECTION_UNITS)


def _watch(daemon: Daemon, session: IOperatorSession, service: str) -> CommandResult:
    if service:
        fault_commands.find_service(daemon, service)
    session.watch(service or None)
    return CommandResult(f"watching {service or 'everything'}")


def _attend(daemon: Daemon, session: IOperatorSession) -> CommandResult:
    session.attend()
    return CommandResult("attending")


def _quit(daemon: Daemon, session: IOperatorSession) -> CommandResult:
    session.leave()
    return CommandResult("leaving; the daemon keeps running")


def _web(daemon: Daemon, session: IOperatorSession) -> CommandResult:
    if daemon.page is None:
        raise CommandError("there is no status page; write http in [socketd], or see status_page")
    return CommandResult(daemon.page, facts={"url": daemon.page})


def _reply(daemon: Daemon, session: IOperatorSession, number: str, text: str) -> CommandResult:
    connection = _find(daemon, number)
    question = daemon.operator.find(connection.connection_id)
    if question is not None:
        answer(daemon, question, raw(text), session.who)
    else:
        connection.send(raw(text))
    return CommandResult(f"sent to {connection.connection_id}")


def _answer(daemon: Daemon, session: IOperatorSession, number: str, text: str) -> CommandResult:
    connection = _find(daemon, number)
    question = daemon.operator.find(connection.connection_id)
    if question is None:
        raise CommandError(f"{connection.connection_id} does not wait; see waiting")
    answer(daemon, question, raw(text), session.who)
    return CommandResult(f"answered {connection.connection_id}")


def _close(daemon: Daemon, session: IOperatorSession, number: str) -> CommandResult:
    connection = _find(daemon, number)
    connection.close()
    return CommandResult(f"closing {connection.connection_id}")


def _half_close(daemon: Daemon, session: IOperatorSession, number: str) -> CommandResult:
    connection = _find(daemon, number)
    connection.half_close()
    return CommandResult(f"half-closing {connection.connection_id}")


def _reset(daemon: Daemon, session: IOperatorSession, number: str) -> CommandResult:
    connection = _find(daemon, number)
    connection.abortConnection()
    return CommandResult(f"reset {connection.connection_id}")


async def _reload(daemon: Daemon, session: IOperatorSession) -> CommandResult:
    outcome = await maybeDeferred(daemon.reload)
    if outcome.diagnostics:
        text = "reload failed, configuration unchanged"
        raise CommandError(text, BAD_CONFIGURATION, outcome.diagnostics)
    changes = list(outcome.changes)
    text = "\n".join(("reloaded", *changes)) if changes else "reloaded; nothing changed"
    return CommandResult(text, facts={"changes": changes})


async def _drain(daemon: Daemon, session: IOperatorSession) -> CommandResult:
    await maybeDeferred(daemon.drain)
    if daemon.state != State.DRAINING:
        raise CommandError(f"cannot drain while {daemon.state}")
    count = daemon.connection_count
    return CommandResult(f"draining; {count} connections continue; resume undoes it")


async def _resume(daemon: Daemon, session: IOperatorSession) -> CommandResult:
    reasons = await maybeDeferred(daemon.resume)
    if daemon.state == State.DRAINING:
        raise CommandError("still draining", details=reasons)
    if reasons:
        raise CommandError(reasons[0])
    return CommandResult("accepting connections again")


def _log_level(daemon: Daemon, session: IOperatorSession, level: str) -> CommandResult:
    if level not in LEVELS:
        raise CommandError(f"{shown(level)} is no level; {nearest(level, LEVELS)}", USAGE)
    daemon.event_bus.level = LogLevel.levelWithName(level)
    return CommandResult(f"logging {level} and above")


def _find(daemon: Daemon, number: str) -> Connection:
    connection = daemon.connection_table.get(int(number)) if _ID.fullmatch(number) else None
    if connection is None:
        raise CommandError(f"no connection {shown(number)}; see connections")
    return connection


def _table(
    daemon: Daemon, connections: Iterable[Connection], text: str = "", facts: Any = None
) -> CommandResult:
    waiting = {question.transport.connection_id for question in daemon.operator.waiting}
    now = daemon.reactor.seconds()
    rows = [
        (
            one.connection_id,
            one.service_state.name,
            one.peer,
            round(now - one.began, 1),
            one.messages_received,
            one.bytes_received,
            one.bytes_sent,
            one.connection_id in waiting,
        )
        for one in connections
    ]
    return CommandResult(text, _CONNECTION_COLUMNS, rows, facts or {}, _CONNECTION_UNITS)


_CONNECTION_COLUMNS = ("id", "service", "peer", "age", "messages", "in", "out", "waits")
_CONNECTION_UNITS = {"age": "seconds", "in": "bytes", "out": "bytes"}

#: The function of each command, which is named after it: it takes the daemon, the operator's
#: session and the arguments, and returns a L{CommandResult} or a deferred one.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__.lstrip("_").replace("_", "-"): function
    for function in (
        _help, reports.status, reports.services, reports.listeners, reports.sources,
        reports.certificates, _connections, _waiting, _show, _watch, _attend, _quit, _web, _reply,
        _answer, _close, _half_close, _reset, ban_commands.ban, ban_commands.unban,
        ban_commands.bans, fault_commands.faults, fault_commands.fault, _reload, _drain, _resume,
        _log_level,
    )
}  # fmt: skip
