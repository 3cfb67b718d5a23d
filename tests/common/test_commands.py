"""Tests for L{socketd.common.commands}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.common.commands import ALIASES, COMMANDS
from socketd.common.errors import CommandError


class TableTests(SynchronousTestCase):
    """Tests for the table."""

    def test_commands(self) -> None:
        """Names, arguments and help have one form; only the last argument may be a text."""
        for name, command in COMMANDS.items():
            self.assertEqual(command.name, name)
            usage = r"[a-z]+(-[a-z]+)?( ([A-Z]+|\[(for )?[A-Z]+\]|\[now\]))*"
            self.assertRegex(command.usage, f"^{usage}$")
            for text in (command.help, *(argument.help for argument in command.arguments)):
                self.assertRegex(text, r"^[a-z0-9].*[^.]$")
            self.assertFalse(any(one.is_text for one in command.arguments[:-1]), name)
            self.assertEqual(len({one.key for one in command.arguments}), len(command.arguments))

    def test_aliases(self) -> None:
        """An alias is another name of a command."""
        self.assertLessEqual(set(ALIASES.values()), set(COMMANDS))
        self.assertFalse(ALIASES.keys() & COMMANDS)


class SplitTests(SynchronousTestCase):
    """Tests for L{Command.split}."""

    def test_arguments(self) -> None:
        """The last argument is the rest; only that of a text keeps its spaces."""
        cases = {
            ("status", "  "): {},
            ("watch", ""): {},
            ("watch", " ack "): {"service": "ack"},
            ("reply", "1 two  words "): {"id": "1", "text": "two  words "},
            ("reply", "1 "): {"id": "1", "text": ""},
            ("answer", "1"): {"id": "1"},
            ("ban", "any"): {"source": "any"},
            ("ban", "any for  10m "): {"source": "any", "duration": "10m"},
        }
        found = {(name, text): COMMANDS[name].split(text) for name, text in cases}
        self.assertEqual(found, cases)

    def test_misused(self) -> None:
        """Too few or too many arguments, or no keyword, are answered with the usage."""
        for name, text in (
            ("status", "now"), ("show", ""), ("close", " "), ("reply", "1"), ("ban", "any 10m"),
            ("ban", "any for"), ("ban", "any for "), ("ban", "any  for 10m"),
        ):  # fmt: skip
            problem = self.assertRaises(CommandError, COMMANDS[name].split, text)
            self.assertEqual((str(problem), problem.status), (f"write {COMMANDS[name].usage}", 2))
