"""Tests of the running daemon: how it reloads, drains and stops."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import termios
from contextlib import ExitStack
from functools import partial
from typing import Any

from tests.protocols.web.client import request, responses
from tests.protocols.web.frames import CLOSE, HANDSHAKE, frame
from tests.support.polling import DEADLINE, repeating
from tests.support.ports import free_port
from tests.support.processes import Daemon, SystemCase
from tests.support.sockets import fill, read_exactly, read_to_end

INI = """
[socketd]
drain_timeout = {drain}
[echo]
listen = tcp:0:interface=127.0.0.1
log_connections = no
"""

WEB = """
[web]
protocol = http
listen = tcp:0:interface=127.0.0.1
"""

RULES = """
[device]
protocol = reply
listen = tcp:0:interface=127.0.0.1
framing = line
rules =
    "a" -> "1", after 1s
    "b" -> "2"
"""


class ReloadCase(SystemCase):
    """A daemon that reads its file again."""

    def reload(self, daemon: Daemon, ini: str, line: str) -> None:
        """Write the file again, have it read, and wait for the line in the log."""
        self.write("socketd.ini", ini)
        daemon.signal(signal.SIGHUP)
        daemon.output.wait_for(line)


class ReloadTests(ReloadCase):
    """SIGHUP changes what the file changes, and nothing else."""

    def test_nothing_changed(self) -> None:
        """The same file changes nothing; connections and sockets live on."""
        ini = INI.format(drain="10s")
        with self.daemon(ini) as daemon:
            address = daemon.address("echo")
            with daemon.connect("echo") as sock:
                self.reload(daemon, ini, "reloaded: nothing changed")
                self.check_echo(sock)
            with socket.create_connection(address, DEADLINE) as sock:
                self.check_echo(sock)

    def test_changes(self) -> None:
        """
        A service is added, one is removed, one has other options and keeps its
        socket: no connection that may stay is lost.
        """
        path = self.directory / "a.sock"
        before = f"""
[echo]
listen = tcp:0:interface=127.0.0.1
[talk]
protocol = reply
reply = old
listen = unix:{path}
[gone]
protocol = echo
listen = tcp:0:interface=127.0.0.1
"""
        after = f"""
