"""
How the log is written: as lines for people or for programs, and to where.

A log that cannot be written costs lines, never the daemon: what is lost is counted, and
told once there is room.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import stat
import syslog
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

from constantly import NamedConstant
from twisted.application.service import Service
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

from socketd.access.rates import Networks, packed
from socketd.common.counters import Counters
from socketd.common.events import (
    CATALOGUE,
    CONNECTIONS_REFUSED,
    DATAGRAMS_DROPPED,
    INTERVAL,
    LINES_LOST,
    EventBus,
    timestamp,
)
from socketd.settings.networks import Network

#: Characters of a line that is not ours, or of a traceback, in JSON; its end says most.
MAX_TEXT = 8 * 1024

#: A pipe that has room for anything takes so many bytes without waiting (pipe(7)).
PIPE_BUF = select.PIPE_BUF

#: How long lines wait for a pipe or terminal that is full (seconds), in all of them
#: together ...
PATIENCE = 0.02

#: ... in so many seconds: who reads slowly must not make the daemon as slow.
PATIENCE_SPAN = 1.0

#: The name in JSON of all that Twisted and others log.
FOREIGN = "twisted"

#: twistd's own name for the log of a daemon that is in the background.
DEFAULT_FILE = "twistd.log"

#: Priorities of syslog(3), as journald reads them in front of a line (sd-daemon(3)).
PRIORITIES = {
    LogLevel.debug: syslog.LOG_DEBUG,
    LogLevel.info: syslog.LOG_INFO,
    LogLevel.warn: syslog.LOG_WARNING,
    LogLevel.error: syslog.LOG_ERR,
    LogLevel.critical: syslog.LOG_CRIT,
}

_STDOUT = 1

#: Makes the text of an event; C{None} where it has none.
Form = Callable[[LogEvent], str | None]

#: Takes a text of that level.
Sink = Callable[[NamedConstant, str], None]


def as_text(event: LogEvent) -> str | None:
    """
    Write an event for people, as twistd does: time, system, text, and a traceback.
    """
    text = formatEventAsClassicLogText(event)
    return None if text is None else text.removesuffix("\n")


def as_message(event: LogEvent) -> str | None:
    """
    Write an event for a journal that adds the time and the name itself.
    """
    text = formatEvent(event)
    if "log_failure" in event:
        text = f"{text}\n{_traceback(event)}".strip("\n")
    return text or None


def as_json(event: LogEvent) -> str | None:
    """
    Write an event as one JSON object, in one line of ASCII.
    """
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
    Takes the log of Twisted, and hands lines on.

    @ivar lost: how many could not be written.
    """

    def __init__(self, form: Form, sink: Sink) -> None:
        self._form = form
        self._sink = sink
        self.lost = 0

    def __call__(self, event: LogEvent) -> None:
        """
        Write an event; nothing is raised, since the log is the last to hear of it.
        """
        try:
            text = self._form(event)
            if text is not None:
                self._sink(_level(event), text)
        except (OSError, ValueError):
            # ValueError: the file is closed.
            self.lost += 1


