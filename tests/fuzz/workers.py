"""What a master promises, whatever a worker sends."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from socketd.common.answers import Answer, text_of
from socketd.configuration import Configuration
from socketd.control.commands import respond
from socketd.control.reports import queue_event
from socketd.net.sockets.group import Sharing
from socketd.protocols.registry import installed
from socketd.settings.load import parse
from socketd.workers.master import MasterDaemon, make_master
from tests.control.fakes import FakeOperatorSession
from tests.support.fakes import HandReactor
from tests.workers.fakes import ProcessReactor

INI = "[echo]\nlisten = tcp:0\n[stamp]\nlisten = udp:0\n"

#: What the first worker is asked before it sends anything: the questions 2 to 7.
QUESTIONS = ("show 1", "connections", "waiting", "sources", "ban 192.0.2.1")


def start() -> tuple[MasterDaemon, list[Answer]]:
    """Start a master with two workers, one of which is asked something."""
    never: Any = lambda **values: Deferred()  # noqa: E731
    silent: Any = lambda *event, **values: None  # noqa: E731
    handlers = dict.fromkeys(("snapshot", "request", "switch", "ping"), never)
    quiet = dict.fromkeys(("serve", "observe", "attend"), silent)
    settings = parse(INI, "FILE", installed(), "/run/x")
    parts = HandReactor(), Configuration(settings), lambda: 0.0
    daemon = make_master(ProcessReactor({**handlers, **quiet}), Sharing(2), *parts)
    logger = Logger(observer=silent)
    daemon.event_bus._log = daemon.crew._log = logger
    daemon.crew.start()
    answers: list[Answer] = []
    daemon.refresh()
    for line in QUESTIONS:
        respond(daemon, line, FakeOperatorSession()).addCallback(answers.append)
    return daemon, answers


def check_workers(data: bytes) -> None:
    """
    Whatever frames a worker sends, one in a line, the master goes on: it ends that one at most,
    what it shows is whole and printable, and no counter goes back.
    """
    daemon, answers = start()
    clock = daemon.crew.reactor
    seen: list[str] = []
    note: Any = lambda event, facts: seen.append(event.format.format(**facts))  # noqa: E731
    daemon.event_bus.watch(note)
    first, second = clock.processes
    link, before = daemon.crew.workers[0].link, 0
    assert link is not None
    for line in data.split(b"\n"):
        link.stringReceived(line)
        counters = daemon.snapshot().services[0].counters
        assert counters.connections >= before
        before = counters.connections
        json.dumps(queue_event(daemon))
    clock.advance(60)
    assert len(answers) == len(QUESTIONS)
    for answer in answers:
        text_of(answer)
        json.dumps(answer)
    assert all(line.isprintable() for line in seen)
    assert not second.killed
    first.end()
    assert daemon.operator.count == 0
    assert daemon.snapshot().services[0].counters.connections >= before
