"""Reads foreign configuration files, with bounds; never writes them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from attrs import define

from socketd.common.errors import reason_of

#: Maximum file size in bytes, far above any super-server's configuration; bound, in case the path
#: names some other large file.
MAX_FILE_BYTES = 1024 * 1024

#: Maximum number of files; a directory has some dozens. Bounds files that include others
#: repeatedly.
MAX_FILES = 1000

#: Maximum include depth, usually one; bounds a file that includes itself.
MAX_DEPTH = 16


class UnreadableError(Exception):
    """A file or directory cannot be read; the text is the reason."""


@define
class SourceFiles:
    """Reads files, with a limit on their number."""

    count: int = 0

    def lines(self, path: str) -> list[str]:
        """Read the lines of a file; bytes that are not UTF-8 become surrogate escapes."""
        self.count += 1
        if self.count > MAX_FILES:
            raise UnreadableError(f"more than {MAX_FILES} files")
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise UnreadableError("not a regular file")
            with Path(path).open("rb") as stream:
                content = stream.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError) as error:
            raise UnreadableError(reason_of(error)) from error
        if len(content) > MAX_FILE_BYTES:
            raise UnreadableError(f"larger than {MAX_FILE_BYTES} bytes")
        text = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        return [line.rstrip("\r") for line in text.split("\n")]

    def names(self, directory: str) -> list[str]:
        """List a directory, sorted as in the C locale, or raise L{UnreadableError}."""
        try:
            return sorted(os.listdir(directory), key=os.fsencode)
        except (OSError, ValueError) as error:
            raise UnreadableError(reason_of(error)) from error
