"""Tests of the completions of shells."""

from __future__ import annotations

import re
import shlex
import subprocess
from argparse import ArgumentParser
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.main import PROGRAM
from tests.support.source_tree import ROOT
from tools.manual.program import arguments, command_line

COMPLETION = ROOT / "docs" / "completion"
BASH = COMPLETION / "socketd"
SUBCOMMANDS = command_line()[1]

#: Completes the last of its arguments as bash would, and prints each word in a line.
ASK = """
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
"$(complete -p socketd | sed 's/.* -F //; s/ .*//')"
((${#COMPREPLY[@]})) && printf '%s\\n' "${COMPREPLY[@]}"
exit 0
"""


def complete(*words: str, directory: Path = ROOT) -> list[str]:
    """Have bash complete the last word of a command line; C{directory}: where it is typed."""
    command = ["bash", "--norc", "-c", ASK, "bash", str(BASH), PROGRAM, *words]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.splitlines()


def flags(parser: ArgumentParser) -> list[str]:
    """List the options of a subcommand."""
    return [flag for action in arguments(parser) for flag in action.option_strings]


class BashTests(SynchronousTestCase):
    """The completion for bash, in a bash."""

    def test_syntax(self) -> None:
        """Bash can read it."""
        done = subprocess.run(["bash", "-n", str(BASH)], capture_output=True, timeout=30)
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_subcommands(self) -> None:
        """The first word is a subcommand, --help or --version."""
        self.assertEqual(complete(""), list(SUBCOMMANDS))
        self.assertEqual(complete("opt"), ["options"])
        self.assertEqual(complete("-"), ["--version", "-h", "--help"])
        self.assertEqual(complete("--v"), ["--version"])

    def test_options(self) -> None:
        """Each subcommand has its options, and no others."""
        for name, parser in SUBCOMMANDS.items():
            self.assertEqual(complete(name, "-"), [*flags(parser), "-h", "--help"])

    def test_values(self) -> None:
        """
        An option with few values has these, behind a space or an equals sign; one with
        any value has nothing to offer.
        """
        self.assertEqual(complete("time", "--epoch", ""), ["auto", "unix", "1900"])
        self.assertEqual(complete("time", "--epoch", "=", "u"), ["unix"])
        self.assertEqual(complete("time", "--epoch", "="), ["auto", "unix", "1900"])
        self.assertEqual(complete("time", "--timeout", ""), [])

    def test_files(self) -> None:
        """
        Names of files are offered where a file is wanted, and of directories where one
        of these is; spaces do not cut them.
        """
        directory = Path(self.mktemp())
        (directory / "folder").mkdir(parents=True)
        (directory / "my file.ini").touch()
        both = ["folder", "my file.ini"]
        for line in ("check", "run", "run --config", "run -c", "send x:1 --ca"):
            words = line.split()
            self.assertEqual(sorted(complete(*words, "", directory=directory)), both)
        found = complete("certificate", "--directory", "", directory=directory)
        self.assertEqual(found, ["folder"])

    def test_nothing(self) -> None:
        """An address has nothing to offer."""
        self.assertEqual(complete("send", ""), [])


class OtherTests(SynchronousTestCase):
    """The completions for shells that need not be here."""

    def test_zsh(self) -> None:
        """For zsh every subcommand is described and has its options; all quotes end."""
        text = (COMPLETION / "_socketd").read_text()
        self.assertEqual(text.splitlines()[0], f"#compdef {PROGRAM}")
        words = shlex.split(text, comments=True)
        for name, parser in SUBCOMMANDS.items():
            self.assertIn(f"{name}:{parser.description}", words)
            case = text.partition(f"_{name.replace('-', '_')}_options=(")[2].partition("\n)\n")[0]
            for flag in flags(parser):
                self.assertRegex(case, rf'(?m)^  ["{{*].*{flag}[+=]?["}},[]')

    def test_fish(self) -> None:
        """For fish every subcommand is offered, and each of its options has a line."""
        text = (COMPLETION / "socketd.fish").read_text()
        for name, parser in SUBCOMMANDS.items():
            self.assertIn(f" -a {name} -d {shlex.quote(parser.description or '')}\n", text)
            own = re.findall(rf"complete -c {PROGRAM} -n '_shtab_socketd_using {name}' .*", text)
            for flag in flags(parser):
                dash = "-l" if flag.startswith("--") else "-s"
                self.assertTrue([line for line in own if f" {dash} {flag.lstrip('-')} " in line])
