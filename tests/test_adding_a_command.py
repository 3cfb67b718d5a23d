"""A control command is declared once: what it takes to add one."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from typing import Any
from unittest import mock

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.main import main
from socketd.cli.operator import control_socket as command_line
from socketd.cli.operator.console import ScriptView
from socketd.cli.operator.control_socket import read_answer
from socketd.cli.operator.session import ConsoleSession
from socketd.common.answers import encode, text_of
from socketd.common.commands import COMMANDS, Argument, Command
from socketd.control import session
from socketd.control.commands import FUNCTIONS, execute
from socketd.control.console import Console
from socketd.control.results import CommandResult
from socketd.control.server import SessionFactory
from socketd.daemon.daemon import Daemon
from tests.control.fakes import FakeOperatorSession, make_daemon
from tools.manual import completion, pages

#: What is written once, in socketd/common/commands.py.
GREET = Command(
    "greet",
    "greet a name",
    (Argument("NAME", "who is greeted"), Argument("TEXT", "the greeting", False, is_text=True)),
    changes=True,
)


def greet(daemon: Daemon, session: Any, name: str, text: str) -> CommandResult:
    """Do what the command does, as in socketd/control/commands.py."""
    return CommandResult(f"{text or 'hello'} {name}", facts={"name": name})


class AddingTests(SynchronousTestCase):
    """A command of the table is known wherever there are commands."""

    def setUp(self) -> None:
        for table, entry in ((COMMANDS, GREET), (FUNCTIONS, greet)):
            patched = mock.patch.dict(table, {"greet": entry})
            patched.start()
            self.addCleanup(patched.stop)
        self.daemon = make_daemon()

    def test_daemon(self) -> None:
        """The daemon's help lists it, and its sessions execute and log it."""
        session = FakeOperatorSession()
        helped = self.successResultOf(execute(self.daemon, "help", session))
        self.assertRegex(text_of(helped.answer), r"(?m)^greet NAME \[TEXT\] +greet a name$")
        for line in ("greet you", '{"command": "greet", "name": "you"}'):
            result = self.successResultOf(execute(self.daemon, line, session))
            self.assertEqual(result.text, "hello you")

    def test_consoles(self) -> None:
        """Both consoles complete it."""
        terminal = StringTransport()
        console = Console(self.daemon, lambda: 80)
        console.makeConnection(terminal)
        console.dataReceived(b"gre\t")
        self.assertIn(b"greet ", terminal.value())
        view = ScriptView(lambda text: None)
        ConsoleSession(view, Clock())
        self.assertEqual(view.complete("gre"), ["greet"])

    def test_command_line(self) -> None:
        """It is a subcommand, with its help; what it sends is what the daemon takes."""
        self.assertIn("greet a name", self.run_main("--help"))
        self.assertIn("who is greeted", self.run_main("greet", "--help"))
        self.patch(command_line, "ControlSocket", lambda *arguments: DaemonSocket(self.daemon))
        self.assertEqual(self.run_main("greet", "you", "good", "day"), "good day you\n")

    def run_main(self, *argv: str) -> str:
        """Run the command, and return its output."""
        with redirect_stdout(StringIO()) as out:
            self.assertEqual(main(argv), 0)
        return out.getvalue()

    def test_completion(self) -> None:
        """Every shell completes it."""
        for shell in (completion.bash, completion.zsh, completion.fish):
            self.assertRegex(shell(), r"\bgreet\b", shell.__name__)

    def test_manual(self) -> None:
        """Both manual pages have it, with its arguments."""
        self.assertIn("NAME [TEXT ...]\n.EE\n.RE\n.PP\nGreet a name.", pages.command_page())
        self.assertIn(r"\%greet \%NAME \%[TEXT]", pages.daemon_page())


class DaemonSocket:
    """A control socket of a daemon in this process."""

    def __init__(self, daemon: Daemon) -> None:
        self.transport = StringTransport()
        self.session: Any = SessionFactory(daemon).buildProtocol(None)
        with mock.patch.object(session, "describe_peer", return_value="operator"):
            self.session.makeConnection(self.transport)

    def ask(self, command: Command, arguments: dict[str, str]) -> Any:
        """Send a request; return the answer."""
        self.session.dataReceived(encode(command, arguments).encode() + b"\n")
        return read_answer(self.transport.value())

    def close(self) -> None:
        """End the session."""
        self.session.connectionLost()
