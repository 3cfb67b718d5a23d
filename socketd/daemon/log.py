"""
The log: its formats (text, JSON), and the choice of its output.

A log that cannot be written never stops the daemon: lost lines are counted, and the
count is logged as soon as the output accepts lines again.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

from constantly import NamedConstant
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    formatEventAsClassicLogText,
)
from zope.interface import implementer

from socketd.access.addresses import packed
from socketd.access.networks import Networks
from socketd.common.events import CATALOGUE, timestamp
from socketd.daemon.log_outputs import DescriptorSink, Sink, WholeLines, syslog_sink
from socketd.settings.networks import Network

#: Limit for a message or a traceback in JSON (characters); the end is kept, because it
#: says most.
MAX_TEXT = 8 * 1024

#: The JSON event name of lines from Twisted and other libraries.
FOREIGN = "twisted"

#: twistd's default log file for a daemon in the background.
DEFAULT_FILE = "twistd.log"

#: The descriptors of standard output and standard error.
STDOUT, STDERR = 1, 2

#: Formats an event; C{None} if it has no text.
Formatter = Callable[[LogEvent], str | None]


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
    declared = CATALOGUE.get(event.get("event", ""))
    message = formatEvent(event)
    if declared is None and not message and "log_failure" not in event:
        return None
    found: dict[str, Any] = {
        "time": timestamp(event.get("log_time", 0.0)),
        "level": _level(event).name,
        "event": FOREIGN if declared is None else declared.name,
        "message": _cut(message),
    }
    if declared is not None:
        found |= {name: event[name] for name in declared.fields if name in event}
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

    def __init__(self, formatter: Formatter, sink: Sink) -> None:
        self._format = formatter
        self._sink = sink
        self.lost = 0

    def __call__(self, event: LogEvent) -> None:
        """Write an event. Never raises: there is nowhere left to report to."""
        try:
            text = self._format(event)
            if text is not None:
                self._sink(_level(event), text)
        except (OSError, ValueError):
            # ValueError: the file is closed.
            self.lost += 1


def goes_to_journal(environ: Mapping[str, str], descriptor: int = STDOUT) -> bool:
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
    log_format: str,
    twistd: Mapping[str, Any],
    prioritised: bool,
    reactor: Any,
    descriptor: int = STDOUT,
) -> LineLog | None:
    """
    Make the log observer for the output that twistd's options select.

    @param prioritised: whether the descriptor is read by journald.
    @param descriptor: the output that is used if twistd's options select none.
    @return: C{None} where twistd's own observer is used.
    @raise OSError: if a log file cannot be opened.
    """
    is_json = log_format == "json"
    if twistd.get("syslog"):
        return LineLog(as_json, syslog_sink(twistd.get("prefix") or "")) if is_json else None
    file = twistd.get("logfile") or ("" if twistd.get("nodaemon") else DEFAULT_FILE)
    if file not in ("", "-"):
        return LineLog(as_json if is_json else as_text, _open(file, reactor))
    if not twistd.get("nodaemon"):
        # twistd itself rejects this combination.
        return None
    text = as_message if prioritised else as_text
    return LineLog(as_json if is_json else text, DescriptorSink(descriptor, prioritised))


def _open(name: str, reactor: Any) -> Sink:
    """
    Open a log file, and rotate it at SIGUSR1, as twistd does.

    A device or a pipe is not rotated, since that would replace it with a file.
    """
    if os.path.exists(name) and not os.path.isfile(name):
        return DescriptorSink(os.open(name, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY))
    file: WholeLines = WholeLines.fromFullPath(name)
    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, lambda number, frame: reactor.callFromThread(file.turn_over))
    return file


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