[echo]
listen = tcp:0:interface=127.0.0.1
[talk]
protocol = reply
reply = new
listen = unix:{path}
[fresh]
protocol = upper
listen = unix:{self.directory}/b.sock
"""
        with self.daemon(before) as daemon:
            kept, old = daemon.connect("echo"), daemon.connect("talk", "unix")
            gone, gone_address = daemon.connect("gone"), daemon.address("gone")
            changes = r"reloaded: \[gone\] removed; \[talk\] reply changed; \[fresh\] added"
            self.reload(daemon, after, changes)
            self.check_echo(kept)
            old.sendall(b"x")
            self.assertEqual(read_exactly(old, 3), b"old", "a connection keeps its protocol")
            self.assertEqual(read_to_end(gone), b"")
            self.assertRaises(OSError, socket.create_connection, gone_address, DEADLINE)
            with daemon.connect("talk", "unix") as new:
                self.check_echo(new, b"x", b"new")
            with daemon.connect("fresh", "unix") as fresh:
                self.check_echo(fresh, b"x", b"X")
            for sock in (kept, old, gone):
                sock.close()

    def test_bad_file(self) -> None:
        """A bad file changes nothing at all, and every complaint is logged."""
        with self.daemon(INI.format(drain="10s")) as daemon:
            with daemon.connect("echo") as sock:
                bad = "[echo]\nlisten = tcp:70000\n[eco]\nlisten = tcp:7\n"
                self.reload(daemon, bad, r" unchanged: .*:2: \[echo\] listen = tcp:70000")
                daemon.output.wait_for(r"configuration unchanged: .*: \[eco\]: is not a protocol")
                self.check_echo(sock)
            with daemon.connect("echo") as sock:
                self.check_echo(sock)

    def test_cannot_bind(self) -> None:
        """
        A listener that cannot be bound keeps everything as it was, and nothing
        that was bound for the new file stays bound.
        """
        with self.daemon(INI.format(drain="10s")) as daemon:
            path = self.directory / "new.sock"
            taken = "tcp:{}:interface=127.0.0.1".format(daemon.address("echo")[1])
            ini = f"[upper]\nlisten = unix:{path}, {taken}\n" + INI.format(drain="10s")
            self.reload(daemon, ini, r"configuration unchanged: \[upper\] cannot listen at tcp")
            self.assertFalse(path.exists())
            with daemon.connect("echo") as sock:
                self.check_echo(sock)

    def test_networks(self) -> None:
        """Live connections meet the new access policy; those that it refuses are reset."""
        with self.daemon(INI.format(drain="10s")) as daemon:
            stays, goes = daemon.connect("echo"), socket.socket()
            goes.settimeout(DEADLINE)
            goes.bind(("127.0.0.2", 0))
            goes.connect(daemon.address("echo"))
            self.check_echo(stays)
            self.check_echo(goes)
            ini = INI.format(drain="10s") + "deny = 127.0.0.2\n"
            self.reload(daemon, ini, r"reloaded: \[echo\] deny changed")
            self.assertRaises(ConnectionResetError, goes.recv, 1)
            self.check_echo(stays)
            stays.close()
            goes.close()

    def test_under_load(self) -> None:
        """While the file is read again and again, no connection is refused or lost."""
        with self.daemon(INI.format(drain="10s")) as daemon:
            address = daemon.address("echo")

            def load() -> None:
                with socket.create_connection(address, DEADLINE) as sock:
                    self.check_echo(sock)

            with repeating(load) as problems:
                for turn in range(20):
                    ini = INI.format(drain="10s") + f"idle_timeout = {turn + 10}s\n"
                    self.reload(daemon, ini, r"reloaded: \[echo\] idle_timeout changed")
        self.assertEqual(problems, [])

    def test_addresses_under_load(self) -> None:
        """
        While a service goes from all addresses to one and back, no client at the one address is
        refused or lost, by TCP or UDP.
        """
        port = free_port()
        ini = "[echo]\nlog_connections = no\nguard_loopback = no\nlisten = "
        one = f"{ini}tcp:{port}:interface=127.0.0.1, udp:{port}:interface=127.0.0.1\n"
        every = f"{ini}tcp:{port}, udp:{port}\n"
        with self.daemon(every) as daemon:
            daemon.address("echo")
            address = ("127.0.0.1", port)

            def load(kind: socket.SocketKind) -> None:
                with socket.socket(socket.AF_INET, kind) as sock:
                    sock.settimeout(DEADLINE)
                    sock.connect(address)
                    self.check_echo(sock)

            with ExitStack() as stack:
                kinds = (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM)
                loads = [stack.enter_context(repeating(partial(load, kind))) for kind in kinds]
                for text in (one, every) * 10:
                    self.reload(daemon, text, r"reloaded: \[echo\] listen changed")
        self.assertEqual(loads, [[]] * 3)


class StopTests(SystemCase):
    """A daemon that stops finishes what it owes, within bounds."""

    def test_what_has_come_is_answered(self) -> None:
        """Bytes that have come before the stop are answered before the close."""
        with self.daemon(INI.format(drain="10s")) as daemon:
            with daemon.connect("echo") as sock:
                self.check_echo(sock, b"x" * 1000)
                sock.sendall(b"last words")
                daemon.ask_to_stop()
                self.assertEqual(read_to_end(sock), b"last words")

    def test_web(self) -> None:
        """An HTTP answer that is being made is finished, and WebSocket closed with 1001."""
        with self.daemon(WEB) as daemon:
            with daemon.connect("web") as asking, daemon.connect("web") as talking:
                talking.sendall(request("/", "GET", None, **HANDSHAKE))
                self.assertIn(b" 101 ", talking.recv(1000))
                asking.sendall(request("/status/204") + request("/delay/1"))
                self.assertIn(b" 204 ", asking.recv(1000))
                daemon.ask_to_stop()
                going_away = frame(CLOSE, struct.pack("!H", 1001), key=None)
                self.assertEqual(read_to_end(talking), going_away)
                (response,) = responses(read_to_end(asking))
                found = response.json["path"], response.headers["Connection"]
                self.assertEqual(found, ("/delay/1", "close"))
            self.assertEqual(daemon.wait(), 0)

    def test_delayed(self) -> None:
        """An answer that a rule delays is sent, and so is what waits for it; then it closes."""
        with self.daemon(RULES) as daemon:
            with daemon.connect("device") as asking, daemon.connect("device") as idle:
                idle.sendall(b"b\n")
                self.assertEqual(idle.recv(9), b"2")
                asking.sendall(b"a\nb\n")
                daemon.ask_to_stop()
                self.assertEqual(read_to_end(idle), b"")
                self.assertEqual(read_to_end(asking), b"12")
            self.assertEqual(daemon.wait(), 0)

    def test_drain_timeout(self) -> None:
        """A peer that does not take what it is owed is reset when the time is over."""
        with self.daemon(INI.format(drain="250ms")) as daemon:
            with daemon.connect("echo") as sock:
                self.check_echo(sock)
                fill(sock)
                daemon.ask_to_stop()
                daemon.output.wait_for("1 connections did not finish")
                self.assertEqual(daemon.wait(), 0)

    def test_second_signal(self) -> None:
        """A second signal does not wait for any peer."""
        with self.daemon(INI.format(drain="1h")) as daemon:
            with daemon.connect("echo") as sock:
                self.check_echo(sock)
                fill(sock)
                daemon.ask_to_stop()
                daemon.output.wait_for("stopping; 1 connections")
                daemon.signal(signal.SIGTERM)
                self.assertEqual(daemon.wait(), 0)


class EndingTests(ReloadCase):
    """Reloads and signals that come at awkward times."""

    def owed(self, daemon: Daemon, service: str) -> socket.socket:
        """Connect a client that is owed more than it reads."""
        sock = daemon.connect(service)
        # Then it is accepted.
        self.check_echo(sock, b"X")
        fill(sock)
        sock.settimeout(DEADLINE)
        return sock

    def test_reload_while_stopping(self) -> None:
        """
        A SIGHUP while the daemon stops neither ends it nor changes anything; what is
        owed is still sent.
        """
        ini = INI.format(drain="1h")
        with self.daemon(ini) as daemon:
            with self.owed(daemon, "echo") as sock:
                daemon.ask_to_stop()
                daemon.output.wait_for("stopping; 1 connections")
                self.write("socketd.ini", ini + "[upper]\nlisten = tcp:0\n")
                daemon.signal(signal.SIGHUP)
                self.assertTrue(read_to_end(sock, 1 << 20).endswith(b"x"))
            self.assertEqual(daemon.wait(), 0)
            self.assertNotIn("reloaded", daemon.output.text)
            self.assertNotIn("upper listens", daemon.output.text)

    def test_stop_waits_for_removed(self) -> None:
        """A stop right after a reload waits for the peers of a service that is gone, too."""
        more = "[upper]\nlisten = tcp:0:interface=127.0.0.1\n"
        ini = INI.format(drain="1h")
        with self.daemon(ini + more) as daemon:
            with self.owed(daemon, "upper") as sock:
                self.reload(daemon, ini, r"reloaded: \[upper\] removed")
                daemon.ask_to_stop()
                daemon.output.wait_for("stopping; 1 connections")
                self.assertTrue(read_to_end(sock, 1 << 20).endswith(b"X"))
            self.assertEqual(daemon.wait(), 0)

    def test_renamed_under_load(self) -> None:
        """
        While a service gets other names, and TCP and UNIX peers come and go, each of
        them is served at the same addresses.
        """
        path = self.directory / "a.sock"
        ini = "[{}]\nprotocol = echo\nlog_connections = no\n"
        ini += f"listen = tcp:0:interface=127.0.0.1, unix:{path}\n"
        with self.daemon(ini.format("echo")) as daemon:
            addresses: list[tuple[int, Any]] = [
                (socket.AF_INET, daemon.address("echo")),
                (socket.AF_UNIX, str(path)),
            ]

            def load() -> None:
                for family, address in addresses:
                    with socket.socket(family) as sock:
                        sock.settimeout(DEADLINE)
                        sock.connect(address)
                        sock.sendall(b"hello")
                        # The service of that name may be gone before the message has come: then
                        # the connection is closed in order, and not reset.
                        assert read_exactly(sock, 5) in (b"hello", b"")

            with repeating(load) as problems:
                for turn in range(10):
                    name = f"echo-{turn}"
                    self.reload(daemon, ini.format(name), rf"\[{name}\] added")
        self.assertEqual(problems, [])

    def test_many_hangups(self) -> None:
        """
        A burst of SIGHUP is read as often as the kernel tells of it, and ends with what
        the file says last.
        """
        ini = INI.format(drain="10s")
        with self.daemon(ini) as daemon:
            with daemon.connect("echo") as sock:
                for _ in range(50):
                    daemon.signal(signal.SIGHUP)
                changed = r"reloaded: \[echo\] max_connections changed"
                self.reload(daemon, ini + "max_connections = 77\n", changed)
                self.check_echo(sock)


class HangupTests(SystemCase):
    """Tests for a daemon whose terminal is closed."""

    def start(self, *command: str) -> tuple[Daemon, int]:
        """
        Start a daemon at a terminal of its own, whose end is not what it writes to.

        @param command: what starts it.
        @return: the other end of the terminal, too.
        """
        master, slave = os.openpty()

        def take_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            # nohup(1) may have started the tests.
            signal.signal(signal.SIGHUP, signal.SIG_DFL)

        ini = INI.format(drain="10s")
        daemon = self.daemon(ini, before=command, stdin=slave, preexec_fn=take_terminal)
        os.close(slave)
        daemon.address("echo")
        return daemon, master

    def test_closed(self) -> None:
        """
        SIGHUP reloads while the terminal is there; its end is that of the daemon, in
        good order.
        """
        daemon, master = self.start()
        daemon.signal(signal.SIGHUP)
        daemon.output.wait_for("reloaded: nothing changed")
        os.close(master)
        daemon.output.wait_for("the terminal was closed")
        self.assertEqual(daemon.wait(), 0)
        self.assertIn("stopping; ", daemon.output.text)
        self.assertEqual(daemon.errors.text, "")

    def test_nohup(self) -> None:
        """One that was started with SIGHUP ignored, as by nohup(1), outlives its terminal."""
        daemon, master = self.start("sh", "-c", 'trap "" HUP; exec "$@"', "sh")
        with daemon:
            os.close(master)
            daemon.output.wait_for("reloaded: nothing changed")
