"""The control socket of the real daemon, with plain socket clients."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from socketd.control.server import MAX_SESSIONS
from socketd.control.session import MAX_LINE
from tests.protocols.web.client import request, responses
from tests.protocols.web.frames import CLOSE, HANDSHAKE, frame
from tests.support.polling import DEADLINE
from tests.support.processes import Output, SystemCase
from tests.support.sockets import address_of, connect_is_reset, read_exactly, read_to_end

INI = """
[socketd]
control = {runtime}/sub/control.sock
[ack]
listen = tcp:0:interface=127.0.0.1
[server]
protocol = reply
listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1
reply = I am a server
udp_amplify = 100
"""

WEB = """
[web]
protocol = http
listen = tcp:0:interface=127.0.0.1
"""

#: What a peer might send to name the operator's window.
HOSTILE = b"\x1b]0;mine\x07"

#: Messages whose lines are more than the kernel and the daemon buffer for a client that does not
#: read.
FLOOD = 3000


class ControlCase(SystemCase):
    """A daemon with a control socket."""

    @property
    def path(self) -> Path:
        """Where the socket is."""
        return self.directory / "socketd" / "sub" / "control.sock"

    def session(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(sock.close)
        sock.settimeout(DEADLINE)
        sock.connect(str(self.path))
        return sock

    def ask(self, text: str) -> str:
        """Do as C{echo TEXT | socat - UNIX:PATH} does: send, shut down writing, read."""
        with self.session() as sock:
            sock.sendall(text.encode() + b"\n")
            sock.shutdown(socket.SHUT_WR)
            return read_to_end(sock).decode()


class SocketTests(ControlCase):
    """Tests for the socket itself."""

    def test_place(self) -> None:
        """
        The socket is for its owner and group, as its directory is; it is gone when the
        daemon is.
        """
        with self.daemon(INI) as daemon:
            daemon.address("server")
            self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o660)
            self.assertEqual(stat.S_IMODE(self.path.parent.stat().st_mode), 0o750)
            self.assertRegex(self.ask("status"), r"^up \d+ s, 2 services, 0 conn[^\n]*\n\n$")
        self.assertFalse(self.path.exists())

    def test_stale(self) -> None:
        """What a killed daemon left is replaced."""
        self.path.parent.mkdir(parents=True, mode=0o700)
        (self.directory / "socketd").chmod(0o700)
        self.path.parent.chmod(0o700)
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(self.path))
        with self.daemon(INI) as daemon:
            daemon.address("server")
            self.assertIn("2 services", self.ask("status"))

    def test_taken(self) -> None:
        """A daemon that still serves there is left alone; the second one does not come up."""
        with self.daemon(INI) as daemon:
            daemon.address("server")
            ended = self.run_twistd(self.write("second.ini", INI))
            expected = f"[socketd] control: cannot listen at unix {self.path}: Address already in"
            self.assertIn(expected, ended.errors)
            holder = f"(process {daemon.pid}); stop that, or write another path"
            self.assertIn(holder, ended.errors)
            self.assertEqual(ended.status, 1)
            self.assertIn("2 services", self.ask("status"))

    def test_removed(self) -> None:
        """
        A control socket and a service's whose files were removed are there again after
        SIGHUP, though the configuration is the same.
        """
        path = self.directory / "echo.sock"
        ini = INI + f"[echo]\nlisten = unix:{path}\n"
        with self.daemon(ini) as daemon:
            daemon.address("server")
            for file in (self.path, path):
                file.unlink()
            daemon.output.wait_for("echo cannot be reached at unix .*: its file is gone")
            daemon.signal(signal.SIGHUP)
            daemon.output.wait_for(r"reloaded: \[echo\] listens at .* again; \[socketd\] control ")
            self.assertIn("3 services", self.ask("status"))
            with daemon.connect("echo", "unix") as client:
                self.check_echo(client)

    def test_failed_start(self) -> None:
        """A daemon that cannot bind another listener leaves no control socket."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            ini = INI + f"[echo]\nlisten = tcp:{port}:interface=127.0.0.1\n"
            ended = self.run_twistd(self.write("bad.ini", ini))
        self.assertEqual(ended.status, 1)
        self.assertFalse(self.path.exists())

    def test_stop(self) -> None:
        """A watching client sees how the daemon stops, and is closed."""
        with self.daemon(INI) as daemon:
            daemon.address("server")
            watcher = self.session()
            self.check_echo(watcher, b"watch\n", b"watching everything\n\n")
            daemon.ask_to_stop()
            self.assertIn(b"stopping; 0 connections to finish\n", read_to_end(watcher))
            watcher.close()


