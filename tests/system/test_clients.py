"""The client subcommands in a network that a test makes, and at a terminal; and C{run}."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.namespaces import Namespace
from tests.support.polling import DEADLINE
from tests.support.processes import Output, SystemCase

#: A link-local address that the test gives to the interface C{lo}.
ADDRESS = "fe80::7"


class LinkLocalTests(SystemCase):
    """Tests for addresses that hold on one interface only."""

    def test_refused(self) -> None:
        """
        The interface that is named with such an address is used, by datagram as by stream:
        the machine itself refuses, where an address without interface could not be sent to.
        """
        network = Namespace()
        self.addCleanup(network.close)
        network.run("ip", "address", "add", f"{ADDRESS}/64", "dev", "lo", "nodad")
        for command in (["ping", "-c", "1"], ["time"], ["send"]):
            for scheme in ("udp", "tcp"):
                name, *options = command
                address = f"{scheme}:[{ADDRESS}%lo]:7"
                found = subprocess.run(
                    [*network.command, sys.executable, "-m", "socketd", name, address, *options],
                    stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE,
                )  # fmt: skip
                self.assertEqual(found.returncode, 1)
                self.assertIn(f"{address}: connection refused", found.stderr)


INI = """
[upper]
listen = tcp:0:interface=127.0.0.1
[greeter]
protocol = reply
listen = tcp:0:interface=127.0.0.1
reply = no line end
"""


class TerminalTests(SystemCase):
    """Tests for the clients at a terminal."""

    @contextmanager
    def at_terminal(self, *words: str, status: int = 0) -> Iterator[tuple[Output, int]]:
        """
        Run a client at a terminal; it has to end by itself, and to leave that as it was.

        @return: what it shows, and the descriptor to type at.
        """
        keyboard, screen = pty.openpty()
        before = termios.tcgetattr(keyboard)
        client = subprocess.Popen(
            [sys.executable, "-m", "socketd", *words],
            stdin=screen, stdout=screen, stderr=screen,
            env=self.environment(TERM="dumb", PYTHONUTF8="1"),
        )  # fmt: skip
        os.close(screen)
        try:
            shown = Output(os.dup(keyboard))
            yield shown, keyboard
            self.assertEqual(client.wait(DEADLINE), status)
            self.assertEqual(termios.tcgetattr(keyboard), before)
        finally:
            client.kill()
            client.wait()
            os.close(keyboard)

    def test_send(self) -> None:
        """
        An answer without a last line end has one at a terminal, so that the prompt of the
        shell is a line of its own; in a pipe it has none.
        """
        with self.daemon(INI) as daemon:
            host, port = daemon.address("greeter")
            with self.at_terminal("send", f"{host}:{port}", "x") as (shown, _):
                shown.wait_for("^no line end\r$")
            found = subprocess.run(
                [sys.executable, "-m", "socketd", "send", f"{host}:{port}", "x"],
                capture_output=True, timeout=DEADLINE, check=True,
            )  # fmt: skip
            self.assertEqual(found.stdout, b"no line end")

    def test_chat(self) -> None:
        """The lines of a chat are edited, and earlier ones come back."""
        with self.daemon(INI) as daemon:
            host, port = daemon.address("upper")
            with self.at_terminal("chat", f"{host}:{port}") as (shown, keyboard):
                shown.wait_for("^>>: ")
                os.write(keyboard, b"helo\x1b[Dl\r")
                shown.wait_for("^HELLO\r$")
                shown.wait_for("^>>: ")
                os.write(keyboard, b"\x1b[A!\r")
                shown.wait_for("^HELLO!\r$")
                shown.wait_for("^>>: ")
                os.write(keyboard, b"\x04")


class RunTests(SystemCase):
    """Tests for C{socketd run}."""

    def run_daemon(self, *words: str) -> tuple[int, str]:
        """
        Run one that cannot start.

        @return: its status, and what it said.
        """
        found = subprocess.run(
            [sys.executable, "-m", "socketd", "run", *words],
            capture_output=True, text=True, timeout=DEADLINE, env=self.environment(),
        )  # fmt: skip
        return found.returncode, found.stdout + found.stderr

    def test_file(self) -> None:
        """The file can stand alone behind the command."""
        file = self.write("bad.ini", "[ehco]\nlisten = tcp:0\n")
        for words in ([str(file)], ["--config", str(file)]):
            status, said = self.run_daemon(*words)
            self.assertEqual(status, 78)
            self.assertIn("did you mean echo?", said)

    def test_wrong(self) -> None:
        """What it does not take is one line, and no success."""
        for words, why in (
            (["--bad"], "option --bad not recognized"),
            (["a.ini", "b.ini"], "Wrong number of arguments"),
            (["--config"], "option --config requires argument"),
        ):
            status, said = self.run_daemon(*words)
            self.assertEqual((status, said.count("\n")), (2, 1), said)
            self.assertIn(why, said)
