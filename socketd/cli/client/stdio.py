"""
Standard input and output in the reactor.

Twisted's C{StandardIO} sets C{O_NONBLOCK}, which affects every process that shares the terminal or
pipe. Here the descriptors stay blocking: reads and writes happen only on readiness, and a write is
short enough for a ready pipe to take it without blocking.
"""

from __future__ import annotations

import os
import select
import stat
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface, implementer

from socketd.cli.common.output import explained
from socketd.common.errors import CommandError

#: Maximum bytes per read: the capacity of a Linux pipe, and what Twisted reads from a socket.
READ_BYTES = 64 * 1024

#: Maximum bytes per write to a regular file, which is always ready; Twisted offers no more at once
#: (C{FileDescriptor.SEND_LIMIT}).
FILE_WRITE_BYTES = 128 * 1024


class IInputReceiver(Interface):
    """What an input is read for."""

    def input_received(data: bytes) -> None:
        """At least one byte was read."""

    def input_ended() -> None:
        """EOF was reached."""

    def input_failed(error: Exception) -> None:
        """Reading failed; no more data follows."""


class IInput(IPushProducer, Interface):
    """The source of the bytes to send."""

    is_terminal: bool = Attribute("Whether a user types it.")

    def start(receiver: IInputReceiver) -> None:
        """Start reading."""


class IOutput(IConsumer, Interface):
    """The destination of the peer's data; its producer is stopped when a write fails."""

    def finish() -> Deferred[None]:
        """Flush, and close; fail with C{BrokenPipeError} for a closed pipe, or L{CommandError}."""


@implementer(IInput)
class TextInput:
    """An input of fixed bytes, which are delivered at once."""

    is_terminal = False

    def __init__(self, text: bytes) -> None:
        self._text = text

    def start(self, receiver: IInputReceiver) -> None:
        receiver.input_received(self._text)
        receiver.input_ended()

    def pauseProducing(self) -> None:
        pass

    resumeProducing = stopProducing = pauseProducing


@implementer(IInput, IReadDescriptor)
class StandardInput:
    """Standard input, or another readable descriptor."""

    def __init__(self, reactor: Any, descriptor: int = 0) -> None:
        self.is_terminal = os.isatty(descriptor)
        self._reactor = reactor
        self._descriptor = descriptor
        self._is_open = True

    def start(self, receiver: IInputReceiver) -> None:
        self._receiver = receiver
        self.resumeProducing()

    def pauseProducing(self) -> None:
        self._reactor.removeReader(self)

    def resumeProducing(self) -> None:
        if self._is_open:
            self._reactor.addReader(self)

    def stopProducing(self) -> None:
        self._is_open = False
        self.pauseProducing()

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "-"

    def doRead(self) -> Any:
        try:
            data = os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            return error
        if not data:
            return CONNECTION_DONE
        self._receiver.input_received(data)
        return None

    def connectionLost(self, reason: Failure) -> None:
        self._is_open = False
        if isinstance(reason.value, OSError):
            self._receiver.input_failed(CommandError(f"standard input: {reason.value.strerror}"))
        else:
            self._receiver.input_ended()


@implementer(IOutput)
class StandardOutput(FileDescriptor):
    """Standard output, or another writable descriptor."""

    def __init__(self, reactor: Any, descriptor: int = 1, ends_line: bool = False) -> None:
        """@param ends_line: whether to add a missing final line end, for the shell's prompt."""
        super().__init__(reactor)
        self.ends_line = ends_line
        self._last = b"\n"
        self.connected = 1
        self._descriptor = descriptor
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._max_write = FILE_WRITE_BYTES if is_file else select.PIPE_BUF
        self._finished: Deferred[None] = Deferred()

    def fileno(self) -> int:
        return self._descriptor

    def finish(self) -> Deferred[None]:
        self.unregisterProducer()
        if self.ends_line and self._last != b"\n":
            self.write(b"\n")
        self.loseConnection()
        return self._finished

    def write(self, data: bytes) -> None:
        self._last = data[-1:] or self._last
        super().write(data)

    def writeSomeData(self, data: bytes) -> int | BaseException:
        try:
            return os.write(self._descriptor, data[: self._max_write])
        except BlockingIOError:
            return 0
        except OSError as error:
            return error

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        if reason.check(ConnectionDone):
            self._finished.callback(None)
        elif reason.check(ConnectionLost):
            # The reactor reports this way that the read end of a pipe is closed, before any EPIPE.
            self._finished.errback(Failure(BrokenPipeError()))
        elif isinstance(reason.value, OSError):
            self._finished.errback(Failure(explained(reason.value)))
        else:
            self._finished.errback(reason)
