"""The operator's console at a real terminal, and at pipes."""

from __future__ import annotations

import os
import re
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from socketd.common.commands import COMMANDS
from tests.support.polling import DEADLINE
from tests.support.processes import Daemon, SystemCase
from tests.support.sockets import address_of, read_exactly, read_to_end

INI = """
[ack]
listen = tcp:0:interface=127.0.0.1
log_messages = text
[server]
protocol = reply
listen = tcp:0:interface=127.0.0.1
reply = I am a server
"""

PROMPT = "^input the word:"

#: Ends the input of a terminal (termios(3), VEOF).
CONTROL_D = "\x04"

#: What a peer might send to take a terminal over: clear it, name its window, set a
#: colour (C1 as one byte and as UTF-8), overwrite the line, ring, shift to other letters.
HOSTILE = b"\x1b[2J\x1b]0;mine\x07\x9b31m\xc2\x9b31m\rroot\x08\x7f\x00\x0e\x0b"
HARMLESS = r"\x1b[2J\x1b]0;mine\x07\x9b31m\x9b31m\rroot\x08\x7f\x00\x0e\x0b"

#: Connections whose lines fill a pipe several times (pipe(7): 64 KiB).
FLOOD = 500

# The console takes a line away with blanks between carriage returns, and writes one
# again behind one.
_REDRAWN = r"\r *\r|\r(?=input the word)"
_CONTROLS = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|\r(?!\n)"


def ask(daemon: Daemon, message: bytes) -> socket.socket:
    """Send a message to C{ack} and wait until the console shows it."""
    client = daemon.connect("ack")
    client.sendall(message)
    client.shutdown(socket.SHUT_WR)
    daemon.output.wait_for(f"127.0.0.1:{message.decode()}")
    return client


