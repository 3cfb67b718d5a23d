"""Tests for L{socketd.cli.main}, L{socketd.cli.common.output} and L{socketd.cli.client.runner}."""

from __future__ import annotations

import ast
import io
import os
import sys
from argparse import REMAINDER, ArgumentParser, Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SynchronousTestCase

from socketd import cli
from socketd.cli import main as main_module
from socketd.cli.common.output import emit, explained
from socketd.cli.main import HELP, MODULES, help_of, load, main, subcommands
from socketd.common.errors import CommandError, Terminated
from tests.support.client_fakes import CommandTestCase, environment
from tests.support.command_line import run_main

DAEMON_FREE = [
    path
    for path in sorted(Path(cli.__file__).parent.rglob("*.py"))
    if path.stem not in ("check", "run", "serve", "serve_arguments", "try_rules")
]


def imports_of(path: Path) -> set[str]:
    """List the modules that a module imports, wherever in it, and what it takes from them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


class FakeSubcommand:
    """A subcommand that does what a test wants."""

    def __init__(self, outcome: Any, nargs: str = "*") -> None:
        """@param outcome: the status to return, or the exception to raise."""
        self.outcome = outcome
        self.nargs = nargs
        self.rest: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare arguments."""
        parser.add_argument("rest", nargs=self.nargs)

    def run(self, arguments: Namespace) -> Any:
        """Return the status, or raise the exception."""
        self.rest = arguments.rest
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


class MainTests(SynchronousTestCase):
    """Tests for L{main} with a subcommand of the test's own."""

    def run_main(self, subcommand: FakeSubcommand, *argv: str) -> tuple[int, str]:
        """Run the command; return the status, and what was written to standard error."""
        self.patch(main_module, "load", lambda name: subcommand)
        status, _, error = run_main(*argv)
        return status, error

    def test_status(self) -> None:
        """The status is the subcommand's."""
        for status in (0, 1, 78):
            self.assertEqual(self.run_main(FakeSubcommand(status), "send"), (status, ""))

    def test_failures(self) -> None:
        """Each kind of failure has its status, and at most one line."""
        cases: list[tuple[BaseException, int, str]] = [
            (CommandError("no\nluck"), 1, "socketd send: no\\nluck\n"),
            (CommandError("bad file", 78), 78, "socketd send: bad file\n"),
            (OSError(2, "No such file", "x"), 1, "socketd send: [Errno 2] No such file: 'x'\n"),
            (RuntimeError("bug"), 1, "socketd send: internal error: RuntimeError: bug\n"),
            (KeyboardInterrupt(), 130, ""),
            (Terminated(), 143, ""),
            (BrokenPipeError(), 141, ""),
        ]
        for failure, status, line in cases:
            self.assertEqual(self.run_main(FakeSubcommand(failure), "send"), (status, line))

    def test_usage(self) -> None:
        """A usage error is one line with the name of the subcommand, and status 2."""
        cases = {
            (): "socketd: a command has to follow, such as socketd status; see",
            ("sned",): "socketd: sned is no command (send?); see socketd --help",
            ("statu",): "socketd: statu is no command (status?); see",
            ("help", "statu"): "socketd: statu is no command (status?); see",
            ("x\x1b",): "socketd: x\\x1b is no command; see",
            ("quit",): "socketd: quit is a command of socketd console; see",
            ("--", "send"): "; see socketd --help",
            ("--what", "send"): "socketd: unknown option: --what; the command comes first; see",
            ("--versio",): "socketd: unknown option: --versio; the command comes first; see",
            ("send", "--what"): "socketd send: unknown option: --what; see socketd send --help",
            ("send", "-x5"): "socketd send: unknown option: -x5; see socketd send --help",
            ("send", "-help"): "socketd send: unknown option: -help (--help?); see",
            ("send", "--hlep=3", "x"): "send: unknown option: --hlep (--help?); see",
        }
        for argv, line in cases.items():
            status, error = self.run_main(FakeSubcommand(0), *argv)
            self.assertEqual((status, error.count("\n")), (2, 1))
            self.assertIn(line, error)

    def test_arguments(self) -> None:
        """Unknown arguments and options are errors with a hint; combined options are not."""
        dash = "a text that begins with a dash stands behind --: -- "
        cases = {
            ("status", "x"): "socketd status: takes no arguments: x; see socketd status --help",
            ("close", "1", "2"): "socketd close: unknown argument: 2; see",
            ("send", "a:1", "-hello"): f"unknown option: -hello (--help?); {dash}-hello; see",
            ("send", "a:1", "--hello"): f"unknown option: --hello (--help?); {dash}--hello; see",
            ("reply", "1", "-x"): f"socketd reply: unknown option: -x; {dash}-x; see",
            ("ban",): "the following arguments are required: SOURCE; see",
            ("answer",): "the following arguments are required: ID; see",
            ("ping", "a:1", "-cx"): "argument -c/--count: 'x' is no number",
            ("ping", "a:1", "-c", "-1"): "argument -c/--count: '-1' is no number",
        }
        for argv, line in cases.items():
            status, _, error = run_main(*argv)
            self.assertEqual((status, error.count("\n")), (2, 1), argv)
            self.assertIn(line, error)

    def test_help(self) -> None:
        """C{help} is C{--help}, of all or of one command."""
        for argv, line in ((["help"], "SUBCOMMAND"), (["help", "status"], "socketd status")):
            status, out, _ = run_main(*argv)
            self.assertEqual(status, 0)
            self.assertIn(line, out)

    def test_passes_on(self) -> None:
        """A subcommand that takes the remainder gets all of it, options first or not."""
        for rest in (["--config", "x"], ["x", "--config"], ["-h"], ["--", "-n"], []):
            subcommand = FakeSubcommand(0, REMAINDER)
            self.assertEqual(self.run_main(subcommand, "send", *rest), (0, ""))
            self.assertEqual(subcommand.rest, rest)

    def test_closed_standard_streams(self) -> None:
        """Without standard output and error a failure is only a status."""
        self.patch(main_module, "load", lambda name: FakeSubcommand(CommandError("x")))
        self.patch(sys, "stdout", None)
        self.patch(sys, "stderr", None)
        self.assertEqual(main(["send"]), 1)


