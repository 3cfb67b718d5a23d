"""Tests of C{socketd serve}: a daemon without a file."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from typing import Any

from tests.support.needs import need_right
from tests.support.processes import Daemon, SystemCase
from tests.support.sockets import is_silent, read_exactly, read_to_end

COMMAND = (sys.executable, "-m", "socketd", "serve")

#: Sends standard error where standard output goes: L{Daemon.stop} reads the log there.
JOINED = ("sh", "-c", 'exec "$@" 2>&1', "sh")


class ServeCase(SystemCase):
    """Starts C{socketd serve}."""

    def serve(self, *words: str, before: tuple[str, ...] = JOINED, **how: Any) -> Daemon:
        given: dict[str, Any] = {"env": self.environment(), "cwd": self.directory}
        daemon = Daemon([*before, *COMMAND, *words], **(given | how))
        self.addCleanup(daemon.kill)
        return daemon

    def listening(self, daemon: Daemon, kind: str = "tcp") -> tuple[str, int]:
        """Wait for an address that it prints."""
        found = daemon.output.find(rf"^listening on {kind} \[?([\w.:]+?)\]?:(\d+)$")
        return found[1], int(found[2])


class ServeTests(ServeCase):
    """Tests for what is served."""

    def test_all(self) -> None:
        """Every kind of listener is served, at the address that is printed."""
        words = ("echo", "tcp:0", "udp:0", "unix:echo.sock")
        with self.serve(*words) as daemon:
            daemon.output.find("^listening on unix echo.sock$")
            with socket.create_connection(self.listening(daemon)) as client:
                self.check_echo(client)
            with socket.socket(type=socket.SOCK_DGRAM) as asking:
                asking.connect(self.listening(daemon, "udp"))
                self.check_echo(asking)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(self.directory / "echo.sock"))
                self.check_echo(client)
        self.assertFalse((self.directory / "echo.sock").exists())

    def test_options(self) -> None:
        """Options are those of the service; the log has what arrives."""
        words = ("reply", "tcp:0", r"reply=hello\n", "close=yes", "log_messages=text")
        with self.serve(*words) as daemon:
            with socket.create_connection(self.listening(daemon)) as client:
                client.sendall(b"anyone there")
                self.assertEqual(read_to_end(client), b"hello\n")
            daemon.output.find("127.0.0.1:anyone there$")

    def test_faults(self) -> None:
        """A datagram is lost if a fault profile says so."""
        with self.serve("echo", "udp:0", "fault.loss=100%") as daemon:
            with socket.socket(type=socket.SOCK_DGRAM) as asking:
                asking.connect(self.listening(daemon, "udp"))
                asking.send(b"?")
                self.assertTrue(is_silent(asking, 0.3))

    def test_console(self) -> None:
        """With --console its terminal is the operator's."""
        daemon = self.serve("ack", "tcp:0", "--console", before=(), terminal=True)
        with daemon, socket.create_connection(daemon.address("ack")) as client:
            client.sendall(b"hello")
            daemon.output.wait_for("input the word:")
            daemon.type("ok\n")
            expected = b"hello\nI get it!\nok"
            self.assertEqual(read_exactly(client, len(expected)), expected)

    def test_open(self) -> None:
        """A line says so where other machines can reach it."""
        with self.serve("echo", "tcp:0", "udp:0:interface=0.0.0.0") as daemon:
            daemon.output.find(r"#warn\] other machines can reach udp 0\.0\.0\.0:\d+$")

    def test_nowhere_to_write(self) -> None:
        """It needs no home, and no directory that it can write to."""
        environ = {"PATH": os.environ["PATH"], "HOME": "/nowhere"}
        with self.serve("echo", "tcp:0", env=environ, cwd="/proc") as daemon:
            with socket.create_connection(self.listening(daemon)) as client:
                self.check_echo(client)