class CommandTests(ControlCase):
    """Tests for what operators do there."""

    def test_audit(self) -> None:
        """The log has each command with the operator's credentials, as the kernel tells them."""
        with self.daemon(INI) as daemon, daemon.connect("ack") as client:
            self.ask(f"close {self.first}")
            self.assertEqual(read_to_end(client), b"")
            client.close()
            who = f"operator uid {os.getuid()} gid {os.getgid()} pid {os.getpid()}"
            daemon.output.wait_for(f"{who}: close {self.first}$")

    def test_operators(self) -> None:
        """Two operators see each other's answers; C{ack} asks while they attend."""
        with self.daemon(INI) as daemon:
            daemon.address("ack")
            one, two = self.session(), self.session()
            for sock in (one, two):
                sock.sendall(b"json attend\n")
                self.assertEqual(_object(sock), {"ok": True, "text": "attending"})
                self.assertEqual(_object(sock)["count"], 0)
            with daemon.connect("ack") as client:
                client.sendall(b"hello")
                client.shutdown(socket.SHUT_WR)
                for sock in (one, two):
                    self.assertEqual(_until(sock, "waiting")["oldest"][0]["id"], self.first)
                one.sendall(b"json answer %d thank you\n" % self.first)
                self.assertEqual(read_to_end(client), b"hello\nI get it!\nthank you")
                told: dict[str, Any] = {}
                # In any order: another process may have answered.
                while not {"waiting", "operator_answered"} <= told.keys():
                    found = _object(two)
                    told[found["event"]] = found
                self.assertEqual(told["waiting"]["count"], 0)
                facts = told["operator_answered"]["facts"]
                self.assertEqual(facts["text"], "thank you")
                self.assertEqual(facts["connection"], self.first)
            one.close()
            two.close()

    def test_ban(self) -> None:
        """
        A ban holds at once: for live connections, for new ones, and for datagrams of a source
        whose verdict is cached.
        """
        with self.daemon(INI) as daemon:
            client, datagrams = daemon.connect("server"), daemon.connect("server", "udp")
            with client, datagrams:
                for sock in (client, datagrams):
                    self.check_echo(sock, b"?", b"I am a server")
                self.assertIn("1 connections reset", self.ask("ban 127.0.0.1 for 1h"))
                self.assertRaises(ConnectionResetError, client.recv, 1)
                self.assertTrue(connect_is_reset(lambda: daemon.connect("server")))
                datagrams.sendall(b"?")
                self.ask("unban 127.0.0.1")
                self.check_echo(datagrams, b"!", b"I am a server")
            services = json.loads(self.ask("json services"))["rows"]
            self.assertEqual(services[1]["datagrams"], 3)
            with daemon.connect("server") as again:
                self.check_echo(again, b"?", b"I am a server")

    def test_farewell(self) -> None:
        """A connection of WebSocket that an operator closes has a close frame with 1000."""
        with self.daemon(INI + WEB) as daemon, daemon.connect("web") as client:
            client.sendall(request("/", "GET", None, **HANDSHAKE))
            self.assertIn(b" 101 ", client.recv(1000))
            number = self.first
            self.assertEqual(self.ask(f"close {number}"), f"closing {number}\n\n")
            self.assertEqual(read_to_end(client), frame(CLOSE, b"\x03\xe8", key=None))

    def test_elsewhere(self) -> None:
        """Once the daemon drains, the next answer of HTTP is the last of its connection."""
        with self.daemon(INI + WEB) as daemon, daemon.connect("web") as client:
            client.sendall(request("/status/200"))
            (response,) = responses(client.recv(1000))
            self.assertNotIn("Connection", response.headers)
            self.ask("drain")
            client.sendall(request("/status/200"))
            (response,) = responses(read_to_end(client))
            self.assertEqual((response.status, response.headers["Connection"]), (200, "close"))

    def test_drain(self) -> None:
        """
        A daemon that drains accepts no more connections, the live ones continue, and C{resume}
        undoes it.
        """
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        ini = INI.replace("tcp:0:interface=127.0.0.1, udp", f"tcp:{port}:interface=127.0.0.1, udp")
        with self.daemon(ini) as daemon, daemon.connect("server") as client:
            self.check_echo(client, b"?", b"I am a server")
            draining = "draining; 1 connections continue; resume undoes it\n\n"
            self.assertEqual(self.ask("drain"), draining)
            self.assertRaises(ConnectionRefusedError, daemon.connect, "server")
            self.check_echo(client, b"?", b"I am a server")
            self.assertIn(", draining\n", self.ask("status"))
            self.assertEqual(self.ask("resume"), "accepting connections again\n\n")
            with daemon.connect("server") as again:
                self.check_echo(again, b"?", b"I am a server")


