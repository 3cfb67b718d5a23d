"""
The log: its formats (text, JSON) and its outputs (descriptor, file, syslog).

A log that cannot be written never stops the daemon: lost lines are counted, and the
count is logged as soon as the output accepts lines again.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import stat
import syslog
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

from constantly import NamedConstant
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    formatEventAsClassicLogText,
)
from twisted.python.logfile import LogFile
from twisted.python.syslog import SyslogObserver
from zope.interface import implementer

from socketd.access.addresses import packed
from socketd.access.networks import Networks
from socketd.common.events import CATALOGUE, timestamp
from socketd.settings.networks import Network

#: Limit for a message or a traceback in JSON (characters); the end is kept, because it
#: says most.
MAX_TEXT = 8 * 1024

#: A pipe that polls as writable takes so many bytes without blocking (pipe(7)).
PIPE_BUF = select.PIPE_BUF

#: Time budget for waiting on a full pipe or terminal (seconds), for all lines together ...
PATIENCE = 0.02

#: ... within this span (seconds): a slow reader must not slow the daemon down.
PATIENCE_SPAN = 1.0

#: The JSON event name of lines from Twisted and other libraries.
FOREIGN = "twisted"

#: twistd's default log file for a daemon in the background.
DEFAULT_FILE = "twistd.log"

#: Priorities of syslog(3), which journald reads as a line prefix (sd-daemon(3)).
PRIORITIES = {
    LogLevel.debug: syslog.LOG_DEBUG,
    LogLevel.info: syslog.LOG_INFO,
    LogLevel.warn: syslog.LOG_WARNING,
    LogLevel.error: syslog.LOG_ERR,
    LogLevel.critical: syslog.LOG_CRIT,
}

_STDOUT = 1

#: Formats an event; C{None} if it has no text.
Form = Callable[[LogEvent], str | None]

#: Writes a text of the given level.
Sink = Callable[[NamedConstant, str], None]


def as_text(event: LogEvent) -> str | None:
    """Format an event as twistd does: time, system, text and traceback."""
    text = formatEventAsClassicLogText(event)
    return None if text is None else text.removesuffix("\n")


def as_message(event: LogEvent) -> str | None:
    """Format an event for journald, which adds the time and the name itself."""
    text = formatEvent(event)
    if "log_failure" in event:
        text = f"{text}\n{_traceback(event)}".strip("\n")
    return text or None


def as_json(event: LogEvent) -> str | None:
    """Format an event as one JSON object, in one line of ASCII."""
    known = CATALOGUE.get(event.get("event", ""))
    message = formatEvent(event)
    if known is None and not message and "log_failure" not in event:
        return None
    found: dict[str, Any] = {
        "time": timestamp(event.get("log_time", 0.0)),
        "level": _level(event).name,
        "event": FOREIGN if known is None else known.name,
        "message": _cut(message),
    }
    if known is not None:
        found |= {name: event[name] for name in known.fields if name in event}
    if "log_failure" in event:
        found["traceback"] = _cut(_traceback(event))
    return json.dumps(found, separators=(",", ":"), default=str)


def _level(event: LogEvent) -> NamedConstant:
    return event.get("log_level") or LogLevel.info


def _traceback(event: LogEvent) -> str:
    return str(event["log_failure"].getTraceback()).rstrip("\n")


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else "..." + text[-MAX_TEXT:]


@implementer(ILogObserver)
class LineLog:
    """
    Log observer that formats events and passes them to a sink.

    @ivar lost: the number of events that could not be written.
    """

    def __init__(self, form: Form, sink: Sink) -> None:
        self._form = form
        self._sink = sink
        self.lost = 0

    def __call__(self, event: LogEvent) -> None:
        """Write an event. Never raises: there is nowhere left to report to."""
        try:
            text = self._form(event)
            if text is not None:
                self._sink(_level(event), text)
        except (OSError, ValueError):
            # ValueError: the file is closed.
            self.lost += 1


class DescriptorSink:
    """Writes lines to a descriptor, which may be a pipe without an active reader."""

    def __init__(
        self,
        descriptor: int,
        prioritised: bool = False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """
        @param prioritised: whether each line is prefixed with its priority.
        @param clock: a monotonic clock, which measures how long lines wait.
        """
        self._descriptor = descriptor
        self._prioritised = prioritised
        self._clock = clock
        self._is_cut = False
        self._patience, self._since = PATIENCE, -PATIENCE_SPAN
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
                sent += os.write(self._descriptor, data[sent : sent + self._most(data)])
        finally:
            if sent:
                self._is_cut = sent < len(data)

    def _most(self, data: bytes) -> int:
        return len(data) if self._poll is None else PIPE_BUF

    def _wait(self) -> None:
        if self._poll is None or self._poll.poll(0):
            return
        began = self._clock()
        if began - self._since >= PATIENCE_SPAN:
            self._patience, self._since = PATIENCE, began
        has_room = self._patience > 0 and self._poll.poll(self._patience * 1000)
        self._patience -= self._clock() - began
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
        found = _status(self.path)
        if found is not None and (found.st_dev, found.st_ino) == self._identity:
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


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


class FileSink:
    """Writes lines to the log file named by twistd's options."""

    def __init__(self, file: LogFile) -> None:
        self._file = file

    def __call__(self, level: NamedConstant, text: str) -> None:
        """
        Write a text.

        @raise OSError: if it cannot be written.
        """
        self._file.write(f"{text}\n".encode("utf-8", "backslashreplace"))


