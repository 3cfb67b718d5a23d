"""The console script C{socketd}: dispatches to a subcommand and reports an error in one line."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from socketd.cli.common.output import emit, note
from socketd.common import errors
from socketd.common.commands import ALIASES, COMMANDS
from socketd.common.errors import CommandError
from socketd.common.text import one_line

PROGRAM = "socketd"
DESCRIPTION = "Talk to sockets and look after the socketd daemon."

#: The modules of the other subcommands than the commands of the daemon. Only the requested one is
#: imported: most import Twisted, which takes longer than their work.
MODULES = {
    "run": "system.run",
    "serve": "system.serve",
    "check": "system.check",
    "try": "system.try_rules",
    "console": "operator.console",
    "send": "client.send",
    "chat": "client.chat",
    "time": "clock.time",
    "ping": "client.ping",
    "record": "record.command",
    "whoami": "client.whoami",
    "certificate": "system.certificate",
    "options": "system.socket_options",
    "unit": "system.unit",
    "import": "migrate.command",
}

#: What they do.
HELP = {
    "run": "run the daemon in the foreground (twistd --nodaemon --pidfile= socketd ...)",
    "serve": "serve one protocol in the foreground until Ctrl-C, without a file",
    "check": "validate a configuration and print all errors, without binding",
    "try": "say what the rules of a service would answer, and by which rule, without a socket",
    "console": "watch a running daemon, answer the connections that wait, and type commands",
    "send": "send text or standard input, print what comes back until the peer ends",
    "chat": "send line by line, print each answer, until the peer ends or Ctrl-D",
    "time": "ask a time server: its time, the round trip and the offset of our clock",
    "ping": "measure the round trips to an echo service, or both ways to a STAMP reflector",
    "record": "pass one conversation on to a server, and write rules that answer as it did",
    "whoami": "ask a whoami service who we are: our address as it sees it, what we reached, TLS",
    "certificate": "make certificates for development: a CA, a server, a client",
    "options": "list the socket options of this system with their defaults",
    "unit": "print a systemd unit with just the ports and networks that a configuration needs",
    "import": "convert a configuration of xinetd or inetd to one of socketd",
}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    @property
    def declared(self) -> list[argparse.Action]:
        """The arguments in the order of their declaration; argparse itself has no public list."""
        return self._actions

    @property
    def positionals(self) -> list[argparse.Action]:
        """The arguments without flags."""
        return [action for action in self.declared if not action.option_strings]

    def error(self, message: str) -> NoReturn:
        """Exit with the error only, without the usage text that would hide it."""
        self.exit(errors.USAGE, f"{self.prog}: {one_line(message)}; see {self.prog} --help\n")


def installed_version() -> str:
    """Return the version of the installed distribution, or a text that says that there is none."""
    from importlib import metadata

    try:
        return metadata.version(PROGRAM)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def subcommands() -> list[str]:
    """List the subcommands in the order of the help; those of the daemon follow C{console}."""
    commands = [command.name for command in COMMANDS.values() if command.on_command_line]
    names = list(MODULES)
    place = names.index("console") + 1
    return [*names[:place], *commands, *names[place:]]


def load(name: str) -> Any:
    """Import a subcommand: something with C{add_arguments} and C{run}."""
    if name in MODULES:
        return importlib.import_module(f"socketd.cli.{MODULES[name]}")
    commands = importlib.import_module("socketd.cli.operator.control_socket")
    return commands.ControlCommand(COMMANDS[name])


def help_of(name: str) -> str:
    """Say in one line what a subcommand does."""
    return HELP[name] if name in HELP else COMMANDS[name].help


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand with these arguments, or those of the process; return its status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    program = " ".join([PROGRAM, *(word for word in arguments[:1] if word in subcommands())])
    try:
        status = _run(arguments)
        emit("")
        return status
    except KeyboardInterrupt:
        return errors.INTERRUPTED
    except errors.Terminated:
        return errors.TERMINATED
    except BrokenPipeError:
        return errors.OUTPUT_CLOSED
    except CommandError as error:
        for line in error.details:
            note(one_line(line))
        return _complain(program, str(error), error.status)
    except OSError as error:
        return _complain(program, str(error), errors.FAILED)
    except Exception as error:
        return _complain(
            program, f"internal error: {type(error).__name__}: {error}", errors.FAILED
        )


def _run(argv: list[str]) -> int:
    try:
        if argv[:1] == ["help"]:
            argv = [*argv[1:2], "--help"]
        if argv[:1] and argv[0] in subcommands():
            subcommand = load(argv[0])
            arguments = _parse(argv[0], subcommand, argv[1:])
        else:
            _explain(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else errors.GOOD
    status: int = subcommand.run(arguments)
    return status


def _parse(name: str, subcommand: Any, argv: list[str]) -> argparse.Namespace:
    program = f"{PROGRAM} {name}"
    parser = Parser(prog=program, description=help_of(name), allow_abbrev=False)
    subcommand.add_arguments(parser)
    if any(action.nargs == argparse.REMAINDER for action in parser.positionals):
        # All arguments belong to another program, but argparse would parse a leading option
        # as its own; no argument can begin with NUL, so this prefix disables options.
        parser.prefix_chars = "\0"
        return parser.parse_args(argv)
    if hasattr(subcommand, "explain") and not {"-h", "--help"}.isdisjoint(argv):
        subcommand.explain(parser, argv)
    _reject_unknown_option(parser, argv)
    # Intermixed: otherwise an optional argument could not follow an option.
    arguments, unknown = parser.parse_known_intermixed_args(argv)
    if "--" in argv and not parser.positionals:
        # For a parser without positionals, Python 3.13.5 drops what follows "--".
        unknown = unknown or argv[argv.index("--") + 1 :]
    if unknown:
        takes = "unknown argument" if parser.positionals else "takes no arguments"
        parser.error(f"{takes}: {' '.join(unknown)}")
    return arguments


def _reject_unknown_option(parser: Parser, argv: list[str]) -> None:
    """Reject an unknown option, before its value is parsed as an argument."""
    options = {text: action for action in parser.declared for text in action.option_strings}
    words = [*argv, "--"][: [*argv, "--"].index("--")]
    long = (word.partition("=")[0] for word in words if word.startswith("--"))
    unknown = next((name for name in long if name not in options), "")
    unknown = unknown or next((word for word in words if _is_unknown(word, options)), "")
    if unknown:
        hint = _hint(unknown, options)
        if any(action.metavar == "TEXT" for action in parser.positionals):
            hint += f"; a text that begins with a dash stands behind --: -- {unknown}"
        parser.error(f"unknown option: {unknown}{hint}")


def _is_unknown(word: str, options: Mapping[str, argparse.Action]) -> bool:
    """
    Return whether a word with one dash is neither an option with its value, nor combined short
    options, nor a number.
    """
    if word[:1] != "-" or word[1:2] in ("", "-") or word[1:].replace(".", "", 1).isdigit():
        return False
    for letter in word[1:]:
        action = options.get(f"-{letter}")
        if action is None or action.nargs != 0:
            return action is None
    return False


def _hint(word: str, names: Iterable[str]) -> str:
    """Suggest the name most similar to a misspelt one: C{ (NAME?)}."""
    from difflib import get_close_matches

    return "".join(f" ({name}?)" for name in get_close_matches(word, list(names), n=1))


def _explain(argv: list[str]) -> NoReturn:
    """Handle arguments without a subcommand: print the help, the version or an error."""
    parser = Parser(prog=PROGRAM, description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action="store_true", help="print the version")
    subparsers = parser.add_subparsers(metavar="SUBCOMMAND", required=True)
    word = argv[0] if argv else ""
    if not word:
        parser.error(f"a command has to follow, such as {PROGRAM} status")
    if word.startswith("-") and word not in ("-h", "--help", "--version"):
        parser.error(f"unknown option: {word}; the command comes first")
    if word in (*COMMANDS, *ALIASES):
        parser.error(f"{word} is a command of {PROGRAM} console")
    if not word.startswith("-"):
        parser.error(f"{one_line(word)} is no command{_hint(word, subcommands())}")
    if word == "--version":
        emit(f"{PROGRAM} {installed_version()}\n")
        parser.exit()
    for name in subcommands():
        subparsers.add_parser(name, help=help_of(name))
    parser.print_help()
    parser.exit()


def _complain(program: str, message: str, status: int) -> int:
    note(f"{program}: {one_line(message)}")
    return status
