"""Reads the command lines of C{socketd} and of the daemon from their parsers."""

from __future__ import annotations

import argparse
from typing import Any

from attrs import frozen

from socketd.cli import main
from socketd.cli.main import PROGRAM, Parser
from socketd.tap import Options

#: Value names (metavars) of arguments that are file names.
_FILES = ("FILE", "PATH", "CONFIG")

#: Value names of arguments that are directory names.
_DIRECTORIES = ("DIR", "DIRECTORY")


@frozen
class Argument:
    """
    One command line argument.

    @ivar flags: its option strings; empty if it is positional.
    @ivar value: the name of its value; empty for a flag without a value.
    @ivar help: its help text.
    @ivar choices: its valid values, if they are enumerated.
    @ivar names: C{file} or C{directory} if its value names one, else empty.
    @ivar needed: whether it is required.
    @ivar repeated: whether it may be repeated.
    """

    flags: tuple[str, ...]
    value: str
    help: str
    choices: tuple[str, ...] = ()
    names: str = ""
    needed: bool = False
    repeated: bool = False

    @property
    def term(self) -> str:
        """Its term in a list of options: C{-t, --timeout SECONDS}."""
        return " ".join(filter(None, (", ".join(self.flags), self.value)))

    @property
    def form(self) -> str:
        """Its form in a synopsis."""
        written = f"{self.flags[-1]} {self.value}".strip() if self.flags else self.value
        written += " ..." * self.repeated
        return written if self.needed else f"[{written}]"


#: The argument that every subcommand has.
HELP = Argument(("-h", "--help"), "", "show the help")


@frozen
class Subcommand:
    """
    One subcommand.

    @ivar help: its help text.
    @ivar arguments: in the order of their declaration, without L{HELP}.
    """

    name: str
    help: str
    arguments: tuple[Argument, ...]

    @property
    def options(self) -> list[Argument]:
        """The arguments with flags."""
        return [found for found in self.arguments if found.flags]

    @property
    def positional(self) -> list[Argument]:
        """The positional arguments."""
        return [found for found in self.arguments if not found.flags]

    @property
    def synopsis(self) -> str:
        """The synopsis of the command line."""
        forms = [found.form for found in (*self.options, *self.positional)]
        return " ".join((PROGRAM, self.name, *forms))


def subcommands() -> list[Subcommand]:
    """Read all subcommands from their parsers."""
    return [_subcommand(name) for name in main.MODULES]


def daemon_options() -> tuple[Argument, ...]:
    """List the options of C{twistd socketd}."""
    parameters: Any = Options.optParameters
    flags: Any = Options.optFlags
    found = [
        Argument(_flags(name, short), name.upper(), text, names=_names(name.upper()))
        for name, short, _, text in parameters
    ]
    found += [Argument(_flags(name, short), "", text) for name, short, text in flags]
    return tuple(found)


def _flags(name: str, short: str | None) -> tuple[str, ...]:
    return (f"-{short}", f"--{name}") if short else (f"--{name}",)


def _subcommand(name: str) -> Subcommand:
    module = main._import(name)
    parser = Parser(prog=f"{PROGRAM} {name}", description=module.HELP, allow_abbrev=False)
    module.add_arguments(parser)
    # argparse has no public way to list the declared arguments.
    actions = parser._actions
    if any(action.nargs == argparse.REMAINDER for action in actions):
        return Subcommand(name, module.HELP, daemon_options())
    return Subcommand(name, module.HELP, tuple(
        _argument(parser, one) for one in actions if one.option_strings[-1:] != ["--help"]
    ))


def _argument(parser: argparse.ArgumentParser, action: argparse.Action) -> Argument:
    choices = tuple(map(str, action.choices or ()))
    value = "" if action.nargs == 0 else _value_of(action, choices)
    return Argument(
        flags=tuple(action.option_strings),
        value=value,
        help=(action.help or "") % {**vars(action), "prog": parser.prog},
        choices=choices,
        names=_names(value),
        needed=action.required and action.nargs not in ("?", "*"),
        repeated=action.nargs in ("*", "+") or isinstance(action, argparse._AppendAction),
    )


def _value_of(action: argparse.Action, choices: tuple[str, ...]) -> str:
    if isinstance(action.metavar, str):
        return action.metavar
    return "|".join(choices) or action.dest.upper()


def _names(value: str) -> str:
    """Return what an argument's value names: C{directory}, C{file}, or an empty string."""
    if value in _DIRECTORIES:
        return "directory"
    return "file" if value in _FILES else ""
