"""
Tests of what README.md and docs/ say against the code.
"""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.main import SUBCOMMANDS
from socketd.control.commands import COMMANDS
from socketd.protocols.registry import installed
from socketd.reference import markdown
from socketd.settings.complaints import SettingsError
from socketd.settings.load import parse

TOP = Path(__file__).parent.parent
README = (TOP / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """
    Give the fenced blocks of README.md that are marked with a language.
    """
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


class ReadmeTests(SynchronousTestCase):
    """
    README.md holds.
    """

    def test_configurations(self) -> None:
        """
        Every configuration in it can be used.
        """
        found = blocks("ini")
        names = [
            [service.name for service in parse(text, "README.md", installed(), "/run").services]
            for text in found
        ]
        self.assertEqual(names, [["echo", "greeter"], ["echo"], ["echo"], ["echo"]])

    def test_complaints(self) -> None:
        """
        The complaints that it shows are the ones that there are.
        """
        text = "[echo]\nlisten = tcp:70000\nso_keepaliv = yes\n[ehco]\nlisten = tcp:7\n"
        problem = self.assertRaises(SettingsError, parse, text, "broken.ini", installed(), "/run")
        self.assertIn(f"$ socketd check broken.ini\n{problem}\n", README)

    def test_protocols(self) -> None:
        """
        Its table of protocols has every one, and no other.
        """
        table = README.partition("## What it serves")[2].partition("\n\n")[0]
        named = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
        self.assertEqual(sorted(named), sorted(installed()))

    def test_commands(self) -> None:
        """
        It names every subcommand, and every command of the console but help itself.
        """
        for name in SUBCOMMANDS:
            self.assertIn(f"`socketd {name}", README)
        console = README.partition("At the console")[2].partition("\n\n")[0].replace("\n", " ")
        for name, command in COMMANDS.items():
            self.assertIn(f"`{' '.join((name, *command.arguments))}`", console)


class OptionsPageTests(SynchronousTestCase):
    """
    docs/options.md holds.
    """

    def test_written_from_the_code(self) -> None:
        """
        It is what C{python -m socketd.reference} writes.
        """
        self.assertEqual((TOP / "docs" / "options.md").read_text(), markdown())