class TerminalTests(SystemCase):
    """Tests for the console at a terminal."""

    def test_commands(self) -> None:
        """Commands are executed while no connection waits, with the slash or without."""
        with self.daemon(INI, "--console", terminal=True) as daemon:
            daemon.output.wait_for("^console ready")
            daemon.type("help\n")
            for name in COMMANDS:
                daemon.output.wait_for(f"^{name} .*\r$")
            daemon.type("/services\n")
            daemon.output.wait_for(r"^ack +ack +0 .*\r\n +tcp 127\.0\.0\.1:\d+\r$")
            daemon.type("stauts\n")
            daemon.output.wait_for("^stauts is no command; did you mean status[?]\r$")
            daemon.type("close 868\n")
            daemon.output.wait_for("^no connection 868; see connections\r$")
            daemon.type("close\n")
            daemon.output.wait_for("^write close ID\r$")

    def test_command_while_waiting(self) -> None:
        """A line with a slash is a command, and the question comes again behind it."""
        with self.daemon(INI, "--console", terminal=True) as daemon:
            with ask(daemon, b"hello") as client:
                daemon.output.wait_for(PROMPT)
                daemon.type("/connections\n")
                daemon.output.wait_for("^ID +SERVICE +PEER +AGE +MESSAGES +IN +OUT +WAITING\r$")
                daemon.output.wait_for(rf"^1 +ack +{address_of(client)} .* 1 +5 B +16 B +yes\r$")
                daemon.output.wait_for(PROMPT)
                daemon.type("help\n")
                self.assertEqual(read_to_end(client), b"hello\nI get it!\nhelp")

    def test_queue(self) -> None:
        """Waiting connections get their words in the order of their messages."""
        with self.daemon(INI, "--console", terminal=True) as daemon:
            with ask(daemon, b"one") as older, ask(daemon, b"two") as newer:
                daemon.output.wait_for("^input the word for ack 1 ")
                daemon.type("first\n")
                self.assertEqual(read_to_end(older), b"one\nI get it!\nfirst")
                daemon.output.wait_for(PROMPT)
                daemon.type("second\n")
                self.assertEqual(read_to_end(newer), b"two\nI get it!\nsecond")

    def test_out_of_turn(self) -> None:
        """A word can be sent to any waiting connection by its id."""
        with self.daemon(INI, "--console", terminal=True) as daemon:
            with ask(daemon, b"one") as older, ask(daemon, b"two") as newer:
                daemon.output.wait_for("^input the word for ack 1 ")
                daemon.type("/reply 2 for you\n")
                self.assertEqual(read_to_end(newer), b"two\nI get it!\nfor you")
                daemon.type("/close 1\n")
                self.assertEqual(read_to_end(older), b"one\nI get it!\n")

    def test_hostile_bytes(self) -> None:
        """What a peer sends reaches the terminal escaped, never raw."""
        with self.daemon(INI, "--console", terminal=True) as daemon:
            with daemon.connect("server") as client:
                client.sendall(HOSTILE)
                self.assertEqual(read_exactly(client, 13), b"I am a server")
                daemon.output.wait_for(rf"^127\.0\.0\.1:{re.escape(HARMLESS)}\r$")
                client.sendall(b"x" * 1000)
                daemon.output.wait_for(r"^127\.0\.0\.1:x{256}\.\.\. \(1000 bytes\)\r$")
            raw = re.sub(_REDRAWN, "", daemon.output.text)
        self.assertIsNone(re.search(_CONTROLS, raw), ascii(raw))

    def test_word(self) -> None:
        """
        The operator's word goes to the peer as edited, and to the terminal; keys that are
        no text are in neither.
        """
        with self.daemon(INI, "--console", terminal=True) as daemon:
            with ask(daemon, b"hello") as client:
                daemon.output.wait_for(PROMPT)
                daemon.type("\x1b[2Jxö\x1b[D\x7f\n")
                self.assertEqual(read_to_end(client), "hello\nI get it!\nö".encode())
                daemon.output.wait_for(rf"^operator to {address_of(client)} \(ack 1\): ")

    def test_half_typed(self) -> None:
        """
        A command that is half typed when a client arrives is finished as one; then the word
        is asked for.
        """
        with self.daemon(INI, "--console", terminal=True) as daemon:
            daemon.output.wait_for("^console ready")
            daemon.type("sta")
            daemon.output.wait_for("^sta")
            with ask(daemon, b"hello") as client:
                daemon.output.wait_for(r"\rack 1 \(127\.0\.0\.1:\d+\) waits for a word\r$")
                daemon.type("tus\n")
                daemon.output.wait_for("^up .* 1 waiting\r$")
                daemon.output.wait_for(PROMPT)
                daemon.type("ok\n")
                self.assertEqual(read_to_end(client), b"hello\nI get it!\nok")

    def test_gone(self) -> None:
        """C{drain}, typed as a word whose client goes meanwhile, does not drain the daemon."""
        with self.daemon(INI, "--console", terminal=True) as daemon:
            with daemon.connect("ack") as client:
                client.sendall(b"hello")
                daemon.output.wait_for(PROMPT)
                daemon.type("dra")
                daemon.output.wait_for("dra")
                # At once, and not only when something is sent to it.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            daemon.output.wait_for("does not wait any more")
            daemon.type("in\n/status\n")
            daemon.output.wait_for("^up [^,]*, 2 services, 0 connections, 0 waiting\r$")

    def test_dumb(self) -> None:
        """No escape code is ever written, so that any terminal will do."""
        with self.daemon(INI, "--console", terminal=True) as daemon:
            with ask(daemon, b"one"), ask(daemon, b"two"):
                daemon.output.wait_for("^input the word for ack 1 ")
                daemon.type("x\x1b[Dy\x05\x15/status\n")
                daemon.output.wait_for("^up ")
            self.assertNotIn("\x1b", daemon.output.text)

    def test_end_of_input(self) -> None:
        """
        Ctrl-D ends the prompts: connections wait for the timeout, and no longer; the daemon
        keeps serving, and events are still shown.
        """
        ini = INI.replace("log_messages", "operator_timeout = 300ms\nlog_messages")
        with self.daemon(ini, "--console", terminal=True) as daemon:
            with ask(daemon, b"before") as client:
                daemon.output.wait_for(PROMPT)
                daemon.type(CONTROL_D)
                self.assertEqual(read_to_end(client), b"before\nI get it!\n")
            with ask(daemon, b"behind") as client:
                self.assertEqual(read_to_end(client), b"behind\nI get it!\n")
                daemon.output.wait_for(rf"connection from {address_of(client)} \(ack 2\) closed")
            self.assertNotIn("input the word", daemon.output.text.rpartition("behind")[2])

    def test_stop(self) -> None:
        """What happens at the end is shown until the end."""
        with self.daemon(INI, "--console", terminal=True) as daemon:
            with ask(daemon, b"hello") as client:
                daemon.output.wait_for(PROMPT)
                daemon.ask_to_stop()
                self.assertEqual(read_to_end(client), b"hello\nI get it!\n")
            daemon.output.wait_for("stopping; 1 connections to finish")
            daemon.output.wait_for(r"connection from 127\.0\.0\.1:\d+ \(ack 1\) closed")
            daemon.output.wait_for("Server Shut Down")