class SubcommandTests(ControlCase):
    """Tests for C{socketd} at a real daemon."""

    def command(self, *arguments: str, text: str = "") -> tuple[int, str, str]:
        """
        Run a subcommand to its end.

        @return: its status, output and errors.
        """
        done = subprocess.run(
            [sys.executable, "-m", "socketd", *arguments],
            input=text,
            capture_output=True,
            env=self.environment(SOCKETD_CONTROL=str(self.path)),
            timeout=DEADLINE,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    def test_asking(self) -> None:
        """Tables are for people, and JSON is for programs."""
        with self.daemon(INI) as daemon, daemon.connect("server") as client:
            self.check_echo(client, b"?", b"I am a server")
            status, out, _ = self.command("connections")
            self.assertEqual(status, 0)
            row = rf"(?m)^{self.first} +server +{address_of(client)} .* 1 +1 B +13 B +no$"
            self.assertRegex(out, row)
            found = json.loads(self.command("services", "--json")[1])
            self.assertEqual([row["service"] for row in found["rows"]], ["ack", "server"])

    def test_reply(self) -> None:
        """A text may be any bytes that the system takes as an argument, and lines."""
        with self.daemon(INI) as daemon, daemon.connect("server") as client:
            done = self.command("reply", f"{self.first}", "one\ntwo", "\udcff\x1b")
            self.assertEqual(done, (0, f"sent to {self.first}\n", ""))
            self.assertEqual(read_exactly(client, 10), b"one\ntwo \xff\x1b")

    def test_reload(self) -> None:
        """A good file is taken; a bad one is status 78, and nothing changes."""
        with self.daemon(INI) as daemon:
            daemon.address("server")
            self.write("socketd.ini", INI + "[echo]\nlisten = tcp:0:interface=127.0.0.1\n")
            self.assertEqual(self.command("reload")[0], 0)
            self.assertIn("3 services", self.command("status")[1])
            self.write("socketd.ini", INI + "[ehco]\nlisten = tcp:0\n")
            status, _, errors = self.command("reload")
            self.assertEqual(status, 78)
            self.assertIn("did you mean echo?", errors)
            self.assertIn("3 services", self.command("status")[1])

    def test_console(self) -> None:
        """The console in line mode attends, answers and leaves at the end of its input."""
        with self.daemon(INI) as daemon:
            daemon.address("ack")
            status, out, errors = self.command("console", text="status\nstauts\n")
            self.assertEqual((status, errors), (0, ""))
            self.assertIn("2 services", out)
            self.assertIn("stauts is no command; did you mean status?", out)

    @contextmanager
    def console(self, term: str, *options: str) -> Iterator[tuple[Output, int]]:
        """Run the console at a terminal."""
        words = ("console", "--control", str(self.path), *options)
        with self.at_terminal(*words, TERM=term) as (shown, keyboard):
            shown.wait_for("attending; help lists the commands")
            yield shown, keyboard

    def test_console_at_a_terminal(self) -> None:
        """
        At a terminal the word is asked for, and sent when it is entered; in full screen, or
        line by line where the terminal is a dumb one or that is asked for.
        """
        with self.daemon(INI) as daemon:
            daemon.address("ack")
            for term, *options in (("xterm",), ("dumb",), ("",), ("xterm", "--lines")):
                with self.console(term, *options) as (shown, keyboard):
                    with daemon.connect("ack") as client:
                        client.sendall(HOSTILE)
                        client.shutdown(socket.SHUT_WR)
                        shown.wait_for(r"input the word for ack \d+ \(127")
                        os.write(keyboard, b"oq\x7fk\n")
                        self.assertEqual(read_to_end(client), HOSTILE + b"\nI get it!\nok")
                    shown.wait_for(r"\(ack \d+\): ok")
                    self.assertNotIn("\x1b]0;", shown.text)
                    is_full = term == "xterm" and not options
                    self.assertEqual("\x1b[1;22r" in shown.text, is_full)
                    self.assertEqual("\x1b" in shown.text, is_full)
                    os.write(keyboard, b"\x04")

    def test_width(self) -> None:
        """A list fits the terminal: what would make it too wide stands below each row."""
        with self.daemon(INI) as daemon:
            daemon.address("ack")
            with self.console("dumb") as (shown, keyboard):
                os.write(keyboard, b"services\n")
                shown.wait_for(r"SERVICE  PROTOCOL  OPEN  TOTAL  MESSAGES  DATAGRAMS   IN  OUT\r$")
                shown.wait_for(r"^server +reply( +0){4}( +0 B){2}\r$")
                shown.wait_for(r"^    tcp 127\.0\.0\.1:\d+\r$")
                shown.wait_for(r"^    udp 127\.0\.0\.1:\d+\r$")
                os.write(keyboard, b"\x04")

    def test_stopped(self) -> None:
        """
        While the console is stopped with Ctrl-Z the terminal is as the shell had it; then the
        line that was begun stands there again, and is typed on.
        """
        with self.daemon(INI) as daemon:
            daemon.address("ack")
            with self.console("dumb") as (shown, keyboard):
                os.write(keyboard, b"sta")
                shown.wait_for("> sta")
                os.kill(self.process.pid, signal.SIGTSTP)
                os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)
                self.assertTrue(termios.tcgetattr(keyboard)[3] & termios.ICANON)
                os.kill(self.process.pid, signal.SIGCONT)
                shown.wait_for("> sta")
                self.assertFalse(termios.tcgetattr(keyboard)[3] & termios.ICANON)
                os.write(keyboard, b"tus\n")
                shown.wait_for(r"up \d")
                os.write(keyboard, b"\x04")

    def test_two_operators(self) -> None:
        """A word that another operator was quicker with goes to no connection that waits next."""
        with self.daemon(INI) as daemon:
            daemon.address("ack")
            with self.console("dumb") as (shown, keyboard):
                with daemon.connect("ack") as first, daemon.connect("ack") as second:
                    first.sendall(b"one")
                    shown.wait_for(f"input the word for ack {self.first} ")
                    second.sendall(b"two")
                    shown.wait_for(": ?two\\b")
                    os.write(keyboard, b"min")
                    shown.wait_for("[)]:min")
                    self.assertEqual(self.command("answer", f"{self.first}", "theirs")[0], 0)
                    shown.wait_for(rf"ack {self.first} .* does not wait any more")
                    os.write(keyboard, b"e\n")
                    shown.wait_for(f"input the word for ack {self.second} ")
                    os.write(keyboard, b"yours\n")
                    self.assertEqual(read_exactly(first, 20), b"one\nI get it!\ntheirs")
                    self.assertEqual(read_exactly(second, 19), b"two\nI get it!\nyours")
                os.write(keyboard, b"\x04")

    def test_no_daemon(self) -> None:
        """Where there is no daemon any more, that is one line."""
        with self.daemon(INI) as daemon:
            daemon.address("server")
        status, out, errors = self.command("status")
        self.assertEqual((status, out, errors.count("\n")), (1, "", 1))
        self.assertIn(f"{self.path}: no daemon there", errors)
        status, out, told = self.command("console")
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(told, errors.replace("socketd status", "socketd console"))


