"""
Tests for L{socketd.settings.load}: files and services that are right, and files
that cannot be read.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.settings.diagnostics import SettingsError
from socketd.settings.listeners import Listener
from socketd.settings.ini import MAX_FILE_BYTES, read_file
from socketd.settings.load import parse
from socketd.settings.model import DaemonOptions, ServiceOptions, Settings, SocketOptions
from tests.settings.refusals import PROTOCOLS, RUNTIME, Importing, Silence, TalkOptions, parsed

FULL = r"""
[socketd]
drain_timeout = 3s
log_level = warn

[echo]
listen = tcp:7, udp:7
log_messages = hex
so_keepalive = yes

[defaults]
log_connections = no
tcp_keepcnt = 5
times = 3

[hello]
protocol = talk
listen =
    unix:{runtime}/hello.sock
    tcp:8
reply = 100 % größer\n
times = 4
tcp_keepcnt = 6

[off]
protocol = echo
listen = tcp:7
enabled = no
"""


class ParseTests(SynchronousTestCase):
    """Tests for L{socketd.settings.load.parse} of what is right."""

    def setUp(self) -> None:
        self.settings = parsed(FULL)
        self.echo, self.hello = self.settings.services

    def test_daemon(self) -> None:
        """The section C{[socketd]} is the daemon's."""
        self.assertEqual(self.settings.file, "FILE")
        self.assertEqual(self.settings.daemon, DaemonOptions(drain_timeout=3.0, log_level="warn"))

    def test_services(self) -> None:
        """
        Every other section is a service, in the order of the file; one that is
        disabled is left out, and its address is free.
        """
        names = [(service.name, service.protocol) for service in self.settings.services]
        self.assertEqual(names, [("echo", "echo"), ("hello", "talk")])
        self.assertIdentical(self.hello.declared, PROTOCOLS["talk"])

    def test_listeners(self) -> None:
        """A service has one or more listeners."""
        self.assertEqual(self.echo.listeners, (Listener("tcp", port=7), Listener("udp", port=7)))
        unix = Listener("unix", path=f"{RUNTIME}/hello.sock")
        self.assertEqual(self.hello.listeners, (unix, Listener("tcp", port=8)))

    def test_options(self) -> None:
        """The options go where they belong: to the service, its sockets, its protocol."""
        common = ServiceOptions(
            listen=("tcp:7", "udp:7"), log_messages="hex", log_connections=False
        )
        self.assertEqual(self.echo.common, common)
        self.assertEqual(self.echo.sockets, SocketOptions(so_keepalive=True, tcp_keepcnt=5))
        self.assertEqual(self.echo.options, Silence())
        expected = TalkOptions(reply="100 % größer\n".encode(), times=4)
        self.assertEqual(self.hello.options, expected)

    def test_defaults(self) -> None:
        """A default reaches every service that knows the option and does not give it itself."""
        self.assertEqual([s.common.log_connections for s in self.settings.services], [False] * 2)
        self.assertEqual([s.sockets.tcp_keepcnt for s in self.settings.services], [5, 6])
        self.assertEqual(parsed(FULL.replace("times = 4\n", "")).services[1].options.times, 3)

    def test_lines(self) -> None:
        """A service knows where each of its options stands, and which it inherited."""
        lines = {"listen": 7, "log_messages": 8, "so_keepalive": 9}
        self.assertEqual(self.echo.lines, lines | {"log_connections": 12, "tcp_keepcnt": 13})
        self.assertEqual(self.echo.inherited, {"log_connections", "tcp_keepcnt"})
        self.assertEqual(self.hello.inherited, {"log_connections"})
        self.assertEqual(self.hello.lines["times"], 22)

    def test_http(self) -> None:
        """HTTP is served where C{[socketd]} says, nowhere by default."""
        self.assertIsNone(self.settings.http)
        text = "[echo]\nlisten = tcp:7\n[socketd]\nlog_level = info\nhttp ={}\n"
        self.assertIsNone(parsed(text.format("")).http)
        settings = parsed(text.format(" unix:{runtime}/http"))
        self.assertEqual(settings.http, Listener("unix", path=f"{RUNTIME}/http"))
        self.assertEqual(settings.lines, {"log_level": 4, "http": 5})

    def test_only_named_are_imported(self) -> None:
        """A protocol is imported only if a service speaks it."""
        protocols = Importing()
        parsed("[a]\nprotocol = echo\nlisten = tcp:7\n", protocols)
        self.assertEqual(set(protocols.imported), {"echo"})

    def test_same_port(self) -> None:
        """One port of several families and types is no conflict, nor is port 0."""
        text = "[echo]\nlisten = tcp:7, udp:7, tcp6:7, udp6:7, tcp:0, tcp:0\n"
        self.assertEqual(len(parsed(text).services[0].listeners), 6)
        text = "[echo]\nlisten = tcp:7:interface=127.0.0.1, tcp:7:interface=127.0.0.2\n"
        self.assertEqual(len(parsed(text).services[0].listeners), 2)


