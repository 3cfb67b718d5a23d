"""The console script C{socketd}: dispatches to a subcommand and reports an error in one line."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from socketd.cli.common.output import emit
from socketd.common.errors import (
    FAILED,
    GOOD,
    INTERRUPTED,
    OUTPUT_CLOSED,
    TERMINATED,
    USAGE,
    CommandError,
    Terminated,
)
from socketd.common.text import one_line

PROGRAM = "socketd"
DESCRIPTION = "Talk to sockets and look after the socketd daemon."

#: The subcommands that control a running daemon, all in L{socketd.cli.operator.commands}.
OPERATIONS = (
    "status", "services", "connections", "waiting", "show", "watch", "reply", "answer", "close",
    "reset", "ban", "unban", "bans", "reload", "drain", "resume", "log-level",
)  # fmt: skip

#: The module of each subcommand, in the order of the help. Only the requested one is imported:
#: most import Twisted, which takes longer than their work.
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

#: Commands that exist only in an operator session.
CONSOLE_ONLY = ("attend", "quit", "exit")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """
        Exit with the error only, without the usage text that would hide it.

        @param message: the error.
        """
        self.exit(USAGE, f"{self.prog}: {one_line(message)}; see {self.prog} --help\n")


class VersionAction(argparse.Action):
    """C{--version}: looks up the version only on demand."""

    def __call__(self, parser: argparse.ArgumentParser, *args: Any) -> None:
        """
        Print the version and exit.

        @param parser: the parser of the option.
        @param args: the remaining arguments of C{argparse}, unused.
        """
        emit(f"{PROGRAM} {installed_version()}\n")
        parser.exit()


def installed_version() -> str:
    """
    Return the version of the installed distribution.

    @return: the version, or a text that says that none is installed.
    """
    from importlib import metadata

    try:
        return metadata.version(PROGRAM)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one subcommand.

    @param argv: the arguments without the program's name; default: those of the process.
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
        # All arguments belong to another program, but argparse would parse a leading option
        # as its own; no argument can begin with NUL, so this prefix disables options.
        parser.prefix_chars = "\0"
        return parser.parse_args(argv)
    _refuse_misspelt(parser, argv)
    # Intermixed: otherwise an optional argument could not follow an option.
    arguments, unknown = parser.parse_known_intermixed_args(argv)
    if "--" in argv and not _positionals(parser):
        # For a parser without positionals, Python 3.13.5 drops what follows "--".
        unknown = unknown or argv[argv.index("--") + 1 :]
    if unknown:
        takes = "takes no arguments" if not _positionals(parser) else "unknown argument"
        parser.error(f"{takes}: {' '.join(unknown)}")
    return arguments


def _positionals(parser: Parser) -> list[argparse.Action]:
    return [action for action in parser._actions if not action.option_strings]


def _refuse_misspelt(parser: Parser, argv: list[str]) -> None:
    """Reject an unknown option, before its value is parsed as an argument."""
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
    Return whether a word with one dash is neither an option with its value, nor combined short
    options, nor a number.
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
    Handle arguments without a subcommand: print the help, the version or an error.

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
        # Only the program's own help needs every module.
        subparsers.add_parser(name, **{"help": _import(name).HELP} if wants_help else {})
    parser.parse_args(argv)
    parser.error("the command comes first")


def _complain(program: str, message: str, status: int) -> int:
    if sys.stderr is not None:
        print(f"{program}: {one_line(message)}", file=sys.stderr, flush=True)
    return status
