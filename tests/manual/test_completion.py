"""Tests of the completions of shells."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.main import PROGRAM
from tests.support.source_tree import ROOT
from tools.manual.program import subcommands

COMPLETION = ROOT / "docs" / "completion"
BASH = COMPLETION / "socketd"

#: Completes the last of its arguments as bash would, and prints each word in a line.
ASK = """
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_socketd
((${#COMPREPLY[@]})) && printf '%s\\n' "${COMPREPLY[@]}"
exit 0
"""


def complete(*words: str, directory: Path = ROOT) -> list[str]:
    """
    Have bash complete the last word of a command line.

    @param directory: where it is typed.
    """
    command = ["bash", "--norc", "-c", ASK, "bash", str(BASH), PROGRAM, *words]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.splitlines()


class BashTests(SynchronousTestCase):
    """The completion for bash, in a bash."""

    def test_syntax(self) -> None:
        """Bash can read it."""
        done = subprocess.run(["bash", "-n", str(BASH)], capture_output=True, timeout=30)
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_subcommands(self) -> None:
        """The first word is a subcommand, --help or --version."""
        names = [found.name for found in subcommands()]
        self.assertEqual(complete(""), [*names, "--help", "--version"])
        self.assertEqual(complete("opt"), ["options"])
        self.assertEqual(complete("--v"), ["--version"])

    def test_options(self) -> None:
        """Each subcommand has its options, and no others."""
        for found in subcommands():
            flags = [flag for option in found.options for flag in option.flags]
            self.assertEqual(complete(found.name, "-"), [*flags, "-h", "--help"])

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
        for words in (["check"], ["run", "--config"], ["send", "x:1", "--ca"], ["run", "-c"]):
            self.assertEqual(sorted(complete(*words, "", directory=directory)), both)
        found = complete("certificate", "--directory", "", directory=directory)
        self.assertEqual(found, ["folder"])

    def test_nothing(self) -> None:
        """An address, or what follows no subcommand, has nothing to offer."""
        self.assertEqual(complete("send", ""), [])
        self.assertEqual(complete("nothing", "-"), [])


class OtherTests(SynchronousTestCase):
    """The completions for shells that need not be here."""

    def test_zsh(self) -> None:
        """For zsh every subcommand is described and has its arguments; all quotes end."""
        text = (COMPLETION / "_socketd").read_text()
        self.assertEqual(text.splitlines()[0], f"#compdef {PROGRAM}")
        words = shlex.split(text.partition("_socketd() {")[2], comments=True)
        cases = text.partition("case $words[1] in")[2]
        for found in subcommands():
            self.assertTrue(any(word.startswith(f"{found.name}:") for word in words))
            case = re.findall(rf"(?ms)^        {found.name}\)$.*?;;", cases)
            specs = shlex.split(case[0].removesuffix(";;"))
            for option in found.options:
                for flag in option.flags:
                    spec = re.compile(rf"(\*|\([^)]*\)){re.escape(flag)}[=+]?\[.*")
                    self.assertEqual(len(list(filter(spec.fullmatch, specs))), 1, flag)

    def test_fish(self) -> None:
        """For fish every subcommand is offered, and each of its options has a line."""
        lines = (COMPLETION / "socketd.fish").read_text().splitlines()
        quoted = re.compile(r"(?:[^'\\]|'(?:[^'\\]|\\['\\])*')*")
        for line in lines[1:]:
            self.assertTrue(line.startswith(f"complete -c {PROGRAM} "), line)
            self.assertRegex(line, rf"^{quoted.pattern}$")
        for found in subcommands():
            front = f"complete -c {PROGRAM} -n '__fish_seen_subcommand_from {found.name}'"
            own = [line.removeprefix(front) for line in lines if line.startswith(front)]
            self.assertEqual(len(own), len(found.arguments) + 1)
            for option in found.options:
                name = option.flags[-1].lstrip("-")
                self.assertTrue([line for line in own if f" -l {name} " in line], name)