def load(file: str, *more: Any) -> Settings:
    """Load a file."""
    return parse(read_file(file), file, PROTOCOLS, *more)


class FileTests(SynchronousTestCase):
    """Tests for L{parse}, of a file."""

    def load(self, content: bytes) -> tuple[str, Settings]:
        file = self.mktemp()
        Path(file).write_bytes(content)
        return file, load(file, RUNTIME)

    def refused(self, file: str) -> str:
        """Load a file that cannot be used."""
        return str(self.assertRaises(SettingsError, load, file, RUNTIME))

    def refused_content(self, content: bytes) -> str:
        """
        Load a file with content that cannot be used.

        @return: what is wrong, with the file's name as C{FILE}.
        """
        file = self.mktemp()
        Path(file).write_bytes(content)
        return self.refused(file).replace(file, "FILE")

    def test_file(self) -> None:
        """A file is read as UTF-8, and its name kept."""
        file, settings = self.load("[talk]\nlisten = tcp:7\nreply = ä\n".encode())
        self.assertEqual(settings.file, file)
        self.assertEqual(settings.services[0].options.reply, "ä".encode())

    def test_of_the_caller(self) -> None:
        """The directory for sockets is the caller's, and so is the trial of each service."""
        file = self.mktemp()
        Path(file).write_text("[echo]\nlisten = unix:{runtime}/a\nso_dontroute = yes\n")
        found = load(file, "/run/b").services[0].listeners
        self.assertEqual(found, (Listener("unix", path="/run/b/a"),))
        refuse = lambda settings: [  # noqa: E731
            settings.services[0].complaint("so_dontroute", "no", "yes")
        ]
        error = self.assertRaises(SettingsError, load, file, "/b", refuse)
        self.assertEqual(str(error), f"{file}:3: [echo] so_dontroute = yes: no")

    def test_windows(self) -> None:
        """A byte order mark and carriage returns at the ends of lines are no part of the text."""
        text = "\ufeff[talk]\r\nlisten = tcp:7\r\nreply = a\r\n  b\r\n"
        _, settings = self.load(text.encode())
        self.assertEqual(settings.services[0].options.reply, b"a\nb")

    def test_unreadable(self) -> None:
        """A file that is missing, a directory or refused is one diagnostic without a line."""
        file, directory = self.mktemp(), self.mktemp()
        os.mkdir(directory)
        self.assertEqual(self.refused(file), f"{file}: cannot be read: No such file or directory")
        self.assertEqual(self.refused(directory), f"{directory}: cannot be read: Is a directory")

        def refuse(path: Path, mode: str) -> None:
            raise PermissionError(13, "Permission denied")

        self.patch(Path, "open", refuse)
        self.assertEqual(self.refused("s.ini"), "s.ini: cannot be read: Permission denied")

    def test_empty(self) -> None:
        """A file without services serves nothing, which is an error."""
        message = "FILE: serves nothing; add a section such as [echo] with listen = tcp:7007"
        for content in (b"", b"\n\n", b"; [echo]\n", b"[socketd]\n", b"[defaults]\n"):
            self.assertEqual(self.refused_content(content), message, repr(content))
        off = b"[echo]\nlisten = tcp:7\nenabled = no\n"
        self.assertEqual(self.refused_content(off), message)

    def test_not_utf8(self) -> None:
        """The first byte that is no UTF-8 is named with its line."""
        latin = "[talk]\nlisten = tcp:7\nreply = größer\n".encode("latin-1")
        self.assertEqual(self.refused_content(latin), "FILE:3: is not UTF-8 text (byte 0xf6)")

    def test_null(self) -> None:
        """A NUL is in no text file."""
        message = "FILE:2: has a NUL byte and is not a text file"
        for content in (b"[a]\nb\0 = c\n[d]\n", b"[a]\n[\0]\n", b"\n\xff\0", b"\n\0\n\0"):
            self.assertEqual(self.refused_content(content), message, repr(content))

    def test_too_large(self) -> None:
        """A file of more than a megabyte is no configuration, and is not read to its end."""
        service = b"[echo]\nlisten = tcp:7\n;"
        largest = service.ljust(MAX_FILE_BYTES, b"x")
        self.assertEqual(len(self.load(largest)[1].services), 1)
        message = f"FILE: is larger than {MAX_FILE_BYTES} bytes"
        self.assertEqual(self.refused_content(largest + b"x"), message)

    def test_endless(self) -> None:
        """Nor is a device that never ends."""
        self.assertIn("is larger than", self.refused("/dev/zero"))
