"""The parsers of C{socketd} and all its subcommands, and how their arguments are written."""

from __future__ import annotations

import argparse
from argparse import Action, ArgumentParser
from typing import Any

from socketd.cli import main
from socketd.cli.main import DESCRIPTION, PROGRAM
from socketd.tap import Options


def command_line() -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    """Create the parser of C{socketd}, and list its subparsers by subcommand."""
    root = ArgumentParser(PROGRAM, description=DESCRIPTION, add_help=False)
    subparsers = root.add_subparsers()
    for name in main.subcommands():
        what = main.help_of(name)
        parser = subparsers.add_parser(name, help=what, add_help=False)
        if name == "run":
            _add_daemon_options(parser)
        else:
            main.load(name).add_arguments(parser)
        # Only socketd SUBCOMMAND --help shows a longer one.
        parser.description = what
    root.add_argument("--version", action="version", help="print the version")
    parsers: dict[str, ArgumentParser] = dict(subparsers.choices)
    for parser in (root, *parsers.values()):
        parser.add_argument("-h", "--help", action="help", help="show the help")
    return root, parsers


def _add_daemon_options(parser: ArgumentParser) -> None:
    """Add the options of C{twistd socketd}, which C{socketd run} passes on."""
    parser.add_argument("FILE", nargs="?", help="as --config FILE; it comes before all options")
    parameters: Any = Options.optParameters
    flags: Any = Options.optFlags
    for name, short, _, text in parameters:
        parser.add_argument(*_flags(name, short), metavar=name.upper(), help=text)
    for name, short, text in flags:
        parser.add_argument(*_flags(name, short), action="store_true", help=text)


def _flags(name: str, short: str | None) -> list[str]:
    return [f"-{short}", f"--{name}"] if short else [f"--{name}"]


def arguments(parser: ArgumentParser) -> list[Action]:
    """List the arguments of a parser, without C{--help}."""
    # argparse has no public list of them.
    return [action for action in parser._actions if "--help" not in action.option_strings]


def value(action: Action) -> str:
    """Return the name of an argument's value; empty for a flag without a value."""
    if action.nargs == 0:
        return ""
    if isinstance(action.metavar, str):
        return action.metavar
    return "|".join(map(str, action.choices or ())) or action.dest.upper()


def term(action: Action) -> str:
    """Write an argument as in a list of options: C{-t, --timeout SECONDS}."""
    return f"{', '.join(action.option_strings)} {value(action)}".strip()


def synopsis(name: str, parser: ArgumentParser) -> str:
    """Write the command line of a subcommand, its options first."""
    written = sorted(arguments(parser), key=lambda action: not action.option_strings)
    return " ".join((PROGRAM, name, *map(form, written)))


def form(action: Action) -> str:
    """Write an argument as in a synopsis: C{[--timeout SECONDS]}."""
    written = " ".join((*action.option_strings[-1:], value(action))).rstrip()
    if action.nargs in ("*", "+") or isinstance(action, argparse._AppendAction):
        written += " ..."
    is_needed = action.required and action.nargs not in ("?", "*")
    return written if is_needed else f"[{written}]"
