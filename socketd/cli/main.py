"""
The console script C{socketd}: finds the subcommand, runs it, and says in one line what failed.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from socketd.cli.common.errors import (
    FAILED,
    GOOD,
    INTERRUPTED,
    OUTPUT_CLOSED,
    TERMINATED,
    USAGE,
    CommandError,
    Terminated,
)
from socketd.cli.common.output import emit
from socketd.cli.common.sanitize import one_line

PROGRAM = "socketd"
DESCRIPTION = "Talk to sockets and look after the socketd daemon."
OPERATIONS = (
    "status", "services", "connections", "waiting", "show", "watch", "reply", "answer", "close",
    "reset", "ban", "unban", "bans", "reload", "drain", "resume", "log-level",
)  # fmt: skip
"""
The subcommands that ask a running daemon, all of L{socketd.cli.operator.commands}.
"""
MODULES = {
    "run": "system.run",
    "check": "system.check",
    "console": "operator.console",
    **dict.fromkeys(OPERATIONS, "operator.commands"),
    "send": "client.send",
    "chat": "client.chat",
    "time": "client.time",
    "ping": "client.ping",
    "certificate": "system.certificate",
    "options": "system.socket_options",
    "unit": "system.unit",
    "import": "migrate.command",
}
"""
Where each subcommand is, in the order of the help. Only the module of the one that is asked for is
imported: most of them bring Twisted along, which takes longer than what they do.
"""

CONSOLE_ONLY = ("attend", "quit", "exit")
"""
What only a session at the console can do.
"""


class Parser(argparse.ArgumentParser):
    """
    An argument parser whose complaints are one line.
    """

    def error(self, message: str) -> NoReturn:
        """
        End with the complaint, without the usage that would push it out of sight.

        @param message: what is wrong.
        """
        self.exit(USAGE, f"{self.prog}: {one_line(message)}; see {self.prog} --help\n")


class VersionAction(argparse.Action):
    """
    C{--version}: looks the version up only when it is asked for.
    """

    def __call__(self, parser: argparse.ArgumentParser, *args: Any) -> None:
        """
        Print the version and end.

        @param parser: the parser that met the option.
        @param args: what else C{argparse} passes.
        """
        emit(f"{PROGRAM} {installed_version()}\n")
        parser.exit()


def installed_version() -> str:
    """
    The version of the installed distribution.

    @return: the version, or words that say that there is none.
    """
    from importlib import metadata

    try:
        return metadata.version(PROGRAM)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one subcommand.

    @param argv: the arguments, without the program's name; those of the process by default.
    @return: the exit status.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    named = [word for word in arguments[:1] if word in MODULES]
    program = " ".join([PROGRAM, *named])
    try:
        status = _run(arguments)
        emit("")
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except Terminated:
        return TERMINATED
    except BrokenPipeError:
        return OUTPUT_CLOSED
    except CommandError as error:
        return _complain(program, str(error), error.status)
    except OSError as error:
        return _complain(program, str(error), FAILED)
    except Exception as error:
        return _complain(program, f"internal error: {type(error).__name__}: {error}", FAILED)


def _run(argv: list[str]) -> int:
    try:
        if argv[:1] == ["help"]:
            argv = [*argv[1:2], "--help"]
        if argv[:1] and argv[0] in MODULES:
            subcommand = _import(argv[0])
            arguments = _parse(subcommand, argv[1:])
        else:
            _explain(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else GOOD
    status: int = subcommand.run(arguments)
    return status


def _import(name: str) -> Any:
    module = importlib.import_module(f"socketd.cli.{MODULES[name]}")
    return module.OPERATIONS[name] if name in OPERATIONS else module


def _parse(subcommand: Any, argv: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog=f"{PROGRAM} {subcommand.NAME}", description=subcommand.HELP, allow_abbrev=False
    )
    subcommand.add_arguments(parser)
    if any(action.nargs == argparse.REMAINDER for action in parser._actions):
        # All of it is for another program. argparse would take an option that comes first for
        # one of its own; an argument cannot begin with a NUL, so that none is one.
        parser.prefix_chars = "\0"
        return parser.parse_args(argv)
    _refuse_misspelt(parser, argv)
    # Intermixed: otherwise no argument that may be left out could come after an option.
    arguments, unknown = parser.parse_known_intermixed_args(argv)
    if "--" in argv and not _positionals(parser):
        # Where no argument is taken, Python 3.13.5 drops what stands behind it.
        unknown = unknown or argv[argv.index("--") + 1 :]
    if unknown:
        takes = "takes no arguments" if not _positionals(parser) else "unknown argument"
        parser.error(f"{takes}: {' '.join(unknown)}")
    return arguments


def _positionals(parser: Parser) -> list[argparse.Action]:
    return [action for action in parser._actions if not action.option_strings]


def _refuse_misspelt(parser: Parser, argv: list[str]) -> None:
    """
    Complain of an option that there is not, before its value is taken for an argument.
    """
    known = {text: action for action in parser._actions for text in action.option_strings}
    options = [*argv, "--"][: [*argv, "--"].index("--")]
    names = (word.partition("=")[0] for word in options if word.startswith("--"))
    unknown = next((name for name in names if name not in known), "")
    unknown = unknown or next((word for word in options if _is_misspelt(word, known)), "")
    if unknown:
        from difflib import get_close_matches

        meant = "".join(f" ({text}?)" for text in get_close_matches(unknown, known, n=1))
        if any(action.metavar == "TEXT" for action in _positionals(parser)):
            meant += f"; a text that begins with a dash stands behind --: -- {unknown}"
        parser.error(f"unknown option: {unknown}{meant}")


def _is_misspelt(word: str, known: Mapping[str, argparse.Action]) -> bool:
    """
    Say whether a word with one dash is neither an option with its value, nor several options
    in one word, nor a number.
    """
    if word[:1] != "-" or word[1:2] in ("", "-") or word[1:].replace(".", "", 1).isdigit():
        return False
    for letter in word[1:]:
        action = known.get(f"-{letter}")
        if action is None or action.nargs != 0:
            return action is None
    return False


def _explain(argv: list[str]) -> NoReturn:
    """
    Answer what names no subcommand: with the help, the version or a complaint.

    @param argv: the arguments.
    """
    parser = Parser(prog=PROGRAM, description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action=VersionAction, nargs=0, help="print the version")
    subparsers = parser.add_subparsers(metavar="SUBCOMMAND", required=True)
    wants_help = argv[:1] in (["-h"], ["--help"])
    word = argv[0] if argv else ""
    if not word:
        parser.error(f"a command has to follow, such as {PROGRAM} status")
    if word.startswith("-") and word not in ("-h", "--help", "--version"):
        parser.error(f"unknown option: {word}; the command comes first")
    if word in CONSOLE_ONLY:
        parser.error(f"{word} is a command of socketd console")
    if not word.startswith("-"):
        from difflib import get_close_matches

        meant = "".join(f" ({text}?)" for text in get_close_matches(word, MODULES, n=1))
        parser.error(f"{one_line(word)} is no command{meant}")
    for name in MODULES:
        # The help of the whole command is the only thing that needs every module.
        subparsers.add_parser(name, **{"help": _import(name).HELP} if wants_help else {})
    parser.parse_args(argv)
    parser.error("the command comes first")


def _complain(program: str, message: str, status: int) -> int:
    if sys.stderr is not None:
        print(f"{program}: {one_line(message)}", file=sys.stderr, flush=True)
    return status
