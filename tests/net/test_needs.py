"""Tests for L{socketd.net.needs}."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from socketd.net import needs
from socketd.net.needs import needed
from socketd.settings.listener_syntax import parse_listener


class NeededTests(SynchronousTestCase):
    """Tests for L{needed}."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.privilege("0000000000000400")

    def privilege(self, mask: str, lowest: str = "1024") -> None:
        """Have a process with these capabilities, and a lowest port that needs none."""
        for name, text in (("_STATUS", f"Name:\tx\nCapEff:\t{mask}\n"), ("_LOWEST", lowest)):
            path = Path(self.mktemp())
            path.write_text(text)
            self.patch(needs, name, path)

    def needed(self, text: str) -> str:
        """Say what a listener needs."""
        return needed(parse_listener(text, self.directory), self.directory)

    def test_nothing(self) -> None:
        """Nothing is said of what can be bound, now or any time."""
        for text in (
            "tcp:7", "udp:7:interface=127.0.0.1", "tcp:0:interface=localhost", "unix:a",
            "unix:{runtime}/a", "tcp:7:interface=203.0.113.1:optional=yes",
        ):  # fmt: skip
            self.assertEqual(self.needed(text), "", text)

    def test_runtime(self) -> None:
        """The directory of the runtime is made by the start."""
        self.assertEqual(needed(parse_listener("unix:{runtime}/a", "/nowhere"), "/nowhere"), "")

    def test_paths(self) -> None:
        """A directory has to be there, and at the path itself no file but a socket."""
        missing = "needs the directory /nowhere/b, which is not there"
        self.assertEqual(self.needed("unix:/nowhere/b/c"), missing)
        Path(self.directory, "file").touch()
        taken = "needs a free path; the file there is no socket"
        self.assertEqual(self.needed("unix:{runtime}/file"), taken)
        os.symlink("nowhere", f"{self.directory}/link")
        self.assertEqual(self.needed("unixgram:{runtime}/link"), taken)
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(f"{self.directory}/left")
        self.assertEqual(self.needed("unix:{runtime}/left"), "")

    def test_addresses(self) -> None:
        """An address has to be one of this machine, and a host name has to have one."""
        absent = "needs the address 203.0.113.1, which this machine has not now"
        for text in ("tcp:70:interface=203.0.113.1", "udp:0:interface=203.0.113.1"):
            self.assertEqual(self.needed(text), absent)
        # A label of 64 bytes is asked of no server.
        name = "x" * 64
        found = self.needed(f"tcp:7:interface={name}")
        self.assertEqual(found, f"needs the host name {name}, which has no address now")

    def test_family(self) -> None:
        """A machine without IPv6 has no wildcard address of it either, as the start would say."""
        lacking = OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        with mock.patch("socketd.net.needs.socket.socket", side_effect=lacking):
            found = self.needed("tcp6:7")
            self.assertEqual(self.needed("tcp6:7:optional=yes"), "")
        self.assertEqual(found, "needs IPv6, which this machine has not now")

    def test_privilege(self) -> None:
        """A low port needs a capability, where the kernel asks for one."""
        self.privilege("0000000000000000")
        lacks = "needs CAP_NET_BIND_SERVICE for a port below 1024, which this user has not"
        self.assertEqual(self.needed("tcp:1023"), lacks)
        for text in ("tcp:1024", "tcp:0", "unix:a"):
            self.assertEqual(self.needed(text), "")
        self.privilege("0000000000000000", lowest="0")
        self.assertEqual(self.needed("tcp:7"), "")

    def test_no_proc(self) -> None:
        """Where the kernel does not tell, root may bind every port, and others from 1024."""
        self.patch(needs, "_STATUS", Path("/nowhere"))
        self.patch(needs, "_LOWEST", Path("/nowhere"))
        self.patch(os, "geteuid", lambda: 0)
        self.assertEqual(self.needed("tcp:7"), "")
        self.patch(os, "geteuid", lambda: 1000)
        self.assertIn("needs CAP_NET_BIND_SERVICE", self.needed("tcp:7"))

    def test_systemd(self) -> None:
        """What is handed over needs a unit that does so."""
        expected = "needs a socket unit with FileDescriptorName=web, or cannot start"
        self.assertEqual(self.needed("systemd:web"), expected)
