"""
The command table, shared by the console and the control socket.

A command takes text arguments and returns a L{Reply} of values; the session formats it
(a table for people, JSON for programs).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from socketd.common.errors import BAD_CONFIGURATION, USAGE, CommandError
from socketd.common.events import OPERATOR_ANSWERED, OPERATOR_COMMAND, PROTOCOL_FAILED
from socketd.common.operator_queue import Question
from socketd.common.table import FIELD, LIST, LIST_GAP, duration
from socketd.common.text import escaped
from socketd.control import ban_commands
from socketd.control.operator_session import IOperatorSession
from socketd.control.results import Reply, Value
from socketd.daemon.daemon import Daemon
from socketd.daemon.state import State
from socketd.net.service_state import Connection
from socketd.settings.diagnostics import nearest

#: Connections listed per answer: formatting this many takes 25 ms, half the lateness that
#: the daemon's timers allow.
MAX_ROWS = 500

LEVELS = ("debug", "info", "warn", "error")

# More digits than a connection counter reaches.
_ID = re.compile(r"\d{1,18}", re.ASCII)

_OPTIONAL = "["


@frozen
class Command:
    """
    One command.

    @ivar arguments: the argument syntax, for help; arguments in brackets are optional, the
        last one may contain spaces.
    @ivar help: what it does, in one sentence.
    @ivar run: executes it for an operator session; raises L{CommandError}.
    @ivar changes: whether it changes state, and is therefore logged.
    """

    arguments: tuple[str, ...]
    help: str
    run: Callable[..., Any]
    changes: bool = False

    def split(self, rest: str) -> list[str] | None:
        """
        Split the text after the command's name.

        @return: the arguments, or C{None} if there are too few or too many.
        """
        if not self.arguments or "TEXT" not in self.arguments[-1]:
            rest = rest.strip()
        most = len(self.arguments)
        least = sum(not form.startswith(_OPTIONAL) for form in self.arguments)
        found = rest.split(" ", max(most - 1, 0)) if rest else []
        return found if least <= len(found) <= most else None


def execute(daemon: Daemon, line: str, session: IOperatorSession) -> Deferred[Reply]:
    """
    Execute one command line.

    @param line: text; bytes that are not UTF-8 are surrogate escapes.
    @return: fires with the reply; fails with L{CommandError} if the line is not a
        command, has the wrong number of arguments, or its command fails.
    """
    return maybeDeferred(_execute, daemon, line.lstrip().rstrip("\r\n"), session)


async def _execute(daemon: Daemon, line: str, session: IOperatorSession) -> Reply:
    name, _, rest = line.partition(" ")
    name = ALIASES.get(name, name)
    if name not in COMMANDS:
        hint = nearest(name, COMMANDS)
        hint = hint if hint.startswith("did") else "help lists all"
        raise CommandError(f"{shown(name)} is no command; {hint}", USAGE)
    command = COMMANDS[name]
    arguments = command.split(rest)
    if arguments is None:
        raise CommandError(f"write {' '.join((name, *command.arguments))}", USAGE)
    reply: Reply = await maybeDeferred(command.run, daemon, session, *arguments)
    if command.changes:
        daemon.event_bus.emit(OPERATOR_COMMAND, who=session.who, text=shown(line))
    return reply


def report(daemon: Daemon, failure: Failure, who: str) -> CommandError:
    """
    Log an internal error of a command.

    @param who: the operator who gave the command.
    @return: the error that the operator sees.
    """
    problem = failure.value
    text = escaped(f"{type(problem).__name__}: {problem}".encode("utf-8", "backslashreplace"))
    daemon.event_bus.emit(
        PROTOCOL_FAILED, service="control", peer=who, error=text, log_failure=failure
    )
    return CommandError("internal error; the log has it")


def shown(text: str) -> str:
    """Escape typed text for a log or a terminal."""
    return escaped(raw(text))


def raw(text: str) -> bytes:
    """Encode typed text back to the bytes received."""
    return text.encode("utf-8", "surrogateescape")


def answer(daemon: Daemon, question: Question, word: bytes, who: str) -> None:
    """
    Send the operator's word to a connection that waits for the operator.

    @param who: how the log names the operator.
    """
    connection = daemon.connection_table.get(question.transport.connection_id)
    daemon.operator.answer(question, word)
    if connection is not None:
        connection.service_state.emit(
            OPERATOR_ANSWERED,
            who=who,
            text=escaped(word),
            peer=connection.peer,
            connection=connection.connection_id,
        )


def _help(daemon: Daemon, session: IOperatorSession) -> Reply:
    rows = [(" ".join((name, *found.arguments)), found.help) for name, found in COMMANDS.items()]
    return Reply(headers=("COMMAND", "DOES"), rows=rows)


def _status(daemon: Daemon, session: IOperatorSession) -> Reply:
    now = daemon.snapshot()
    services, invalid = len(now.services), len(now.invalid_certificates)
    text = (
        f"up {duration(round(now.uptime))}, {services} services,"
        f" {now.connections} connections, {now.waiting} waiting"
    )
    if invalid:
        text += f", certificates not valid: {invalid}"
    if now.state == State.DRAINING:
        text += ", draining"
    facts = {
        "uptime": round(now.uptime, 3),
        "state": now.state,
        "services": services,
        "connections": now.connections,
        "waiting": now.waiting,
        "bans": now.bans,
        "invalid_certificates": invalid,
    }
    return Reply(text, facts=facts)


def _services(daemon: Daemon, session: IOperatorSession) -> Reply:
    rows = []
    for service in daemon.snapshot().services:
        total = service.counters
        row: list[Value] = [service.name, service.protocol, LIST_GAP.join(service.listeners)]
        row += [service.connections, total.connections]
        row += [total.messages_received, total.datagrams_received]
        received = total.bytes_received + total.datagram_bytes_received
        rows.append([*row, received, total.bytes_sent + total.datagram_bytes_sent])
    return Reply(headers=_SERVICE_HEADERS + _SERVICE_COUNTS, rows=rows, units=_SERVICE_UNITS)


def _connections(daemon: Daemon, session: IOperatorSession, after: str = "0") -> Reply:
    if _ID.fullmatch(after) is None:
        raise CommandError(f"{shown(after)} is no id; write connections [AFTER]", USAGE)
    found = [one for one in daemon.connection_table if one.connection_id > int(after)]
    listed, left = found[:MAX_ROWS], len(found[MAX_ROWS:])
    if not left:
        return _table(daemon, listed)
    last = listed[-1].connection_id
    text = f"{left} more; write connections {last}"
    return _table(daemon, listed, text, {"more": left, "after": last})


def _waiting(daemon: Daemon, session: IOperatorSession) -> Reply:
    ids = [question.transport.connection_id for question in daemon.operator.waiting]
    listed = filter(None, map(daemon.connection_table.get, ids[:MAX_ROWS]))
    left = len(ids[MAX_ROWS:])
    return _table(daemon, listed, f"{left} more" if left else "")


def _show(daemon: Daemon, session: IOperatorSession, number: str) -> Reply:
    table = _table(daemon, [_find(daemon, number)])
    names = [header.lower() for header in table.headers]
    facts = {"connection": dict(zip(names, table.rows[0]))}
    rows = list(zip(table.headers, table.rows[0]))
    return Reply("", (FIELD.upper(), "VALUE"), rows, facts, _CONNECTION_UNITS)


def _watch(daemon: Daemon, session: IOperatorSession, service: str = "") -> Reply:
    names = [one.settings.name for one in daemon.services]
    if service and service not in names:
        raise CommandError(f"{shown(service)} is no service; {nearest(service, names)}")
    session.watch(service or None)
    return Reply(f"watching {service or 'everything'}")


def _attend(daemon: Daemon, session: IOperatorSession) -> Reply:
    session.attend()
    return Reply("attending")


def _quit(daemon: Daemon, session: IOperatorSession) -> Reply:
    session.leave()
    return Reply("leaving; the daemon goes on")


def _reply(daemon: Daemon, session: IOperatorSession, number: str, text: str) -> Reply:
    connection = _find(daemon, number)
    question = _question(daemon, connection)
    if question is not None:
        answer(daemon, question, raw(text), session.who)
    else:
        connection.send(raw(text))
    return Reply(f"sent to {connection.connection_id}")


def _answer(daemon: Daemon, session: IOperatorSession, number: str, text: str = "") -> Reply:
    connection = _find(daemon, number)
    question = _question(daemon, connection)
    if question is None:
        raise CommandError(f"{connection.connection_id} does not wait; see waiting")
    answer(daemon, question, raw(text), session.who)
    return Reply(f"answered {connection.connection_id}")


def _close(daemon: Daemon, session: IOperatorSession, number: str) -> Reply:
    connection = _find(daemon, number)
    connection.close()
    return Reply(f"closing {connection.connection_id}")


def _reset(daemon: Daemon, session: IOperatorSession, number: str) -> Reply:
    connection = _find(daemon, number)
    connection.abortConnection()
    return Reply(f"reset {connection.connection_id}")


async def _reload(daemon: Daemon, session: IOperatorSession) -> Reply:
    outcome = await maybeDeferred(daemon.reload)
    if outcome.diagnostics:
        text = "the configuration stays as it was"
        raise CommandError(text, BAD_CONFIGURATION, outcome.diagnostics)
    changes = list(outcome.changes)
    text = "\n".join(("reloaded", *changes)) if changes else "reloaded; nothing changed"
    return Reply(text, facts={"changes": changes})


def _drain(daemon: Daemon, session: IOperatorSession) -> Reply:
    daemon.drain()
    if daemon.state != State.DRAINING:
        raise CommandError(f"cannot drain while {daemon.state}")
    return Reply(f"draining; {len(daemon.connection_table)} connections go on; resume undoes it")


def _resume(daemon: Daemon, session: IOperatorSession) -> Reply:
    reasons = daemon.resume()
    if daemon.state == State.DRAINING:
        raise CommandError("still draining", details=reasons)
    if reasons:
        raise CommandError(reasons[0])
    return Reply("accepting connections again")


def _log_level(daemon: Daemon, session: IOperatorSession, level: str) -> Reply:
    if level not in LEVELS:
        raise CommandError(f"{shown(level)} is no level; {nearest(level, LEVELS)}", USAGE)
    daemon.event_bus.level = LogLevel.levelWithName(level)
    return Reply(f"logging {level} and above")


def _find(daemon: Daemon, number: str) -> Connection:
    connection = daemon.connection_table.get(int(number)) if _ID.fullmatch(number) else None
    if connection is None:
        raise CommandError(f"no connection {shown(number)}; see connections")
    return connection


def _question(daemon: Daemon, connection: Connection) -> Question | None:
    for question in daemon.operator.waiting:
        if question.transport.connection_id == connection.connection_id:
            return question
    return None


def _table(
    daemon: Daemon, connections: Iterable[Connection], text: str = "", facts: Any = None
) -> Reply:
    waiting = {question.transport.connection_id for question in daemon.operator.waiting}
    now = daemon.reactor.seconds()
    rows = [_row(one, now, one.connection_id in waiting) for one in connections]
    return Reply(text, _CONNECTION_HEADERS, rows, facts or {}, _CONNECTION_UNITS)


def _row(connection: Connection, now: float, waits: bool) -> tuple[Value, ...]:
    return (
        connection.connection_id,
        connection.service_state.name,
        connection.peer,
        round(now - connection.began, 1),
        connection.messages_received,
        connection.bytes_received,
        connection.bytes_sent,
        waits,
    )


_CONNECTION_HEADERS = ("ID", "SERVICE", "PEER", "AGE", "MESSAGES", "IN", "OUT", "WAITS")
_SERVICE_HEADERS = ("SERVICE", "PROTOCOL", "LISTENS", "OPEN", "TOTAL")
_SERVICE_COUNTS = ("MESSAGES", "DATAGRAMS", "IN", "OUT")
_CONNECTION_UNITS = {"age": "seconds", "in": "bytes", "out": "bytes"}
_SERVICE_UNITS = {"listens": LIST, "in": "bytes", "out": "bytes"}
_FOR = "[for DURATION]"

#: Every command, by name.
COMMANDS = {
    "help": Command((), "List the commands.", _help),
    "status": Command((), "Say how the daemon is.", _status),
    "services": Command((), "List the services and what they did.", _services),
    "connections": Command(
        ("[AFTER]",), "List the live connections, those behind an id only.", _connections
    ),
    "waiting": Command((), "List the connections that wait, oldest first.", _waiting),
    "show": Command(("ID",), "Show one connection.", _show),
    "watch": Command(("[SERVICE]",), "Show what happens from now on.", _watch),
    "attend": Command((), "Watch, and be asked for the word of who waits.", _attend),
    "quit": Command((), "Leave; the daemon goes on.", _quit),
    "reply": Command(("ID", "TEXT"), "Send a text to one connection.", _reply, True),
    "answer": Command(("ID", "[TEXT]"), "Answer one connection that waits.", _answer, True),
    "close": Command(("ID",), "Close one connection, what is owed sent first.", _close, True),
    "reset": Command(("ID",), "Reset one connection.", _reset, True),
    "ban": Command(
        ("SOURCE", _FOR),
        "Serve a network or address no more, and reset it.",
        ban_commands.ban,
        True,
    ),
    "unban": Command(("SOURCE",), "Serve it again.", ban_commands.unban, True),
    "bans": Command((), "List the bans.", ban_commands.bans),
    "reload": Command((), "Read the configuration anew.", _reload, True),
    "drain": Command((), "Accept no more connections; resume undoes it.", _drain, True),
    "resume": Command((), "Accept connections again after drain.", _resume, True),
    "log-level": Command(("LEVEL",), "Log from debug, info, warn or error on.", _log_level, True),
}

#: Command aliases.
ALIASES = {"exit": "quit"}
