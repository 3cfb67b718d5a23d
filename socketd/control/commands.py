"""
The table of commands: what an operator can ask and do, wherever it is typed.

A command takes its arguments as text and gives back a L{Reply}, as values; how
these are shown (a table for people, JSON for programs) is not its concern.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from attrs import frozen

from socketd.daemon import Daemon
from socketd.events import OPERATOR_ANSWERED, OPERATOR_COMMAND, escaped
from socketd.net.site import Connection
from socketd.operator import Question
from socketd.settings.complaints import nearest

Value = str | int | float

# More digits than any daemon will ever count to.
_ID = re.compile(r"\d{1,18}", re.ASCII)


class CommandError(Exception):
    """
    A command that cannot be carried out; the text says why, in one line.
    """


@frozen
class Reply:
    """
    What a command gives back: a sentence, or rows under headers.
    """

    text: str = ""
    headers: Sequence[str] = ()
    rows: Sequence[Sequence[Value]] = ()


@frozen
class Command:
    """
    One command.

    @ivar arguments: the form of its arguments, for help; the last one may
        have spaces.
    @ivar help: what it does, in one sentence.
    @ivar run: carries it out; raises L{CommandError}.
    @ivar changes: whether it changes anything, and so is logged.
    """

    arguments: tuple[str, ...]
    help: str
    run: Callable[..., Reply]
    changes: bool = False


def execute(daemon: Daemon, line: str) -> Reply:
    """
    Carry out one line.

    @raise CommandError: if it is no command, lacks arguments or cannot be done.
    """
    name, _, rest = line.strip().partition(" ")
    if name not in COMMANDS:
        raise CommandError(f"{escaped(name.encode())} is no command; {nearest(name, COMMANDS)}")
    command = COMMANDS[name]
    arguments = rest.split(" ", len(command.arguments) - 1) if rest and command.arguments else []
    if len(arguments) != len(command.arguments) or (rest and not command.arguments):
        raise CommandError(f"write {' '.join((name, *command.arguments))}")
    reply = command.run(daemon, *arguments)
    if command.changes:
        daemon.journal.emit(OPERATOR_COMMAND, text=escaped(line.encode()))
    return reply


def answer(daemon: Daemon, question: Question, word: bytes) -> None:
    """
    Send the operator's word to a connection that waits for it.
    """
    connection = daemon.roster.get(question.transport.connection_id)
    daemon.operator.answer(question, word)
    if connection is not None:
        connection.site.emit(
            OPERATOR_ANSWERED,
            text=escaped(word),
            peer=connection.peer,
            connection=connection.connection_id,
        )


def _help(daemon: Daemon) -> Reply:
    rows = [(" ".join((name, *found.arguments)), found.help) for name, found in COMMANDS.items()]
    return Reply(headers=("COMMAND", "DOES"), rows=rows)


def _status(daemon: Daemon) -> Reply:
    uptime = daemon.reactor.seconds() - daemon.began
    return Reply(
        f"up {uptime:.0f} s, {len(daemon.socket_services)} services,"
        f" {len(daemon.roster)} connections, {len(daemon.operator.waiting)} waiting"
    )


def _services(daemon: Daemon) -> Reply:
    rows = []
    for service in daemon.socket_services:
        live = service.site.connections
        total = service.site.tally.total(live)
        row: list[Value] = [service.settings.name, service.settings.protocol]
        row += [", ".join(map(str, service.bound)), len(live), total.connections]
        row += [total.messages_received, total.datagrams_received]
        rows.append([*row, total.bytes_received, total.bytes_sent])
    return Reply(headers=_SERVICE_HEADERS + _SERVICE_COUNTS, rows=rows)


def _connections(daemon: Daemon) -> Reply:
    return _table(daemon, daemon.roster)


def _waiting(daemon: Daemon) -> Reply:
    ids = [question.transport.connection_id for question in daemon.operator.waiting]
    return _table(daemon, [found for found in map(daemon.roster.get, ids) if found is not None])


def _show(daemon: Daemon, number: str) -> Reply:
    table = _table(daemon, [_find(daemon, number)])
    return Reply(headers=("FIELD", "VALUE"), rows=list(zip(table.headers, table.rows[0])))


def _reply(daemon: Daemon, number: str, text: str) -> Reply:
    connection = _find(daemon, number)
    question = _question(daemon, connection)
    if question is not None:
        answer(daemon, question, text.encode())
    else:
        connection.speak(text.encode())
    return Reply(f"sent to {connection.connection_id}")


def _close(daemon: Daemon, number: str) -> Reply:
    connection = _find(daemon, number)
    connection.hang_up()
    return Reply(f"closing {connection.connection_id}")


def _reset(daemon: Daemon, number: str) -> Reply:
    connection = _find(daemon, number)
    connection.abortConnection()
    return Reply(f"reset {connection.connection_id}")


def _find(daemon: Daemon, number: str) -> Connection:
    connection = daemon.roster.get(int(number)) if _ID.fullmatch(number) else None
    if connection is None:
        raise CommandError(f"no connection {escaped(number.encode())}; see connections")
    return connection


def _question(daemon: Daemon, connection: Connection) -> Question | None:
    for question in daemon.operator.waiting:
        if question.transport.connection_id == connection.connection_id:
            return question
    return None


def _table(daemon: Daemon, connections: Iterable[Connection]) -> Reply:
    waiting = {question.transport.connection_id for question in daemon.operator.waiting}
    now = daemon.reactor.seconds()
    rows = [_row(one, now, one.connection_id in waiting) for one in connections]
    return Reply(headers=_CONNECTION_HEADERS, rows=rows)


def _row(connection: Connection, now: float, waits: bool) -> tuple[Value, ...]:
    return (
        connection.connection_id,
        connection.site.name,
        connection.peer,
        round(now - connection.began, 1),
        connection.messages_received,
        connection.bytes_received,
        connection.bytes_sent,
        "yes" if waits else "no",
    )


_CONNECTION_HEADERS = ("ID", "SERVICE", "PEER", "AGE", "MESSAGES", "IN", "OUT", "WAITS")
_SERVICE_HEADERS = ("SERVICE", "PROTOCOL", "LISTENS", "OPEN", "TOTAL")
_SERVICE_COUNTS = ("MESSAGES", "DATAGRAMS", "IN", "OUT")

#: Every command, by name.
COMMANDS = {
    "help": Command((), "List the commands.", _help),
    "status": Command((), "Say how the daemon is.", _status),
    "services": Command((), "List the services and what they did.", _services),
    "connections": Command((), "List the live connections.", _connections),
    "waiting": Command((), "List the connections that wait for a word, oldest first.", _waiting),
    "show": Command(("ID",), "Show one connection.", _show),
    "reply": Command(("ID", "TEXT"), "Send a text to one connection.", _reply, True),
    "close": Command(("ID",), "Close one connection, what is owed sent first.", _close, True),
    "reset": Command(("ID",), "Reset one connection.", _reset, True),
}
