"""Tests of the daemon that test suites start, by what docs/howto/test-suite.md shows."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from socketd.common.errors import CommandError
from socketd.testing import StartError, socketd_server
from tests.support.pages import write_files
from tests.support.polling import DEADLINE
from tests.support.source_tree import ROOT

PAGE = ROOT / "docs" / "howto" / "test-suite.md"

ECHO = "[echo]\nlisten = tcp:0:interface=127.0.0.1\n"


class ServerTests(SynchronousTestCase):
    """L{socketd_server} serves for the time of a C{with} block."""

    def test_served(self) -> None:
        """It answers, and is gone behind the block, with its files."""
        with socketd_server(ECHO) as server:
            with socket.create_connection(server.echo.tcp, timeout=DEADLINE) as client:
                client.sendall(b"hello")
                self.assertEqual(client.recv(5), b"hello")
            self.assertIn("connection from 127.0.0.1", server.log)
            address = server["echo"].tcp
        self.assertRaises(ProcessLookupError, os.kill, server.pid, 0)
        self.assertRaises(ConnectionRefusedError, socket.create_connection, address)
        self.assertFalse(server.directory.exists())

    def test_commands(self) -> None:
        """Commands of operators are answered or refused, with all that is wrong."""
        with socketd_server(ECHO) as server:
            self.assertEqual(server.command("status")["state"], "serving")
            for line in ("stats", "reset", "reset 99"):
                self.assertRaises(CommandError, server.command, line)

    def test_missing(self) -> None:
        """A service that is not there is told with those that are."""
        with socketd_server(ECHO) as server:
            with self.assertRaises(AttributeError) as raised:
                server.ack  # noqa: B018
            self.assertEqual(str(raised.exception), "there is no service ack; there are echo")
            self.assertRaises(KeyError, lambda: server["ack"])

    def test_reload(self) -> None:
        """Another configuration is served, or refused whole with each line named."""
        with socketd_server(ECHO) as server:
            address = server.echo.tcp
            more = f"{ECHO}[two-words]\nprotocol = upper\nlisten = tcp:0:interface=127.0.0.1\n"
            self.assertEqual(server.reload(more), ["[two-words] added"])
            self.assertIn("two-words", server.two_words.name)
            with self.assertRaises(CommandError) as raised:
                server.reload(f"{ECHO}colour = red\n")
            self.assertIn("socketd.ini:3: [echo] colour", raised.exception.__notes__[0])
            self.assertEqual(server.echo.tcp, address)
            self.assertEqual(server.reload(more), [])

    def test_daemon_options(self) -> None:
        """The test may have a section [socketd] of its own."""
        with socketd_server(f"[socketd]\nlog_level = error\n{ECHO}") as server:
            self.assertNotIn("echo listens", server.log)

    def test_refused(self) -> None:
        """A daemon that cannot start is an error with all that is wrong."""
        with self.assertRaises(StartError) as raised:
            with socketd_server("[echo]\nlisten = tcp:x\ncolour = red\n"):
                self.fail("it serves")
        lines = str(raised.exception).splitlines()
        self.assertEqual([line.split(": ")[0].rsplit(":", 1)[1] for line in lines], ["2", "3"])


class PageTests(SynchronousTestCase):
    """docs/howto/test-suite.md holds, with the pytest of the environment."""

    def test_followed(self) -> None:
        """Its tests pass under pytest, the second one under unittest and trial, too."""
        directory = Path(self.mktemp())
        directory.mkdir()
        write_files(PAGE.read_text(), directory)
        for words in (["pytest", "-q"], ["unittest"], ["twisted.trial", "test_echo"]):
            done = subprocess.run(
                [sys.executable, "-m", *words], cwd=directory, capture_output=True, text=True
            )
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_failed(self) -> None:
        """pytest shows the log of the daemon of a test that failed."""
        directory = Path(self.mktemp())
        directory.mkdir()
        text = f"def test_it(socketd_server):\n    socketd_server({ECHO!r})\n    assert False\n"
        (directory / "test_it.py").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "pytest"], cwd=directory, capture_output=True, text=True
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn("echo listens on tcp 127.0.0.1:", done.stdout)
