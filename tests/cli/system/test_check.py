"""Tests for L{socketd.cli.system.check}."""

from __future__ import annotations

import json
import resource
from argparse import ArgumentParser
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.system import check
from socketd.common.errors import BAD_CONFIGURATION
from socketd.net.sockets.rlimit import RESERVED


class CheckTests(SynchronousTestCase):
    """Tests for the subcommand."""

    def setUp(self) -> None:
        self.file = Path(self.mktemp())

    def check(self, text: str, *arguments: str) -> tuple[int, str, str]:
        """
        Check a file.

        @return: the exit status, standard output and standard error without the file's path.
        """
        self.file.write_text(text)
        parser = ArgumentParser()
        check.add_arguments(parser)
        parsed = parser.parse_args([str(self.file), *arguments])
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as errors:
            status = check.run(parsed)
        shown, said = (text.getvalue().replace(str(self.file), "FILE") for text in (out, errors))
        return status, shown, said

    def test_good(self) -> None:
        """A good file is shown as a table."""
        table = "SERVICE  PROTOCOL  LISTENERS\necho     echo      tcp *:7007\n"
        expected = (0, f"{table}FILE: configuration OK\n", "")
        self.assertEqual(self.check("[echo]\nlisten = tcp:7007\n"), expected)

    def test_conflict(self) -> None:
        """What could not be bound beside each other is found without binding it."""
        text = "[socketd]\nhttp = tcp:7\n[echo]\nlisten = tcp:7\n"
        message = "is taken already, by tcp *:7 of [echo]; tcp *:7 is every address"
        expected = f"FILE:2: [socketd] http = tcp 127.0.0.1:7: {message}\n"
        self.assertEqual(self.check(text), (BAD_CONFIGURATION, "", expected))
        status, out, _ = self.check(text, "--json")
        self.assertEqual((status, json.loads(out)["complaints"][0]["message"]), (78, message))

    def test_descriptors(self) -> None:
        """So are more connections than the start would have descriptors for."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        hard = RESERVED + 500
        self.patch(resource, "getrlimit", lambda kind: (min(before[0], hard), hard))
        status, _, errors = self.check("[echo]\nlisten = tcp:7\nmax_connections = 500\n")
        self.assertEqual(status, BAD_CONFIGURATION)
        self.assertIn("FILE:3: [echo] max_connections = 500: needs more descriptors", errors)
        self.assertIn("write up to 499,", errors)

    def test_warnings(self) -> None:
        """What only the start can know is said, and is no reason to refuse the file."""
        here = self.mktemp()
        text = f"[echo]\nlisten = systemd:web, unix:/nowhere/a, unix:{{runtime}}/b, unix:{here}\n"
        status, out, errors = self.check(text)
        self.assertEqual((status, out.splitlines()[-1]), (0, "FILE: configuration OK"))
        expected = (
            "warning: FILE:2: [echo] listen = systemd web: needs a socket unit with"
            " FileDescriptorName=web, or cannot start\n"
            "warning: FILE:2: [echo] listen = unix /nowhere/a: needs the directory /nowhere,"
            " which is not there\n"
        )
        self.assertEqual(errors, expected)
        own = "[socketd]\nhttp = unix:/nowhere/h\ncontrol = /nowhere/c\n"
        own += "[echo]\nlisten = tcp:7007\n"
        needs = "needs the directory /nowhere, which is not there"
        expected = f"warning: FILE:2: [socketd] http = unix /nowhere/h: {needs}\n"
        self.assertEqual(self.check(own)[2], expected)
        status, out, _ = self.check(text, "--json")
        found = json.loads(out)
        self.assertTrue(found["ok"])
        values = [warning["value"] for warning in found["warnings"]]
        self.assertEqual(values, ["systemd web", "unix /nowhere/a"])