class SyslogSink:
    """Sends lines to syslog(3)."""

    def __init__(self, prefix: str) -> None:
        self._log = SyslogObserver(prefix)

    def __call__(self, level: NamedConstant, text: str) -> None:
        """Send a text to syslog."""
        self._log.syslog(PRIORITIES[level], text)


def goes_to_journal(environ: Mapping[str, str], descriptor: int = _STDOUT) -> bool:
    """
    Tell whether a descriptor is connected to journald: C{$JOURNAL_STREAM} has the device
    and inode of the stream that systemd set up (sd-daemon(3), systemd.exec(5)).
    """
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def make_observer(
    log_format: str, twistd: Mapping[str, Any], prioritised: bool, reactor: Any
) -> LineLog | None:
    """
    Make the log observer for the output that twistd's options select.

    @param log_format: C{text} or C{json}.
    @param twistd: the options of twistd itself.
    @param prioritised: whether standard output is read by journald.
    @return: C{None} where twistd's own observer is used.
    @raise OSError: if a log file cannot be opened.
    """
    is_json = log_format == "json"
    if twistd.get("syslog"):
        return LineLog(as_json, SyslogSink(twistd.get("prefix") or "")) if is_json else None
    file = twistd.get("logfile") or ("" if twistd.get("nodaemon") else DEFAULT_FILE)
    if file not in ("", "-"):
        return LineLog(as_json if is_json else as_text, _open(file, reactor))
    if not twistd.get("nodaemon"):
        # twistd itself rejects this combination.
        return None
    text = as_message if prioritised else as_text
    return LineLog(as_json if is_json else text, DescriptorSink(_STDOUT, prioritised))


def _open(name: str, reactor: Any) -> Sink:
    """
    Open a log file, and rotate it at SIGUSR1, as twistd does.

    A device or a pipe is not rotated, since that would replace it with a file.
    """
    if os.path.exists(name) and not os.path.isfile(name):
        return DescriptorSink(os.open(name, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY))
    file = WholeLines.fromFullPath(name)
    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(
            signal.SIGUSR1, lambda number, frame: reactor.callFromThread(file.turn_over)
        )
    return FileSink(file)


def quiet(networks: tuple[Network, ...]) -> Callable[[str], bool] | None:
    """
    Make a function that tells whether a host is in these networks; C{None} if there are none.
    """
    if not networks:
        return None
    found = Networks(networks, ())

    def is_quiet(host: str) -> bool:
        try:
            return found.admits(packed(host))
        except OSError:
            # Not an IP address: a peer of a UNIX socket.
            return False

    return is_quiet
