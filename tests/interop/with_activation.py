"""
systemd-socket-activate, which starts the daemon as a socket unit does: when the first
client is there.
"""

from __future__ import annotations

import socket
from pathlib import Path

from tests.interop.client_case import InteropCase
from tests.support.needs import locate
from tests.support.polling import DEADLINE
from tests.support.ports import free_port
from tests.support.processes import Daemon
from tests.support.sockets import read_exactly


class ActivationTests(InteropCase):
    """Tests for sockets from the real program."""

    def activate(self, ini: str, *options: str) -> Daemon:
        """Start the program, which starts the daemon."""
        environment = self.environment()
        # It passes on hardly anything of its own environment.
        passed = [f"--setenv={name}={value}" for name, value in environment.items()]
        return self.daemon(ini, before=(locate("systemd-socket-activate"), *options, *passed))

    def stop(self, daemon: Daemon) -> None:
        """
        Stop it, and see that it ends as any daemon does; the program itself wrote to
        standard error.
        """
        daemon.ask_to_stop()
        self.assertEqual(daemon.wait(), 0)
        self.assertIn("stopping; ", daemon.output.text)
        self.assertNotIn("Traceback", daemon.output.text + daemon.errors.text)

    def echoes(self, kind: int, address: str | tuple[str, int]) -> None:
        family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
        with socket.socket(family, kind) as sock:
            sock.settimeout(DEADLINE)
            if family == socket.AF_UNIX and kind == socket.SOCK_DGRAM:
                sock.bind(str(self.directory / "client.sock"))
            sock.connect(address)
            sock.send(b"hello")
            self.assertEqual(read_exactly(sock, 5), b"hello")

    def test_streams(self) -> None:
        """
        Two sockets of two names, a port and a path, are served; the client that had the
        daemon started is answered.
        """
        port, path = free_port(), self.directory / "local.sock"
        ini = "[echo]\nlisten = systemd:web, systemd:local\n"
        listen = [f"--listen=127.0.0.1:{port}", f"--listen={path}", "--fdname=web:local"]
        daemon = self.activate(ini, *listen)
        daemon.errors.wait_for(r"Listening on .* as 4")
        self.echoes(socket.SOCK_STREAM, ("127.0.0.1", port))
        self.echoes(socket.SOCK_STREAM, str(path))
        daemon.output.find(rf"echo listens on systemd 127\.0\.0\.1:{port}$")
        self.stop(daemon)

    def test_datagrams(self) -> None:
        """So are sockets for datagrams, under one name."""
        port, path = free_port(), self.directory / "local.sock"
        ini = "[echo]\nlisten = systemd:all\n"
        listen = [f"--listen=127.0.0.1:{port}", f"--listen={path}", "--fdname=all:all"]
        daemon = self.activate(ini, "--datagram", *listen)
        daemon.errors.wait_for(r"Listening on .* as 4")
        self.echoes(socket.SOCK_DGRAM, ("127.0.0.1", port))
        self.echoes(socket.SOCK_DGRAM, str(path))
        self.stop(daemon)

    def test_refused(self) -> None:
        """A socket that no service names ends the start with one line."""
        port = free_port()
        listen = [f"--listen=127.0.0.1:{port}", "--fdname=other"]
        daemon = self.activate("[echo]\nlisten = tcp:0:interface=127.0.0.1\n", *listen)
        daemon.errors.wait_for(r"Listening on .* as 3")
        with socket.create_connection(("127.0.0.1", port), DEADLINE):
            self.assertEqual(daemon.wait(), 1)
        line = f"no service names the inherited socket other (127.0.0.1:{port})"
        self.assertIn(line, daemon.errors.text.splitlines())
        self.assertFalse(Path(f"/proc/{daemon.pid}").exists())