class PipeTests(SystemCase):
    """Tests for the console where there is no terminal."""

    def test_no_input(self) -> None:
        """With nothing to read from, the daemon serves without operator, and logs."""
        with self.daemon(INI, "--console", stdin=subprocess.DEVNULL) as daemon:
            with daemon.connect("server") as client:
                self.check_echo(client, b"?", b"I am a server")
                name = rf"{address_of(client)} \(server {self.first}\)"
                daemon.output.wait_for(f"connection from {name}$")

    def test_file(self) -> None:
        """A file can be the input: its lines are commands."""
        with tempfile.TemporaryFile() as file:
            file.write(b"status\n/status\n")
            file.seek(0)
            with self.daemon(INI, "--console", stdin=file) as daemon:
                daemon.output.wait_for(r"^up \d s, 2 services, 0 connections, 0 waiting$")
                daemon.output.wait_for(r"^up \d s, 2 services, 0 connections, 0 waiting$")
                daemon.connect("server").close()

    def test_log_file(self) -> None:
        """With --logfile the log goes there, and the console shows what happens."""
        log = self.directory / "twistd.log"
        with self.daemon(INI, "--console", twistd=["--logfile", str(log)]) as daemon:
            with daemon.connect("server") as client:
                expected = rf"connection from {address_of(client)} \(server {self.first}\)$"
                daemon.output.wait_for(f"^{expected}")
                self.check_echo(client, b"?", b"I am a server")
                self.assertRegex(log.read_text(), f"(?m)[+]0000 .*{expected}")

    def test_unread_output(self) -> None:
        """A terminal that takes nothing costs lines, and no client its answer."""
        with self._unix_daemon() as (address, screen):
            for _ in range(FLOOD):
                self.assertEqual(self._ask(address), b"I am a server")
            self.assertRegex(_read_until(screen, b"left out"), rb"\d+ lines were left out$")
            self.assertEqual(self._ask(address), b"I am a server")

    def test_broken_output(self) -> None:
        """A terminal that is gone takes the console with it, and no client's answer."""
        with self._unix_daemon() as (address, screen):
            screen.close()
            for _ in range(3):
                self.assertEqual(self._ask(address), b"I am a server")

    @contextmanager
    def _unix_daemon(self) -> Iterator[tuple[str, BinaryIO]]:
        """Start a daemon at a known address whose output is not collected."""
        path = str(self.directory / "server.sock")
        readable, writable = os.pipe()
        with open(readable, "rb", buffering=0) as screen:
            ini = f"[server]\nprotocol = reply\nreply = I am a server\nlisten = unix:{path}\n"
            daemon = self.daemon(ini, "--console", stdout=writable)
            os.close(writable)
            try:
                _read_until(screen, b"server listens on")
                yield path, screen
                daemon.ask_to_stop()
                self.assertEqual(daemon.wait(), 0)
            finally:
                daemon.kill()

    def _ask(self, address: str) -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE)
            client.connect(address)
            client.sendall(bytes(300))
            return read_exactly(client, 13)


def _read_until(screen: BinaryIO, text: bytes) -> bytes:
    """Read up to a text, and not a byte more."""
    shown = b""
    while not shown.endswith(text) and (byte := screen.read(1)):
        shown += byte
    return shown
