"""
The outputs of the log: descriptor, file, syslog.

An output that cannot take a line raises OSError; the log counts the line as lost.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import syslog
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from constantly import NamedConstant
from twisted.logger import LogLevel
from twisted.python.logfile import LogFile
from twisted.python.syslog import SyslogObserver

#: A pipe that polls as writable takes so many bytes without blocking (pipe(7)).
PIPE_BUF = select.PIPE_BUF

#: Time budget for waiting on a full pipe or terminal (seconds), for all lines together ...
WAIT_BUDGET = 0.02

#: ... within this span (seconds): a slow reader must not slow the daemon down.
WAIT_SPAN = 1.0

#: Priorities of syslog(3), which journald reads as a line prefix (sd-daemon(3)).
PRIORITIES = {
    LogLevel.debug: syslog.LOG_DEBUG,
    LogLevel.info: syslog.LOG_INFO,
    LogLevel.warn: syslog.LOG_WARNING,
    LogLevel.error: syslog.LOG_ERR,
    LogLevel.critical: syslog.LOG_CRIT,
}

#: Writes a text of the given level.
Sink = Callable[[NamedConstant, str], None]


class DescriptorSink:
    """Writes lines to a descriptor, which may be a pipe without an active reader."""

    def __init__(
        self, descriptor: int, prioritised: bool = False, clock: Callable[[], float] = monotonic
    ) -> None:
        """@param prioritised: whether each line is prefixed with its priority."""
        self._descriptor = descriptor
        self._prioritised = prioritised
        self._clock = clock
        self._is_cut = False
        self._budget, self._since = WAIT_BUDGET, -WAIT_SPAN
        self._poll: select.poll | None = None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLOUT)

    def __call__(self, level: NamedConstant, text: str) -> None:
        """
        Write a text of one or more lines.

        @raise OSError: if it cannot be written, or only in part.
        """
        front = f"<{PRIORITIES[level]}>" if self._prioritised else ""
        data = "".join(f"{front}{line}\n" for line in text.split("\n"))
        if self._is_cut:
            data = "\n" + data
        self._write(data.encode("utf-8", "backslashreplace"))

    def _write(self, data: bytes) -> None:
        sent = 0
        try:
            while sent < len(data):
                self._wait()
                most = len(data) if self._poll is None else PIPE_BUF
                sent += os.write(self._descriptor, data[sent : sent + most])
        finally:
            if sent:
                self._is_cut = sent < len(data)

    def _wait(self) -> None:
        if self._poll is None or self._poll.poll(0):
            return
        began = self._clock()
        if began - self._since >= WAIT_SPAN:
            self._budget, self._since = WAIT_BUDGET, began
        has_room = self._budget > 0 and self._poll.poll(self._budget * 1000)
        self._budget -= self._clock() - began
        if not has_room:
            raise BlockingIOError


class WholeLines(LogFile):
    """
    A log file that raises after a partial write, and starts the next write on a new line.

    Another program may rotate it in either of logrotate's ways: a truncated file is
    appended to, and a moved or removed file is replaced by a new one.
    """

    _cut: Any = None
    _identity = (0, 0)
    _was_moved = False

    def _openFile(self) -> None:
        mode = 0o666 if self.defaultMode is None else self.defaultMode
        # If the path is a pipe, neither open nor write may block the daemon.
        more = os.O_NONBLOCK | os.O_NOCTTY
        is_new = not os.path.exists(self.path)
        how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | more
        file = open(os.open(self.path, how, mode), "ab", 0)
        if is_new and self.defaultMode is not None:
            os.fchmod(file.fileno(), self.defaultMode)
        found = os.fstat(file.fileno())
        self._file, self.closed = file, False
        self._identity, self.size = (found.st_dev, found.st_ino), found.st_size

    def write(self, data: bytes) -> None:
        """
        Write a line.

        @raise OSError: if it cannot be written, or only in part, as on a full disk.
        """
        is_ours = self._follow()
        if is_ours and self.shouldRotate():
            self.rotate()
        line = b"\n" + data if self._cut is self._file else data
        written = self._file.write(line)
        self.size += written
        self._cut = self._file if written < len(line) else None
        if self._cut is not None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __call__(self, level: NamedConstant, text: str) -> None:
        """Write a text of one or more lines; raise C{OSError} if it cannot be written."""
        self.write(f"{text}\n".encode("utf-8", "backslashreplace"))

    def turn_over(self) -> None:
        """
        Rotate the file, unless another program has moved it since the last call: then the
        signal only announces that rotation.
        """
        # If opening fails, the next line tries again, and counts as lost on failure.
        with suppress(OSError):
            is_ours = self._follow()
            was_moved, self._was_moved = self._was_moved, False
            if is_ours and not was_moved:
                self.rotate()

    def _follow(self) -> bool:
        """
        Reopen the file if the path no longer leads to the open one.

        @return: whether the open file is now the one at the path.
        @raise OSError: if it cannot be opened and the open file has been deleted.
        """
        if self._file.closed:
            # A rotation failed to open the next file.
            self._openFile()
        with suppress(OSError):
            found = os.stat(self.path)
            if (found.st_dev, found.st_ino) == self._identity:
                self.size = found.st_size
                return True
        old = self._file
        try:
            self._openFile()
        except OSError:
            if os.fstat(old.fileno()).st_nlink:
                return False
            raise
        old.close()
        self._was_moved = True
        return True


def syslog_sink(prefix: str) -> Sink:
    """Make what sends texts to syslog(3)."""
    log = SyslogObserver(prefix)
    return lambda level, text: log.syslog(PRIORITIES[level], text)
