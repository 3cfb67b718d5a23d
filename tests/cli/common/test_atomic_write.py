"""Tests for L{socketd.cli.common.atomic_write}."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.common.atomic_write import PRIVATE, PUBLIC, NewFile, write_files
from socketd.common.errors import CommandError


class WriteFilesTests(SynchronousTestCase):
    """Tests for L{write_files}."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.open = os.open
        self.replace = os.replace

    def files(self, may_replace: bool = False) -> list[NewFile]:
        """Make a public file and two private ones."""
        modes = {"a": PUBLIC, "b": PRIVATE, "c": PRIVATE}
        return [
            NewFile(self.directory / name, f"new {name}".encode(), mode, may_replace)
            for name, mode in modes.items()
        ]

    def found(self) -> dict[str, str]:
        """Read all files of the directory."""
        return {path.name: path.read_text() for path in self.directory.iterdir()}

    def test_new(self) -> None:
        """All are written with their modes, whatever the umask, and nothing else is left."""
        self.addCleanup(os.umask, os.umask(0))
        write_files(self.files())
        self.assertEqual(self.found(), {"a": "new a", "b": "new b", "c": "new c"})
        modes = {path.name: path.stat().st_mode & 0o777 for path in self.directory.iterdir()}
        self.assertEqual(modes, {"a": PUBLIC, "b": PRIVATE, "c": PRIVATE})

    def test_private_from_the_start(self) -> None:
        """A private file is never open to others, under no name that it has on the way."""
        self.addCleanup(os.umask, os.umask(0))
        modes: dict[str, int] = {}

        def watch(path: Any, *args: Any) -> int:
            descriptor = self.open(path, *args)
            modes[Path(path).name] = stat.S_IMODE(os.fstat(descriptor).st_mode)
            return descriptor

        self.patch(os, "open", watch)
        write_files(self.files())
        private = {name: mode for name, mode in modes.items() if name.lstrip(".")[0] in "bc"}
        self.assertEqual(len(private), 4)
        self.assertEqual(set(private.values()), {PRIVATE})

    def test_there_already(self) -> None:
        """A file that is there, or a dangling link, is not replaced, and no other is written."""
        (self.directory / "b").write_text("old b")
        message = str(self.assertRaises(CommandError, write_files, self.files()))
        self.assertEqual(message, f"{self.directory}/b exists; --force would replace it")
        self.assertEqual(self.found(), {"b": "old b"})
        (self.directory / "b").unlink()
        (self.directory / "b").symlink_to("nowhere")
        self.assertRaises(CommandError, write_files, self.files())
        self.assertEqual(os.listdir(self.directory), ["b"])

    def test_replaced(self) -> None:
        """Where that is allowed, what is there is replaced; a link itself, not its target."""
        (self.directory / "b").write_text("old b")
        (self.directory / "else").write_text("kept")
        (self.directory / "c").symlink_to("else")
        write_files(self.files(may_replace=True))
        expected = {"a": "new a", "b": "new b", "c": "new c", "else": "kept"}
        self.assertEqual(self.found(), expected)
        self.assertFalse((self.directory / "c").is_symlink())

    def test_directory_in_the_way(self) -> None:
        """A directory is not replaced, and what was replaced before it is put back."""
        (self.directory / "a").write_text("old a")
        (self.directory / "b").mkdir()
        message = str(self.assertRaises(CommandError, write_files, self.files(may_replace=True)))
        self.assertEqual(message, f"{self.directory}/b is a directory")
        self.assertEqual(sorted(os.listdir(self.directory)), ["a", "b"])
        self.assertEqual((self.directory / "a").read_text(), "old a")

    def test_all_or_nothing(self) -> None:
        """Whichever step fails, the directory is as it was, with and without files to replace."""
        for may_replace in (False, True):
            before = {"a": "old a", "c": "old c"} if may_replace else {}
            for name, text in before.items():
                (self.directory / name).write_text(text)
            for failing in range(3):
                self.fail_at("replace", self.replace, failing)
                error = self.assertRaises(CommandError, write_files, self.files(may_replace))
                self.assertEqual(str(error), f"{self.directory}: no space left on device")
                self.assertEqual(self.found(), before)
            self.patch(os, "replace", self.replace)
            for failing in range(3):
                self.fail_at("open", self.open, failing)
                self.assertRaises(CommandError, write_files, self.files(may_replace))
                self.patch(os, "open", self.open)
                self.assertEqual(self.found(), before)

    def fail_at(self, name: str, real: Any, failing: int) -> None:
        """Let one call of a function of L{os} fail."""
        calls: list[object] = []

        def replacement(*args: Any, **kwargs: Any) -> Any:
            calls.append(args)
            if len(calls) == failing + 1:
                raise OSError(28, "No space left on device")
            return real(*args, **kwargs)

        self.patch(os, name, replacement)

    def test_no_directory(self) -> None:
        """Where the directory is missing, it is named."""
        file = NewFile(self.directory / "no" / "a", b"", PUBLIC)
        error = self.assertRaises(CommandError, write_files, [file])
        self.assertEqual(str(error), f"{self.directory}/no: no such file or directory")