class JsonTests(ServeCase):
    """Tests for C{--json}, as a script uses it."""

    def test_addresses(self) -> None:
        """One line, and no other, has all addresses, which are served by then."""
        words = ("echo", "tcp:0", "tcp6:0", "unix:e.sock", "http=tcp:0", "--json")
        daemon = self.serve(*words, before=())
        found = json.loads(daemon.output.wait_for(r"^\{.*\}$")[0])
        tcp, tcp6, unix = found["listeners"]
        with socket.create_connection((tcp["host"], tcp["port"])) as client:
            self.check_echo(client)
        for one in (tcp, tcp6, found["http"]):
            self.assertGreater(one.pop("port"), 0)
        self.assertEqual(found, {
            "protocol": "echo",
            "listeners": [tcp, tcp6, unix],
            "http": {"kind": "tcp", "host": "127.0.0.1"},
        })
        self.assertEqual(tcp, {"kind": "tcp", "host": "127.0.0.1"})
        self.assertEqual(tcp6, {"kind": "tcp6", "host": "::1"})
        self.assertEqual(unix, {"kind": "unix", "path": "e.sock"})
        daemon.ask_to_stop(signal.SIGINT)
        self.assertEqual(daemon.wait(), 0)
        self.assertEqual(daemon.output.text.count("\n"), 1)

    def test_reader_gone(self) -> None:
        """A reader that is gone before it is printed ends nothing."""
        reading, writing = os.pipe()
        os.close(reading)
        daemon = self.serve("echo", "unix:e.sock", "--json", before=(), stdout=writing)
        daemon.errors.find("echo listens on unix e.sock")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.directory / "e.sock"))
            self.check_echo(client)
        daemon.ask_to_stop()
        self.assertEqual(daemon.wait(), 0)


class EndTests(ServeCase):
    """Tests for the ways to end."""

    def test_interrupt(self) -> None:
        """Ctrl-C answers what has come, and ends in status 0."""
        with self.serve("echo", "tcp:0") as daemon:
            with socket.create_connection(self.listening(daemon)) as client:
                self.check_echo(client)
                client.sendall(b"last words")
                daemon.ask_to_stop(signal.SIGINT)
                self.assertEqual(read_to_end(client), b"last words")

    def test_drain(self) -> None:
        """So does SIGTERM, which waits as long as drain_timeout says."""
        with self.serve("echo", "tcp:0", "drain_timeout=100ms") as daemon:
            with socket.create_connection(self.listening(daemon)) as client:
                self.check_echo(client)
                daemon.ask_to_stop()
                daemon.output.wait_for("1 connections did not finish and are reset")

    def test_hangup(self) -> None:
        """SIGHUP reads certificates and the like again, and changes nothing else."""
        with self.serve("echo", "tcp:0") as daemon:
            address = self.listening(daemon)
            daemon.signal(signal.SIGHUP)
            daemon.output.wait_for("reloaded: nothing changed")
            with socket.create_connection(address) as client:
                self.check_echo(client)

    def test_first_process(self) -> None:
        """As the first process of a container it stops at SIGTERM as elsewhere."""
        user = ("--user", "--map-root-user") if os.geteuid() else ()
        before = ("unshare", "--pid", "--fork", "--kill-child", *user)
        need_right("a process namespace", *before, "true")
        daemon = self.serve("echo", "unix:e.sock", before=before)
        daemon.errors.find("echo listens on unix e.sock")
        child = int(open(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read())
        os.kill(child, signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0)
        self.assertIn("stopping; 0 connections", daemon.errors.text)

    def test_in_use(self) -> None:
        """Each address in use is named, with its user; the status is 1."""
        with socket.create_server(("127.0.0.1", 0)) as held:
            port = held.getsockname()[1]
            ended = self.run_socketd("serve", "echo", f"tcp:{port}", "udp:0", "--json")
        self.assertEqual((ended.status, ended.output), (1, ""))
        expected = rf"\[echo\] cannot listen at tcp 127\.0\.0\.1:{port}: Address already in use by"
        self.assertRegex(ended.errors, rf"\A{expected} .*write another port in the arguments\n\Z")

    def test_bad(self) -> None:
        """Bad arguments are named all at once; nothing is bound, and the status is 78."""
        ended = self.run_socketd("serve", "echo", "unix:e.sock", "tcp:x", "so_kepalive=yes")
        self.assertEqual((ended.status, ended.output), (78, ""))
        self.assertEqual(len(ended.errors.splitlines()), 2, ended.errors)
        self.assertFalse((self.directory / "e.sock").exists())
