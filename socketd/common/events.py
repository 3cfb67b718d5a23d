"""The catalogue of events, and the event bus that delivers them to the log and to watchers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from string import Formatter
from typing import Any

from attrs import define, field, frozen
from constantly import NamedConstant
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

from socketd.common.system_clock import STEP_DOUBT

#: Rate limit for the log lines of each event that peers can cause: so many lines ...
MAX_LINES = 1000

#: ... in so many seconds; one line then has the number of suppressed lines.
INTERVAL = 10.0


@frozen
class Event:
    """
    A kind of event.

    @ivar name: its stable name.
    @ivar level: its log level.
    @ivar format: the log line, as a format string of C{twisted.logger}.
    @ivar rate_limited: whether its log lines are, because peers can cause it.
    @ivar extra_fields: the names of further fields, which the line does not show.
    """

    name: str
    level: NamedConstant
    format: str
    rate_limited: bool = False
    extra_fields: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of its fields: those of the line in their order, then the extra ones."""
        shown = [name for _, name, _, _ in Formatter().parse(self.format) if name]
        return tuple(dict.fromkeys((*shown, *self.extra_fields)))


_DEBUG, _INFO, _WARN, _ERROR = LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error

LISTENING = Event("listening", _INFO, "{service} listens on {listener}")
LISTENER_SKIPPED = Event(
    "listener_skipped", _WARN, "{service} skipped optional listener {listener}: {error}"
)
LISTENER_UNREACHABLE = Event(
    "listener_unreachable", _WARN, "{service} cannot be reached at {listener}: {error}"
)
STEERING_FAILED = Event(
    "steering_failed",
    _WARN,
    "sources are not steered to workers, the kernel's hash spreads them: {error}",
)
WORKER_SERVES = Event("worker_serves", _INFO, "worker {worker} serves (process {pid})")
WORKER_DIED = Event(
    "worker_died",
    _ERROR,
    "worker {worker} (process {pid}) died: {reason}; another one starts in {seconds} s",
)
WORKER_HUNG = Event(
    "worker_hung",
    _ERROR,
    "worker {worker} (process {pid}) has not answered for {seconds} s and is killed",
)
STOPPING = Event("stopping", _INFO, "stopping; {connections} connections to finish")
DRAIN_ENDED = Event("drain_ended", _WARN, "{connections} connections did not finish and are reset")
CONNECTION_MADE = Event(
    "connection_made", _INFO, "connection from {peer} ({service} {connection})", True, ("fault",)
)
CONNECTION_LOST = Event(
    "connection_lost",
    _INFO,
    "connection from {peer} ({service} {connection}) {reason}: {received} bytes in, {sent} out",
    True,
)
MESSAGE_RECEIVED = Event(
    "message_received", _INFO, "{host}:{text}", True, ("service", "peer", "connection")
)
REQUEST = Event("request", _INFO, "{peer} ({service} {connection}): {request}: {status}", True)
CONNECTIONS_REFUSED = Event(
    "connections_refused", _INFO, "{service} refused {count} connections ({reason}) in {seconds} s"
)
DATAGRAMS_DROPPED = Event(
    "datagrams_dropped", _INFO, "{service} dropped {count} datagrams ({reason}) in {seconds} s"
)
PROTOCOL_FAILED = Event("protocol_failed", _ERROR, "{service} failed for {peer}: {error}", True)
ACCEPT_FAILED = Event(
    "accept_failed",
    _WARN,
    "{service} cannot accept connections: {error}; retrying every {seconds} s",
)
DRAINING = Event("draining", _INFO, "draining; {connections} existing connections continue")
RESUMED = Event("resumed", _INFO, "accepting connections again")
RELOADED = Event("reloaded", _INFO, "reloaded: {changes}")
RELOAD_REFUSED = Event("reload_refused", _ERROR, "reload failed, configuration unchanged: {error}")
PROXY_REFUSED = Event(
    "proxy_refused", _DEBUG, "{service} rejected the PROXY header of {peer}: {error}", True
)
TLS_SECURED = Event(
    "tls_secured",
    _DEBUG,
    "TLS established with {peer} ({service} {connection}): {version} {cipher} {alpn} {client}",
    True,
)
TLS_FAILED = Event(
    "tls_failed", _DEBUG, "TLS handshake with {peer} failed ({service}): {reason}: {error}", True
)
CERTIFICATE_LOADED = Event(
    "certificate_loaded", _INFO, "{service} loaded new certificates, valid until {until}"
)
CERTIFICATE_REFUSED = Event(
    "certificate_refused", _ERROR, "{service} keeps its old certificates; {option}: {error}"
)
CERTIFICATE_INVALID = Event(
    "certificate_invalid",
    _ERROR,
    "{service} continues with an invalid certificate; {option}: {error}",
)
CLOCK_STEPPED = Event(
    "clock_stepped",
    _WARN,
    f"clock stepped by {{seconds}} s; NTP is marked unsynchronised for {STEP_DOUBT:.0f} s",
)
NTS_KEYS_MADE = Event(
    "nts_keys_made",
    _WARN,
    "{service} made new NTS keys in {file}: {reason}; cookies of others are not taken",
)
NTS_KEYS_RESTORED = Event(
    "nts_keys_restored", _WARN, "{service} wrote its NTS keys to {file} again: {reason}"
)
NTS_KEYS_ROTATED = Event("nts_keys_rotated", _INFO, "{service} rotated the NTS keys in {file}")
NTS_KEYS_UNSAVED = Event(
    "nts_keys_unsaved",
    _ERROR,
    "{service} has its NTS keys in memory only, and a restart would lose them; {file}: {error}",
)
FAULT_CHANGED = Event(
    "fault_changed", _INFO, "fault of {service}: {fault}", False, ("profile", "seed")
)
OPERATOR_ANSWERED = Event(
    "operator_answered", _INFO, "{who} to {peer} ({service} {connection}): {text}"
)
OPERATOR_COMMAND = Event("operator_command", _INFO, "{who}: {text}")
OPERATOR_CAME = Event("operator_came", _DEBUG, "{who} connected to the control socket", True)
OPERATOR_WENT = Event("operator_went", _DEBUG, "{who} disconnected from the control socket", True)
OPERATOR_REFUSED = Event(
    "operator_refused", _WARN, "{who} was refused at the control socket: {error}", True
)
LINES_LEFT_OUT = Event("lines_left_out", _WARN, "{count} more {kind} events not logged")
EVENTS_LEFT_OUT = Event(
    "events_left_out", _INFO, "{count} events of a worker were left out", False, ("service",)
)
LINES_LOST = Event("lines_lost", _WARN, "{count} lines of the log could not be written")

