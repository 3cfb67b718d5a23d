"""
Files of somebody else's configuration: read with bounds, never written.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from attrs import define, field

MAX_FILE_BYTES = 1024 * 1024
"""
No configuration of a super-server comes near; a wrong path may name a film.
"""

MAX_FILES = 1000
"""
A directory has some dozens. Files that include others twice would else be read without end.
"""

MAX_DEPTH = 16
"""
One file includes a directory as a rule; a file that includes itself has to end.
"""


class UnreadableError(Exception):
    """
    A file that cannot be read; the text says why.
    """


@define
class SourceFiles:
    """
    Reads files, and counts them.

    @ivar count: how many were read.
    """

    count: int = field(default=0)

    def lines(self, path: str) -> list[str]:
        """
        Read a file.

        @return: its lines, without their ends; what is not UTF-8 is kept as it can be.
        @raise UnreadableError: where it cannot be read.
        """
        self.count += 1
        if self.count > MAX_FILES:
            raise UnreadableError(f"is one file too many: {MAX_FILES} are read at most")
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise UnreadableError("is not a regular file")
            with Path(path).open("rb") as stream:
                content = stream.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError) as error:
            raise UnreadableError(f"cannot be read: {reason(error)}") from error
        if len(content) > MAX_FILE_BYTES:
            raise UnreadableError(f"is larger than {MAX_FILE_BYTES} bytes")
        text = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        return [line.rstrip("\r") for line in text.split("\n")]

    def names(self, directory: str) -> list[str]:
        """
        List a directory.

        @return: the names, in the order of the C locale.
        @raise UnreadableError: where it cannot be read.
        """
        try:
            return sorted(os.listdir(directory), key=os.fsencode)
        except (OSError, ValueError) as error:
            raise UnreadableError(f"cannot be read: {reason(error)}") from error


def reason(error: OSError | ValueError) -> str:
    """
    Say in words why a file cannot be read.

    @param error: what was raised; C{ValueError} is for a path that no system takes.
    """
    return (getattr(error, "strerror", None) or str(error)).lower()
