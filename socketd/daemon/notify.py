"""
What systemd is told of the daemon: sd_notify(3), and the watchdog of systemd.service(5).

Without systemd there is no C{$NOTIFY_SOCKET}, and all of this is silent.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.task import LoopingCall

from socketd.daemon.daemon import RELOADING, SERVING, STOPS

#: Seconds between two lines of C{STATUS=}: somebody reads them, and each one wakes systemd.
STATUS_INTERVAL = 5.0

#: Characters of C{STATUS=}: more than a terminal shows of it.
MAX_STATUS = 400

#: Seconds between two requests for more time, and how much each one asks for: one
#: may come late or get lost before systemd gives up on the stop.
EXTEND_INTERVAL, EXTENSION = 5.0, 15.0

#: Messages that wait for room in systemd's queue. A state is two of them; the oldest
#: ones are of no use any more.
MAX_OWED = 8

#: Seconds until what waits is tried again.
RETRY = 0.1

_SOCKET, _USEC, _PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"

_MICROSECONDS = 1_000_000

#: A number of microseconds is an unsigned 64-bit one; this is the longest that fits.
_DIGITS = 19


class Subject(Protocol):
    """
    What is reported: the daemon.
    """

    def on_state(self, callback: Callable[[str, str], None]) -> None:
        """
        Call C{callback(state, detail)} whenever the state changes.
        """

    def summary(self) -> str:
        """
        Say in a line how the daemon is.
        """


class Notifier:
    """
    The messages of sd_notify(3). Whatever goes wrong with them is ignored: the daemon
    serves all the same.

    @ivar interval: seconds between two signs of life, half of what systemd waits for
        one; C{None} where it waits for none.
    """

    def __init__(self, environ: MutableMapping[str, str], clock: Any, pid: int) -> None:
        """
        Take the variables out of the environment, so that no other program is told to
        speak for this one.

        @param environ: the environment of the process.
        @param clock: CLOCK_MONOTONIC as C{seconds()}, and C{callLater}.
        @param pid: the number of the process: the watchdog may be meant for another.
        """
        self._clock = clock
        address = environ.pop(_SOCKET, "")
        period = _period(environ.pop(_USEC, ""), environ.pop(_PID, ""), pid)
        self._address = _read_address(address)
        self._sock = _make_socket() if self._address else None
        self.interval = None if self._sock is None or period is None else period / 2
        self._owed: deque[bytes] = deque(maxlen=MAX_OWED)
        self._retry: Any = None
        self._said: tuple[str, float] | None = None

    @property
    def is_heard(self) -> bool:
        """
        Whether anybody listens.
        """
        return self._sock is not None

    def ready(self, status: str) -> None:
        """
        Every listener is bound; or the reload has ended, well or not.
        """
        self._state("READY=1", status)

    def reloading(self, status: str) -> None:
        """
        The configuration is read anew. systemd compares the time with that of its
        signal, and without it would wait for the answer to that signal for ever.
        """
        now = int(self._clock.seconds() * _MICROSECONDS)
        self._state(f"RELOADING=1\nMONOTONIC_USEC={now}", status)

    def stopping(self, status: str) -> None:
        """
        The daemon stops. Nothing takes this back.
        """
        self._state("STOPPING=1", status)

    def status(self, text: str) -> None:
        """
        Say in words how the daemon is, unless these are the words of the last time, or
        that was less than L{STATUS_INTERVAL} ago.
        """
        line, now = one_line(text), self._clock.seconds()
        if self._said is not None:
            said, when = self._said
            if said == line or now - when < STATUS_INTERVAL:
                return
        self._said = line, now
        self._send(f"STATUS={line}")

    def alive(self) -> None:
        """
        Keep the watchdog quiet. A sign of life that finds no room is not repeated: the
        next one comes by itself.
        """
        self._try(b"WATCHDOG=1")

    def extend(self, seconds: float) -> None:
        """
        Ask systemd to wait for the next message so long, however long that takes in all.
        """
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * _MICROSECONDS)}")

    def close(self) -> None:
        """
        Say nothing more.
        """
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _state(self, message: str, status: str) -> None:
        line = one_line(status)
        self._said = line, self._clock.seconds()
        self._send(f"{message}\nSTATUS={line}")

    def _send(self, message: str) -> None:
        if self._sock is None:
            return
        self._owed.append(message.encode("utf-8", "replace"))
        if self._retry is None:
            self._flush()

    def _flush(self) -> None:
        """
        Send in order what is owed, as far as there is room.
        """
        self._retry = None
        while self._owed and self._try(self._owed[0]):
            self._owed.popleft()
        if self._owed:
            self._retry = self._clock.callLater(RETRY, self._flush)

    def _try(self, message: bytes) -> bool:
        """
        @return: whether the message has been sent, or never will be.
        """
        if self._sock is not None:
            try:
                # Not connected: whoever listens may close the socket and make it anew.
                self._sock.sendto(message, self._address)
            except BlockingIOError:
                return False
            except OSError:
                pass
        return True


class NotifyService(Service):
    """
    Tells systemd what happens to the daemon, for as long as that takes.

    It has to be started before the daemon, and stopped after it.
    """

    def __init__(self, reactor: Any, daemon: Subject, notifier: Notifier) -> None:
        """
        @param reactor: runs the timers; the signs of life come from it, because a
            daemon whose reactor hangs is not alive.
        @param daemon: what is reported.
        @param notifier: what reports it.
        """
        self._daemon = daemon
        self._notifier = notifier
        self._detail = ""
        self._alive = _loop(reactor, notifier.alive)
        self._status = _loop(reactor, self._say)
        self._extend = _loop(reactor, self._ask_for_time)
        if notifier.is_heard:
            daemon.on_state(self._entered)

    def startService(self) -> None:
        """
        Give signs of life, and say in words how the daemon is.
        """
        super().startService()
        if self._notifier.interval is not None:
            self._alive.start(self._notifier.interval)
        if self._notifier.is_heard:
            self._status.start(STATUS_INTERVAL, now=False)

    def stopService(self) -> None:
        """
        Say nothing more.
        """
        super().stopService()
        for loop in (self._alive, self._status, self._extend):
            if loop.running:
                loop.stop()
        self._notifier.close()

    def _entered(self, state: str, detail: str) -> None:
        self._detail = detail
        if state == SERVING:
            self._notifier.ready(self._words())
        elif state == RELOADING:
            self._notifier.reloading(self._words())
        elif state == STOPS:
            self._notifier.stopping(self._words())
            if not self._extend.running:
                self._extend.start(EXTEND_INTERVAL)
        else:
            self._notifier.status(self._words())

    def _words(self) -> str:
        """
        Put the summary first: the detail may be long.
        """
        return "; ".join(filter(None, (self._daemon.summary(), self._detail)))

    def _say(self) -> None:
        self._notifier.status(self._words())

    def _ask_for_time(self) -> None:
        self._notifier.extend(EXTENSION)


def one_line(text: str) -> str:
    """
    Make a line that can stand in a message: each message is lines.
    """
    line = "".join(character if character.isprintable() else " " for character in text)
    return line if len(line) <= MAX_STATUS else f"{line[:MAX_STATUS - 3]}..."


def _read_address(text: str) -> str:
    """
    Read the address of the socket.

    @param text: a path; with an at sign in front an abstract one (unix(7)).
    @return: the empty string where it is none of a UNIX socket.
    """
    if not text.startswith(("/", "@")) or "\0" in text:
        return ""
    return f"\0{text[1:]}" if text[0] == "@" else text


def _make_socket() -> socket.socket | None:
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    except OSError:
        return None
    sock.setblocking(False)
    return sock


def _period(text: str, wanted: str, pid: int) -> float | None:
    """
    Read the variables of the watchdog (sd_watchdog_enabled(3)).

    @return: seconds; C{None} where it is off, or meant for another process.
    """
    if wanted not in ("", str(pid)):
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS) or int(text) == 0:
        return None
    return int(text) / _MICROSECONDS


def _loop(reactor: Any, function: Callable[[], None]) -> LoopingCall:
    loop = LoopingCall(function)
    loop.clock = reactor
    return loop
