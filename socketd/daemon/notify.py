"""
State notification for systemd: sd_notify(3), and the watchdog of systemd.service(5).

Without C{$NOTIFY_SOCKET}, that is without systemd, nothing is sent.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall

from socketd.common.text import one_line
from socketd.common.timer import Timer
from socketd.daemon.daemon import Daemon
from socketd.daemon.state import State

#: Interval of C{STATUS=} (seconds): people read it, and each message wakes systemd.
STATUS_INTERVAL = 5.0

#: Interval in which a worker that did not answer at a sign of life is looked for (seconds): it may
#: be started again in between.
LOOK = 0.5

#: Limit for C{STATUS=} (characters): more than a terminal shows.
MAX_STATUS = 400

#: Interval of EXTEND_TIMEOUT_USEC messages, and the time that each requests (seconds):
#: one may be late or lost before systemd gives up on the stop.
EXTEND_INTERVAL, EXTENSION = 5.0, 15.0

#: Limit of messages that wait for room in systemd's queue. A change of state takes two;
#: the oldest are dropped, since they are outdated.
MAX_OWED = 8

#: Retry interval for waiting messages (seconds).
RETRY = 0.1

_SOCKET, _USEC, _PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"

_MICROSECONDS = 1_000_000

#: Digits accepted in a number of microseconds, which is an unsigned 64-bit integer: any
#: number of so many digits fits.
_DIGITS = 19


class Notifier:
    """
    Sends the messages of sd_notify(3). Errors are ignored, since the daemon can serve
    without systemd's attention.

    @ivar interval: the interval of watchdog pings (seconds), half of systemd's timeout;
        C{None} if the watchdog is off.
    """

    def __init__(self, environ: MutableMapping[str, str], clock: Any, pid: int) -> None:
        """
        Remove the variables from the environment, so that child processes do not notify
        in place of the daemon.

        @param clock: has C{seconds()}, from CLOCK_MONOTONIC, and C{callLater}.
        @param pid: the id of this process: C{$WATCHDOG_PID} may name another one.
        """
        self._clock = clock
        address = environ.pop(_SOCKET, "")
        period = _period(environ.pop(_USEC, ""), environ.pop(_PID, ""), pid)
        self._address = _read_address(address)
        self._sock = _make_socket() if self._address else None
        self.interval = None if self._sock is None or period is None else period / 2
        self._owed: deque[bytes] = deque(maxlen=MAX_OWED)
        self._retry = Timer(clock)
        self._said = ""

    @property
    def is_heard(self) -> bool:
        """Whether there is a socket to notify."""
        return self._sock is not None

    def ready(self, status: str) -> None:
        """Send READY=1: every listener is bound, or a reload has ended, successful or not."""
        self._state("READY=1", status)

    def reloading(self, status: str) -> None:
        """
        Send RELOADING=1. MONOTONIC_USEC is required: systemd compares it with the time of
        its SIGHUP, and would otherwise never see the reload as a reply to the signal.
        """
        now = int(self._clock.seconds() * _MICROSECONDS)
        self._state(f"RELOADING=1\nMONOTONIC_USEC={now}", status)

    def stopping(self, status: str) -> None:
        """Send STOPPING=1, which is final."""
        self._state("STOPPING=1", status)

    def status(self, text: str) -> None:
        """Send STATUS=, unless it is unchanged."""
        line = status_line(text)
        if line != self._said:
            self._said = line
            self._send(f"STATUS={line}")

    def alive(self) -> None:
        """Send WATCHDOG=1. Not retried on EAGAIN; the next ping follows."""
        self._try(b"WATCHDOG=1")

    def extend(self, seconds: float) -> None:
        """Send EXTEND_TIMEOUT_USEC: so long systemd waits for the next message, in all cases."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * _MICROSECONDS)}")

    def close(self) -> None:
        """Close the socket; nothing is sent any more."""
        self._retry.stop()
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _state(self, message: str, status: str) -> None:
        self._said = status_line(status)
        self._send(f"{message}\nSTATUS={self._said}")

    def _send(self, message: str) -> None:
        self._owed.append(message.encode("utf-8", "replace"))
        if not self._retry.is_running:
            self._flush()

    def _flush(self) -> None:
        """Send the queued messages in order until the socket would block."""
        while self._owed and self._try(self._owed[0]):
            self._owed.popleft()
        if self._owed:
            self._retry.start(RETRY, self._flush)

    def _try(self, message: bytes) -> bool:
        """@return: whether the message was sent or cannot be; C{False}: it would block."""
        if self._sock is not None:
            try:
                # Not connected, because the receiver may close the socket and create it again.
                self._sock.sendto(message, self._address)
            except BlockingIOError:
                return False
            except OSError:
                pass
        return True


class NotifyService(Service):
    """
    Notifies systemd of the daemon's states, from start to the end of the shutdown.

    It must be started before the daemon, and stopped after it.
    """

    def __init__(self, reactor: Any, daemon: Daemon, notifier: Notifier) -> None:
        self._daemon = daemon
        self._notifier = notifier
        self._detail = ""
        # The watchdog runs on the reactor, so that systemd notices when that hangs.
        self._alive = _loop(reactor, self._show_life)
        self._status = _loop(reactor, lambda: notifier.status(self._status_text()))
        self._extend = _loop(reactor, lambda: notifier.extend(EXTENSION))
        if notifier.is_heard:
            daemon.on_state(self._entered)

    def startService(self) -> None:
        super().startService()
        if self._notifier.interval is not None:
            self._alive.start(self._notifier.interval)
        if self._notifier.is_heard:
            self._status.start(STATUS_INTERVAL, now=False)

    def stopService(self) -> None:
        super().stopService()
        for loop in (self._alive, self._status, self._extend):
            if loop.running:
                loop.stop()
        self._notifier.close()

    def _show_life(self) -> None:
        interval = self._notifier.interval or LOOK
        if self._daemon.is_alive:
            self._notifier.alive()
        else:
            # By the next sign systemd would have lost patience.
            interval = min(interval, LOOK)
        self._alive.interval = interval

    def _entered(self, state: str, detail: str) -> None:
        self._detail = detail
        text = self._status_text()
        if state == State.SERVING:
            self._notifier.ready(text)
        elif state == State.RELOADING:
            self._notifier.reloading(text)
        elif state == State.STOPPING:
            self._notifier.stopping(text)
            if not self._extend.running:
                self._extend.start(EXTEND_INTERVAL)
        else:
            self._notifier.status(text)

    def _status_text(self) -> str:
        # The summary is first, because the detail may be long.
        return "; ".join(filter(None, (self._daemon.snapshot().summary, self._detail)))


def status_line(text: str) -> str:
    """Make a text fit for a message, where a newline would end the assignment."""
    line = one_line(text)
    return line if len(line) <= MAX_STATUS else f"{line[:MAX_STATUS - 3]}..."


def _read_address(text: str) -> str:
    """
    Parse the address: a path, or C{@} and the name of an abstract socket (unix(7)).

    @return: the empty string if it is not one of a UNIX socket.
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
    Parse the variables of the watchdog (sd_watchdog_enabled(3)).

    @return: the timeout (seconds); C{None} if it is off, or for another process.
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