class DescriptorSink:
    """
    Writes lines to a descriptor that may be a pipe which nobody reads.
    """

    def __init__(
        self,
        descriptor: int,
        prioritised: bool = False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """
        @param prioritised: whether each line begins with its priority.
        @param clock: tells how long lines have waited.
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
        Write a text, of one line or several.

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
    A log file that says when a line was written only in part, and goes on behind it.

    Another program may rotate it, too, in one of logrotate's ways: a file that was cut
    is appended to, and one that was moved or removed is followed by a new one.
    """

    _cut: Any = None
    _identity = (0, 0)
    _was_moved = False

    def _openFile(self) -> None:
        mode = 0o666 if self.defaultMode is None else self.defaultMode
        # A pipe that was put there must not keep the daemon waiting.
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

        @raise OSError: if it cannot be written, or only in part, as on a disk that is
            getting full.
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
        Begin a new file, unless another program has done that since the last time: then
        this is how it says so.
        """
        # What cannot be opened is tried again, and counted, with the next line.
        with suppress(OSError):
            is_ours = self._follow()
            was_moved, self._was_moved = self._was_moved, False
            if is_ours and not was_moved:
                self.rotate()

    def _follow(self) -> bool:
        """
        Open the file that is at the path, where that is not the open one.

        @return: whether that could be done.
        @raise OSError: if it could not, and no file is open that still has a name.
        """
        if self._file.closed:
            # A rotation could not open the next file.
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
    """
    Writes lines to a log file that twistd was told to have.
    """

    def __init__(self, file: LogFile) -> None:
        self._file = file

    def __call__(self, level: NamedConstant, text: str) -> None:
        """
        Write a text.

        @raise OSError: if it cannot be written.
        """
        self._file.write(f"{text}\n".encode("utf-8", "backslashreplace"))


class SyslogSink:
    """
    Hands lines to syslog(3).
    """

    def __init__(self, prefix: str) -> None:
        self._log = SyslogObserver(prefix)

    def __call__(self, level: NamedConstant, text: str) -> None:
        """
        Hand a text on.
        """
        self._log.syslog(PRIORITIES[level], text)


def goes_to_journal(environ: Mapping[str, str], descriptor: int = _STDOUT) -> bool:
    """
    Say whether what is written to a descriptor goes to journald: systemd names device
    and inode of the stream that it has set up (sd-daemon(3), systemd.exec(5)).
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
    Make what takes the log, to where twistd was told to write it.

    @param log_format: C{text} or C{json}.
    @param twistd: the options of twistd itself.
    @param prioritised: whether journald reads what is written to standard output.
    @return: C{None} where twistd's own does it.
    @raise OSError: if a log file cannot be opened.
    """
    is_json = log_format == "json"
    if twistd.get("syslog"):
        return LineLog(as_json, SyslogSink(twistd.get("prefix") or "")) if is_json else None
    file = twistd.get("logfile") or ("" if twistd.get("nodaemon") else DEFAULT_FILE)
    if file not in ("", "-"):
        return LineLog(as_json if is_json else as_text, _open(file, reactor))
    if not twistd.get("nodaemon"):
        # twistd refuses that itself.
        return None
    text = as_message if prioritised else as_text
    return LineLog(as_json if is_json else text, DescriptorSink(_STDOUT, prioritised))


def _open(name: str, reactor: Any) -> Sink:
    """
    Open a log file, and have SIGUSR1 begin a new one, as twistd does.

    A device or a pipe is written to as it is: rotation would put a file in its place.
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
    Make what says of a host whether it is in these networks; C{None} if there are none.
    """
    if not networks:
        return None
    found = Networks(networks, ())

    def is_quiet(host: str) -> bool:
        try:
            return found.admits(packed(host))
        except OSError:
            # That of a UNIX socket.
            return False

    return is_quiet


class Summaries(Service):
    """
    Tells now and then what was refused and dropped: a line for each service and reason,
    however often it happened.
    """

    def __init__(
        self,
        event_bus: EventBus,
        counters_by_service: Callable[[], Iterable[tuple[str, Counters]]],
        lost: Callable[[], int] = lambda: 0,
    ) -> None:
        """
        @param counters_by_service: gives each service's name and counts.
        @param lost: gives how many lines of the log could not be written.
        """
        self.setName("summaries")
        self._event_bus = event_bus
        self._tallies = counters_by_service
        self._lost = lost
        self._told = 0
        self._refused: dict[str, Counter[str]] = {}
        self._dropped: dict[str, Counter[str]] = {}
        self._call: Any = None

    def startService(self) -> None:
        """
        Begin to look.
        """
        super().startService()
        self._call = self._event_bus.clock.callLater(INTERVAL, self._look)

    def stopService(self) -> None:
        """
        Tell what there is to tell, for the last time.
        """
        super().stopService()
        if self._call is not None:
            self._call.cancel()
            self._call = None
            self._report()

    def _look(self) -> None:
        self._report()
        self._call = self._event_bus.clock.callLater(INTERVAL, self._look)

    def _report(self) -> None:
        event_bus, span = self._event_bus, round(INTERVAL)
        for name, counters in self._tallies():
            for reason, count in _news(self._refused, name, counters.refused):
                facts: dict[str, Any] = {"service": name, "count": count, "reason": reason}
                event_bus.emit(CONNECTIONS_REFUSED, seconds=span, **facts)
            for reason, count in _news(self._dropped, name, counters.datagrams_dropped):
                facts = {"service": name, "count": count, "reason": reason}
                event_bus.emit(DATAGRAMS_DROPPED, seconds=span, **facts)
        self._report_lost()

    def _report_lost(self) -> None:
        lost = self._lost()
        if lost > self._told:
            self._event_bus.emit(LINES_LOST, count=lost - self._told)
            if self._lost() == lost:
                self._told = lost


def _news(
    known: dict[str, Counter[str]], name: str, counts: Counter[str]
) -> Iterator[tuple[str, int]]:
    """
    List what has come to some counts since they were last looked at.
    """
    before = known.get(name, Counter())
    known[name] = counts.copy()
    yield from sorted((counts - before).items())
