"""The client subcommands in a network that a test makes, and at a terminal; and C{run}."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.namespaces import Namespace
from tests.support.polling import DEADLINE
from tests.support.processes import Ended, SystemCase

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

    environ = {"TERM": "dumb", "PYTHONUTF8": "1"}

    def test_send(self) -> None:
        """
        An answer without a last line end has one at a terminal, so that the prompt of the
        shell is a line of its own; in a pipe it has none.
        """
        with self.daemon(INI) as daemon:
            host, port = daemon.address("greeter")
            words = ("send", f"{host}:{port}", "x")
            with self.at_terminal(*words, **self.environ) as (shown, _):
                shown.wait_for("^no line end\r$")
            self.assertEqual(self.run_socketd(*words), Ended(0, "no line end", ""))

    def test_chat(self) -> None:
        """The lines of a chat are edited, and earlier ones come back."""
        with self.daemon(INI) as daemon:
            host, port = daemon.address("upper")
            chat = self.at_terminal("chat", f"{host}:{port}", **self.environ)
            with chat as (shown, keyboard):
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
        """Run one that cannot start, and return its status, and what it said."""
        ended = self.run_socketd("run", *words)
        return ended.status, ended.output + ended.errors

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
            (["a.ini", "b.ini"], "b.ini is one argument too many"),
            (["--config"], "option --config requires argument"),
        ):
            status, said = self.run_daemon(*words)
            self.assertEqual((status, said.count("\n")), (2, 1), said)
            self.assertIn(why, said)
