"""Tests of C{socketd.net.listen}."""

from __future__ import annotations

import os
import socket
import stat
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from socketd.net.listen import Bound, bind
from socketd.net.sockets.bind import CannotListen
from socketd.settings.listener_syntax import parse_listener
from socketd.settings.listeners import Listener
from socketd.settings.model import SocketOptions


class BindCase(SynchronousTestCase):
    """Binds listeners, those of UNIX sockets in a directory with a short name."""

    def setUp(self) -> None:
        self.directory: str = os.path.relpath(self.mktemp())
        os.makedirs(self.directory)
        self.path = f"{self.directory}/s"

    def bind(self, text: str, **options: Any) -> Bound:
        """Bind a listener string."""
        bound = bind(self.parse(text), SocketOptions(**options))
        self.addCleanup(bound.close)
        return bound

    def parse(self, text: str) -> Listener:
        """Read a listener string."""
        return parse_listener(text, self.directory)

    def refused(self, text: str, **options: Any) -> Any:
        """Give the reason why a listener cannot be bound."""
        return self.assertRaises(CannotListen, bind, self.parse(text), SocketOptions(**options))


class BindTests(BindCase):
    """A listener becomes a bound socket, or a reason in one line."""

    def test_kinds(self) -> None:
        """Every kind gets a socket of its family and type, which does not block."""
        network = ("tcp:0", "tcp6:0", "udp:0", "udp6:0")
        for text in (*network, "unix:{runtime}/s", "unixgram:{runtime}/d"):
            bound = self.bind(text)
            self.assertEqual(bound.sock.family, bound.listener.family)
            self.assertEqual(bound.sock.type, bound.listener.type)
            self.assertFalse(bound.sock.getblocking())

    def test_both_families(self) -> None:
        """IPv4 and IPv6 can have the same port."""
        port = self.bind("tcp:0").sock.getsockname()[1]
        self.assertEqual(self.bind(f"tcp6:{port}").sock.getsockname()[1], port)

    def test_name(self) -> None:
        """A host name is resolved; the text shows the port that the kernel chose."""
        bound = self.bind("tcp:0:interface=localhost")
        host, port = bound.sock.getsockname()
        self.assertEqual(str(bound), f"tcp 127.0.0.1:{port}")

    def test_reasons(self) -> None:
        """Each failure has its reason."""
        port = self.bind("tcp:0:interface=127.0.0.1").sock.getsockname()[1]
        for text, expected in (
            (f"tcp:{port}:interface=127.0.0.1", "Address already in use"),
            ("tcp:0:interface=192.0.2.1", "Cannot assign requested address"),
            ("tcp:0:interface=no-such-host.invalid", "bad host"),
            (r"tcp6:0:interface=fe80\:\:1%nosuch0", "bad host"),
            ("unix:{runtime}/missing/s", "No such file or directory"),
        ):
            self.assertIn(expected, str(self.refused(text)), text)

    def test_absent(self) -> None:
        """An address that the machine lacks is told from one that is in use."""
        for text, absent in (("tcp:0:interface=192.0.2.1", True), ("unix:/", False)):
            self.assertIs(self.refused(text).absent, absent)

    def test_family_missing(self) -> None:
        """A machine without IPv6 lacks the address."""
        lacking = OSError(97, "Address family not supported by protocol")
        with mock.patch("socketd.net.sockets.bind.socket.socket", side_effect=lacking):
            self.assertTrue(self.refused("tcp6:0").absent)

    def test_options_before_bind(self) -> None:
        """Socket options are set, those that must be before bind."""
        first = self.bind("tcp:0:interface=127.0.0.1", so_reuseport=True, so_keepalive=True)
        port = first.sock.getsockname()[1]
        self.bind(f"tcp:{port}:interface=127.0.0.1", so_reuseport=True)
        self.assertTrue(first.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def test_option_refused(self) -> None:
        """An option that the system refuses is the reason."""
        reason = self.refused("tcp:0", so_bindtodevice="nosuch0")
        self.assertEqual(str(reason), "so_bindtodevice: this system refuses it: No such device")


class UnixTests(BindCase):
    """The files of UNIX sockets."""

    def mode(self) -> int:
        """Give the permissions of the socket file."""
        return stat.S_IMODE(os.stat(self.path).st_mode)

    def test_mode_is_exact(self) -> None:
        """The mode is what was asked for, whatever the umask."""
        for umask in (0, 0o022, 0o077):
            before = os.umask(umask)
            try:
                for mode in ("600", "660", "666"):
                    bound = self.bind(f"unix:{{runtime}}/s:mode={mode}")
                    self.assertEqual(self.mode(), int(mode, 8))
                    bound.close()
            finally:
                self.assertEqual(os.umask(before), umask)

    def test_mode_from_the_start(self) -> None:
        """There is no moment with a wider mode: bind itself makes the file so."""
        modes = []

        class Spy(socket.socket):
            def bind(spy, address: Any) -> None:  # noqa: N805
                super().bind(address)
                modes.append(self.mode())

        with mock.patch("socketd.net.sockets.bind.socket.socket", Spy):
            self.bind("unix:{runtime}/s:mode=600")
        self.assertEqual(modes, [0o600])

    def test_stale_file(self) -> None:
        """A stale socket file is replaced."""
        for kind in ("unix", "unixgram"):
            stale = self.bind(f"{kind}:{{runtime}}/s")
            stale.sock.close()
            self.assertTrue(os.path.exists(self.path))
            self.bind(f"{kind}:{{runtime}}/s").close()

    def test_live_file(self) -> None:
        """A socket with a listening process is left alone, also when its queue is full."""
        live = self.bind("unix:{runtime}/s:backlog=1")
        for _ in range(3):
            self.assertIn("Address already in use", str(self.refused("unix:{runtime}/s")))
            waiting = socket.socket(socket.AF_UNIX)
            self.addCleanup(waiting.close)
            waiting.setblocking(False)
            try:
                waiting.connect(self.path)
            except BlockingIOError:
                pass
        self.assertEqual(live.sock.getsockname(), self.path)

    def test_other_file(self) -> None:
        """A file that is no socket is left alone."""
        with open(self.path, "w") as file:
            file.write("precious")
        self.assertIn("is no socket", str(self.refused("unix:{runtime}/s")))
        with open(self.path) as file:
            self.assertEqual(file.read(), "precious")

    def test_close_removes(self) -> None:
        """Closing removes the file."""
        self.bind("unix:{runtime}/s").close()
        self.assertFalse(os.path.exists(self.path))

    def test_close_spares_another(self) -> None:
        """Closing leaves a file that is not its own."""
        bound = self.bind("unix:{runtime}/s")
        os.unlink(self.path)
        other = self.bind("unix:{runtime}/s")
        bound.close()
        self.assertTrue(os.path.exists(self.path))
        other.close()
