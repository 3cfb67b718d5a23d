"""What operators type while clients come and go, and what a daemon tells a console."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from socketd.cli.operator.console import ScriptView
from socketd.cli.operator.session import ConsoleSession
from socketd.common.commands import ALIASES, COMMANDS
from socketd.control.commands import answer
from socketd.control.console import Console
from socketd.terminal.line_editor import MAX_TEXT
from socketd.terminal.operator_prompt import PROMPT, REACTION_TIME
from tests.control.fakes import FakeConnection, connect, make_daemon
from tests.support.client_fakes import MemoryTransport, Paper

#: Wide enough that nothing is cut: a prompt, and the longest line.
WIDTH = MAX_TEXT + 200

#: What separates the steps, and is no key.
SEPARATOR = b"\xfe"

MOST_CLIENTS = 8

_ASKS = "input the word"


class PaperTransport(StringTransport):
    """Prints what is written to it."""

    def __init__(self, paper: Paper) -> None:
        super().__init__()
        self.paper = paper

    def write(self, data: bytes) -> None:
        self.paper.write(data.decode())


class Scene:
    """A daemon with clients that wait, the console at its terminal, and what stands on that."""

    def __init__(self) -> None:
        self.daemon = make_daemon()
        self.daemon.event_bus.level = LogLevel.critical
        self.paper = Paper(WIDTH)
        self.clients: list[FakeConnection] = []
        self.console = Console(self.daemon, lambda: WIDTH)
        self.console.makeConnection(PaperTransport(self.paper))
        self.prompt, self.live = "", 0

    def happen(self, what: int) -> None:
        """Have a client come, ask once more or go, another operator answer, or time pass."""
        waiting = self.daemon.operator.waiting
        if what == 1 and len(self.clients) < MOST_CLIENTS:
            port = 50001 + len(self.clients)
            self.clients.append(connect(self.daemon, peer=f"192.0.2.7:{port}"))
            self.clients[-1].receive(b"hello")
        elif what == 2 and waiting:
            found = waiting[0].transport
            self.clients.remove(found)
            found.leave()
        elif what == 3 and waiting:
            answer(self.daemon, waiting[0], b"theirs", "uid 7")
        elif what == 4:
            self.daemon.reactor.advance(REACTION_TIME / 2)
        elif what == 5 and self.clients:
            self.clients[0].receive(b"again")

    def press(self, key: bytes) -> None:
        """
        Type a byte, and see that a word goes to the client whose prompt the line was begun at.
        """
        line = self.paper.last
        if not self.console._view.is_begun:
            self.prompt, self.live = line, len(self.clients)
        before = {one: one.value() for one in self.clients}
        self.console.dataReceived(key)
        changed = [one for one, value in before.items() if one.value() != value]
        if not changed:
            return
        if not self.prompt.startswith(_ASKS):
            name = line.split(" ")[0].lstrip("/")
            assert name in (*COMMANDS, *ALIASES, "json"), line
        elif not line.removeprefix(self.prompt).startswith("/"):
            (one,) = changed
            named = f"ack {one.connection_id} ({one.peer}" in self.prompt
            alone = self.prompt == PROMPT and self.live == 1
            assert named or alone, (self.prompt, line, one.connection_id)


def check_keys(data: bytes) -> None:
    """
    Whatever is typed while clients come and go, a word goes to the client that the prompt
    named when the line was begun, and to no other; and the terminal stays in order.
    """
    scene = Scene()
    for step in data.split(SEPARATOR):
        scene.happen(step[0] % 6 if step else 0)
        for byte in step[1:]:
            scene.press(bytes([byte]))


def check_daemon(data: bytes) -> None:
    """Whatever a daemon says to a console, it is shown as printable lines, or is no daemon."""
    written: list[str] = []
    view = ScriptView(written.append)
    clock = Clock()
    session = ConsoleSession(view, clock)
    session.done.addErrback(lambda _: None)
    MemoryTransport().connect(session)
    for line in data.split(SEPARATOR):
        session.dataReceived(line + b"\n")
        session.input_received(b"word\n")
        clock.advance(REACTION_TIME / 2)
    session.connectionLost(Failure(ConnectionDone()))
    clock.advance(REACTION_TIME)
    assert "".join(written).replace("\n", "").isprintable()
    assert session.done.called