class HostileClientTests(ControlCase):
    """Tests for clients that behave badly."""

    def test_ninth(self) -> None:
        """One session too many gets a line; the others continue."""
        with self.daemon(INI) as daemon:
            daemon.address("server")
            sessions = [self.session() for _ in range(MAX_SESSIONS)]
            for sock in sessions:
                sock.sendall(b"status\n")
                self.assertIn(b"2 services", sock.recv(1000))
            with self.session() as ninth:
                expected = f"error: there are {MAX_SESSIONS} sessions already\n\n"
                self.assertEqual(read_to_end(ninth), expected.encode())
            for sock in sessions:
                sock.close()
            daemon.output.wait_for("was refused at the control socket")

    def test_garbage(self) -> None:
        """Garbage is answered, line by line, and does no harm."""
        with self.daemon(INI) as daemon:
            daemon.address("server")
            with self.session() as sock:
                sock.sendall(b"x" * (3 * MAX_LINE) + b"\n\0\xff\njson {}\n" + os.urandom(5000))
                sock.shutdown(socket.SHUT_WR)
                answer = read_to_end(sock)
            self.assertIn(f"a line is at most {MAX_LINE} bytes".encode(), answer)
            self.assertIn(rb"\x00\xff is no command", answer)
            self.assertIn(b'{"ok": false, "status": 2', answer)
            self.assertIn("2 services", self.ask("status"))

    def test_slow(self) -> None:
        """
        A watcher that does not read costs lines, and no peer its answer; when it reads,
        it is told how many.
        """
        with self.daemon(INI) as daemon:
            with daemon.connect("server") as client, self.session() as slow:
                self.check_echo(slow, b"watch server\n", b"watching server\n\n")
                for _ in range(FLOOD):
                    self.check_echo(client, b"x" * 256, b"I am a server")
                shown, left_out = b"", 0
                while shown.count(b"x" * 256) + left_out < FLOOD:
                    shown += slow.recv(65536)
                    # Some may be left out on the way from a worker.
                    told = re.findall(rb"^(?:\S+ )?(\d+) events .*were left", shown, re.M)
                    left_out = sum(map(int, told))
                self.assertEqual(shown.count(b"x" * 256) + left_out, FLOOD)
                self.assertGreater(left_out, 0)


def _object(sock: socket.socket) -> dict[str, Any]:
    line = b""
    while not line.endswith(b"\n"):
        byte = sock.recv(1)
        assert byte, line
        line += byte
    found: dict[str, Any] = json.loads(line)
    return found


def _until(sock: socket.socket, event: str) -> dict[str, Any]:
    while (found := _object(sock)).get("event") != event:
        pass
    return found
