"""Tests for L{socketd.common.paths}."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from socketd.common import paths
from socketd.common.paths import (
    find_config,
    make_private,
    runtime_directory,
    state_directory,
)


class FindConfigTests(SynchronousTestCase):
    """Tests for L{find_config}."""

    def test_named(self) -> None:
        """What the command line names comes first, whether it is there or not."""
        for named in ("a.ini", ""):
            self.assertEqual(find_config(named, {"SOCKETD_CONFIG": "b.ini"}), named)

    def test_variable(self) -> None:
        """The variable comes next, unless it is empty."""
        self.assertEqual(find_config(None, {"SOCKETD_CONFIG": "b.ini"}), "b.ini")
        self.assertNotEqual(find_config(None, {"SOCKETD_CONFIG": ""}), "")

    def test_system(self) -> None:
        """Then the machine's file, if there is one."""
        file = self.mktemp()
        Path(file).touch()
        self.patch(paths, "SYSTEM_FILE", file)
        self.assertEqual(find_config(None, {}), file)

    def test_installed(self) -> None:
        """At last the file that came with the installation."""
        self.patch(paths, "SYSTEM_FILE", self.mktemp())
        self.assertEqual(find_config(None, {}), f"{sys.prefix}/etc/socketd/socketd.ini")


class RuntimeDirectoryTests(SynchronousTestCase):
    """Tests for L{runtime_directory}."""

    def test_choice(self) -> None:
        """
        systemd's directory (the first of them), else the user's, else one in
        C{/tmp} that has the user's number.
        """
        systemd = {"RUNTIME_DIRECTORY": "/run/a:/run/b", "XDG_RUNTIME_DIR": "/run/user/7"}
        self.assertEqual(runtime_directory(systemd, 7), "/run/a")
        user = {"XDG_RUNTIME_DIR": "/run/user/7"}
        self.assertEqual(runtime_directory(user, 7), "/run/user/7/socketd")
        empty = {"RUNTIME_DIRECTORY": "", "XDG_RUNTIME_DIR": ""}
        self.assertEqual(runtime_directory(empty, 7), "/tmp/socketd-7")
        self.assertEqual(runtime_directory({}, 7), "/tmp/socketd-7")


class StateDirectoryTests(SynchronousTestCase):
    """Tests for L{state_directory}."""

    def test_choice(self) -> None:
        """systemd's directory (the first of them), else the user's, at its usual place too."""
        systemd = {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "XDG_STATE_HOME": "/home/me/state"}
        self.assertEqual(state_directory(systemd), "/var/lib/a")
        user = {"XDG_STATE_HOME": "/home/me/state"}
        self.assertEqual(state_directory(user), "/home/me/state/socketd")
        home = os.path.expanduser("~")
        for empty in ({}, {"STATE_DIRECTORY": "", "XDG_STATE_HOME": ""}):
            self.assertEqual(state_directory(empty), f"{home}/.local/state/socketd")

    def test_no_home(self) -> None:
        """A user without a home, as in a container, has that of the system."""
        self.patch(os.path, "expanduser", lambda path: path)
        self.assertEqual(state_directory({}), "/var/lib/socketd")


class MakePrivateTests(SynchronousTestCase):
    """Tests for L{make_private}."""

    def test_made(self) -> None:
        """The directory is made for its owner alone, parents too; a second time is no harm."""
        directory = os.path.join(self.mktemp(), "inner")
        make_private(directory)
        make_private(directory)
        self.assertEqual(stat.S_IMODE(os.stat(directory).st_mode) & 0o077, 0)

    def test_writable_by_others(self) -> None:
        """A directory that others can write to is refused."""
        for mode in (0o770, 0o707, 0o720, 0o702):
            directory = self.mktemp()
            os.mkdir(directory)
            os.chmod(directory, mode)
            error = self.assertRaises(PermissionError, make_private, directory)
            self.assertIn("is not a private directory of this user", str(error))

    def test_seen_by_others(self) -> None:
        """
        A directory that others can look into or pass through is taken: they cannot
        change what is there.
        """
        for mode in (0o755, 0o711, 0o701):
            directory = self.mktemp()
            os.mkdir(directory)
            os.chmod(directory, mode)
            make_private(directory)
            self.assertEqual(stat.S_IMODE(os.stat(directory).st_mode), mode)

    def test_symbolic_link(self) -> None:
        """A link is refused, even to a private directory: another user may have set it."""
        directory, link = self.mktemp(), self.mktemp()
        os.mkdir(directory, 0o700)
        os.symlink(os.path.abspath(directory), link)
        self.assertRaises(PermissionError, make_private, link)

    def test_file(self) -> None:
        """A file in its place is refused."""
        file = self.mktemp()
        Path(file).touch()
        self.assertRaises(OSError, make_private, file)

    def test_of_somebody_else(self) -> None:
        """A directory of another user is refused."""
        directory = self.mktemp()
        os.mkdir(directory, 0o700)
        owner = os.stat(directory).st_uid
        self.patch(os, "geteuid", lambda: owner + 1)
        self.assertRaises(PermissionError, make_private, directory)
