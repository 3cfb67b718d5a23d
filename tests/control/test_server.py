"""Tests for L{socketd.control.server}."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.control.server import ControlService, make_directory
from socketd.control.session import describe_peer
from socketd.daemon.state import CannotStart
from tests.control.fakes import make_daemon


class Holder:
    """A transport with only a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def getHandle(self) -> socket.socket:
        """Return the socket."""
        return self._sock


class Case(SynchronousTestCase):
    """A directory for sockets; a short path, as these need it."""

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = os.path.join(self.directory, "a", "control.sock")


class DirectoryTests(Case):
    """Tests for L{make_directory}."""

    def make(self, umask: int) -> int:
        """Create it under a umask, and return its mode."""
        before = os.umask(umask)
        try:
            make_directory(self.path)
        finally:
            os.umask(before)
        return stat.S_IMODE(os.stat(os.path.dirname(self.path)).st_mode)

    def test_made(self) -> None:
        """It is created for owner and group, whatever the umask."""
        self.assertEqual(self.make(0o077), 0o750)
        os.rmdir(os.path.dirname(self.path))
        self.assertEqual(self.make(0), 0o750)

    def test_there(self) -> None:
        """An existing directory is unchanged."""
        os.mkdir(os.path.dirname(self.path), mode=0o700)
        self.assertEqual(self.make(0), 0o700)

    def test_open_to_all(self) -> None:
        """A world-writable directory is rejected, and so is a file."""
        directory = os.path.dirname(self.path)
        os.mkdir(directory)
        os.chmod(directory, 0o1777)
        self.assertRaises(PermissionError, make_directory, self.path)
        os.rmdir(directory)
        with open(directory, "w", encoding="ascii"):
            self.assertRaises(OSError, make_directory, self.path)

    def test_of_others(self) -> None:
        """A directory of another user is rejected; one of root is not."""
        self.make(0)
        self.patch(os, "geteuid", lambda: os.getuid() + 1)
        if os.stat(os.path.dirname(self.path)).st_uid:
            self.assertRaises(PermissionError, make_directory, self.path)
        else:
            # Root's is good for every daemon.
            make_directory(self.path)


class PeerTests(SynchronousTestCase):
    """Tests for L{describe_peer}."""

    def test_self(self) -> None:
        """The name is made of the kernel's credentials."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            expected = f"operator uid {os.getuid()} gid {os.getgid()} pid {os.getpid()}"
            self.assertEqual(describe_peer(Holder(ours)), expected)


class ServiceTests(Case):
    """Tests for L{ControlService} where it cannot bind."""

    def bind(self, path: str) -> str:
        """Return why binding fails."""
        service: Any = ControlService(make_daemon(), path)
        return str(self.assertRaises(CannotStart, service.privilegedStartService))

    def test_file(self) -> None:
        """A file that is not a socket is kept, and named in the error."""
        path = os.path.join(self.directory, "file")
        with open(path, "w", encoding="ascii") as file:
            file.write("mine")
        expected = f"[socketd] control: cannot listen at unix {path}: the file is there"
        self.assertTrue(self.bind(path).startswith(expected))
        self.assertTrue(os.path.exists(path))

    def test_long(self) -> None:
        """A path that is too long is an error."""
        self.assertIn("cannot listen at", self.bind("/tmp/" + "x" * 200))

    def test_stop_without_start(self) -> None:
        """A service that was only bound leaves no file behind."""
        path = os.path.join(self.directory, "s")
        service: Any = ControlService(make_daemon(), path)
        service.privilegedStartService()
        self.assertTrue(stat.S_ISSOCK(os.stat(path).st_mode))
        self.successResultOf(service.stopService())
        self.assertFalse(os.path.exists(path))
