"""Tests for L{socketd.control.server}."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.control.server import ControlService, describe_peer, make_directory
from socketd.daemon.state import CannotStart
from tests.control.fakes import make_daemon


class Holder:
    """A transport that has a socket, and nothing else."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def getHandle(self) -> socket.socket:
        """The socket."""
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
        """Make it under a umask; say its mode."""
        before = os.umask(umask)
        try:
            make_directory(self.path)
        finally:
            os.umask(before)
        return stat.S_IMODE(os.stat(os.path.dirname(self.path)).st_mode)

    def test_made(self) -> None:
        """It is made for owner and group, whatever the umask."""
        self.assertEqual(self.make(0o077), 0o750)
        os.rmdir(os.path.dirname(self.path))
        self.assertEqual(self.make(0), 0o750)

    def test_there(self) -> None:
        """One that is there stays as it is."""
        os.mkdir(os.path.dirname(self.path), mode=0o700)
        self.assertEqual(self.make(0), 0o700)

    def test_open_to_all(self) -> None:
        """
        One in which everybody can write is none for a control socket, and a file is none
        for anything.
        """
        directory = os.path.dirname(self.path)
        os.mkdir(directory)
        os.chmod(directory, 0o1777)
        self.assertRaises(PermissionError, make_directory, self.path)
        os.rmdir(directory)
        with open(directory, "w", encoding="ascii"):
            self.assertRaises(OSError, make_directory, self.path)

    def test_of_others(self) -> None:
        """Nor is one of another user."""
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
        """The kernel says who is behind a socket."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            expected = f"operator uid {os.getuid()} gid {os.getgid()} pid {os.getpid()}"
            self.assertEqual(describe_peer(Holder(ours)), expected)


class ServiceTests(Case):
    """Tests for L{ControlService} where it cannot bind."""

    def bind(self, path: str) -> str:
        """Say why it cannot."""
        service: Any = ControlService(make_daemon(), path)
        return str(self.assertRaises(CannotStart, service.privilegedStartService))

    def test_file(self) -> None:
        """A file that is no socket is left alone, and named."""
        path = os.path.join(self.directory, "file")
        with open(path, "w", encoding="ascii") as file:
            file.write("mine")
        expected = f"[socketd] control: cannot listen at unix {path}: the file is there"
        self.assertTrue(self.bind(path).startswith(expected))
        self.assertTrue(os.path.exists(path))

    def test_long(self) -> None:
        """A path that the system does not take is a complaint, too."""
        self.assertIn("cannot listen at", self.bind("/tmp/" + "x" * 200))

    def test_stop_without_start(self) -> None:
        """A service that was only bound leaves no file behind."""
        path = os.path.join(self.directory, "s")
        service: Any = ControlService(make_daemon(), path)
        service.privilegedStartService()
        self.assertTrue(stat.S_ISSOCK(os.stat(path).st_mode))
        self.successResultOf(service.stopService())
        self.assertFalse(os.path.exists(path))