class OutputTests(SynchronousTestCase):
    """Tests for L{emit} and L{explained}."""

    def test_emit(self) -> None:
        """What is printed is flushed."""
        flushed: list[str] = []
        written = io.StringIO()
        self.patch(
            sys,
            "stdout",
            SimpleNamespace(write=written.write, flush=lambda: flushed.append("yes")),
        )
        emit("line\n")
        self.assertEqual((written.getvalue(), flushed), ("line\n", ["yes"]))

    def test_explained(self) -> None:
        """A broken pipe keeps its exception; any other error is explained."""
        broken = BrokenPipeError()
        self.assertIs(explained(broken), broken)
        error = explained(OSError(28, "No space left on device"))
        self.assertEqual(str(error), "standard output: no space left on device")


class ModuleTests(SynchronousTestCase):
    """Tests for the modules of the subcommands."""

    def test_subcommands(self) -> None:
        """Each subcommand has its module, and a line of help; those of the daemon, too."""
        self.assertEqual(list(HELP), list(MODULES))
        names = subcommands()
        self.assertEqual(names[: names.index("console") + 2][-2:], ["console", "status"])
        self.assertLess(set(MODULES), set(names))
        for name in names:
            self.assertTrue(callable(load(name).run))
            self.assertNotIn("\n", help_of(name))

    def test_stands_apart(self) -> None:
        """The command imports nothing of the daemon, but it may read a configuration."""
        allowed = (
            "socketd.cli", "socketd.common.", "socketd.terminal.", "socketd.settings.",
            "socketd.configuration.",
            # Rules are written as they are read.
            "socketd.protocols.",
            # How a certificate and the kernel's messages are read is the same on both sides.
            "socketd.net.tls.certificates.", "socketd.net.datagram.cmsg.",
        )  # fmt: skip
        for path in DAEMON_FREE:
            for name in imports_of(path):
                if name.startswith("socketd."):
                    self.assertTrue(name.startswith(allowed), f"{path.name}: {name}")

    def test_one_reactor(self) -> None:
        """Only one module imports the reactor."""
        reactor = "twisted.internet.reactor"
        touching = [path.stem for path in DAEMON_FREE if reactor in imports_of(path)]
        self.assertEqual(touching, ["runner"])


class CommandTests(CommandTestCase):
    """Tests for the command as a process."""

    async def test_help(self) -> None:
        """The help names every subcommand."""
        out, err, status = await self.command("--help")
        self.assertEqual((err, status), (b"", 0))
        for name in subcommands():
            self.assertRegex(out, rf"\n    {name}\s".encode())

    async def test_version(self) -> None:
        """The version has one line."""
        out, err, status = await self.command("--version")
        self.assertEqual((err, status, out.count(b"\n")), (b"", 0, 1))
        self.assertTrue(out.startswith(b"socketd "))

    async def test_quick_start(self) -> None:
        """A subcommand that needs no network does not load Twisted."""
        code = (
            "import sys; from socketd.cli.main import main; main(['options']); "
            "main(['status', '--control', '/nowhere']); "
            "sys.exit('twisted.internet' in sys.modules)"
        )
        _, errors, status = await self.python(code)
        self.assertTrue(errors.startswith(b"socketd status: /nowhere: no daemon there"), errors)
        self.assertEqual(status, 0)

    async def test_late_openssl(self) -> None:
        """TLS and certificates are imported only on demand."""
        for names, unwanted in (
            ("system.certificate, system.socket_options", "cryptography"),
            ("client.chat, client.send, clock.time", "socketd.cli.transport.tls"),
        ):
            modules = ", ".join(f"socketd.cli.{name}" for name in names.split(", "))
            code = f"import sys, {modules}; "
            code += f"sys.exit({unwanted!r} in sys.modules)"
            self.assertEqual(await self.python(code), (b"", b"", 0))

    async def test_closed_output(self) -> None:
        """A closed pipe ends the command silently."""
        code = (
            "import os; from socketd.cli.main import main; read, write = os.pipe(); "
            "os.close(read); os.dup2(write, 1); raise SystemExit(main(['options']))"
        )
        self.assertEqual(await self.python(code), (b"", b"", 141))

    async def test_full_device(self) -> None:
        """A full device is a one-line error, at the interpreter's exit, too."""
        code = (
            "import os; from socketd.cli.main import main; "
            "os.dup2(os.open('/dev/full', os.O_WRONLY), 1); raise SystemExit(main(['options']))"
        )
        complaint = b"socketd options: standard output: no space left on device\n"
        self.assertEqual(await self.python(code), (b"", complaint, 1))

    async def python(self, code: str) -> tuple[bytes, bytes, int]:
        """Run some Python in a process; return its output, its errors and its status."""
        outcome: tuple[bytes, bytes, int] = await getProcessOutputAndValue(
            sys.executable, ("-c", code), env=environment(), path=os.curdir
        )
        return outcome