#: Every event, by name.
CATALOGUE = {event.name: event for event in tuple(globals().values()) if isinstance(event, Event)}

_LEVELS = tuple(LogLevel.iterconstants())


def timestamp(moment: float) -> str:
    """Format a time (seconds since 1970) as in RFC 3339, with milliseconds."""
    written = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return written.replace("+00:00", "Z")


def summary(event: Event, facts: Mapping[str, Any]) -> str:
    """Format an event for an operator: as logged, but a message with service and connection."""
    if event is not MESSAGE_RECEIVED:
        return event.format.format(**facts)
    service, number = facts["service"], facts.get("connection")
    name = service if number is None else f"{service} {number}"
    return f"message from {facts.get('peer', facts['host'])} ({name}): {facts['text']}"


@define(eq=False)
class EventBus:
    """
    Delivers events to the log and to watchers.

    @ivar clock: the clock of the rate limit.
    @ivar level: the lowest level that is logged.
    @ivar quiet: tells whether C{log_quiet} applies to a host; C{None}: to none.
    """

    clock: IReactorTime
    level: NamedConstant = LogLevel.info
    _log: Logger = Logger(namespace="socketd")
    quiet: Callable[[str], bool] | None = field(default=None, init=False)
    _watchers: list[Callable[[Event, dict[str, Any]], None]] = field(factory=list, init=False)
    _active: int = field(default=0, init=False)
    _on_watched: list[Callable[[], None]] = field(factory=list, init=False)
    _lines: dict[str, int] = field(factory=dict, init=False)

    @property
    def watched(self) -> bool:
        """Whether an active watcher is there, so that all events are emitted."""
        return bool(self._active)

    @property
    def heard(self) -> bool:
        """Whether there is a watcher."""
        return bool(self._watchers)

    def on_watched(self, changed: Callable[[], None]) -> None:
        """Call C{changed()} now, and whenever L{watched} or L{heard} may have changed."""
        self._on_watched.append(changed)
        changed()

    def off_watched(self, changed: Callable[[], None]) -> None:
        """Undo L{on_watched}."""
        self._on_watched.remove(changed)

    def watch(self, watcher: Callable[[Event, dict[str, Any]], None], active: bool = True) -> None:
        """
        Call C{watcher(event, facts)} for each event, logged or not.

        @param active: whether messages, and connections that are not logged, are events for its
            sake; each message then costs more.
        """
        self._watchers.append(watcher)
        self._active += active
        self._watched_changed()

    def unwatch(
        self, watcher: Callable[[Event, dict[str, Any]], None], active: bool = True
    ) -> None:
        """Undo L{watch}."""
        self._watchers.remove(watcher)
        self._active -= active
        self._watched_changed()

    def emit(self, event: Event, logged: bool = True, **facts: Any) -> None:
        """Deliver an event; C{logged}: whether it also goes to the log, besides the watchers."""
        for watcher in tuple(self._watchers):
            watcher(event, facts)
        if logged and self.has_line(event, facts):
            self._log.emit(event.level, event.format, event=event.name, **facts)

    def has_line(self, event: Event, facts: dict[str, Any]) -> bool:
        """Say whether an event is to be logged now, and count it."""
        if not self._is_logged(event) or self._is_suppressed(event, facts):
            return False
        return not event.rate_limited or self._is_within_limit(event)

    def delivers(self, event: Event) -> bool:
        """Say whether an event that is logged goes anywhere, so that its facts are needed."""
        return bool(self._watchers) or self._is_logged(event)

    def _is_logged(self, event: Event) -> bool:
        return _LEVELS.index(event.level) >= _LEVELS.index(self.level)

    def _watched_changed(self) -> None:
        for changed in self._on_watched:
            changed()

    def _is_suppressed(self, event: Event, facts: dict[str, Any]) -> bool:
        # Only what a peer can cause, and below warning.
        if self.quiet is None or not event.rate_limited or event.level >= LogLevel.warn:
            return False
        # Of 192.0.2.1:7 or [2001:db8::1]:7.
        host = facts.get("peer", "").rpartition(":")[0].removeprefix("[").removesuffix("]")
        return self.quiet(facts.get("host") or host)

    def _is_within_limit(self, event: Event) -> bool:
        if not self._lines:
            self.clock.callLater(INTERVAL, self._end_interval)
        count = self._lines[event.name] = self._lines.get(event.name, 0) + 1
        return count <= MAX_LINES

    def _end_interval(self) -> None:
        lines, self._lines = self._lines, {}
        for name, count in lines.items():
            if count > MAX_LINES:
                self.emit(LINES_LEFT_OUT, count=count - MAX_LINES, kind=name)
