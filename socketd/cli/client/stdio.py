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
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.cli.common.output import explained
from socketd.cli.transport.interfaces import IInputUser

#: Maximum bytes per read: the capacity of a Linux pipe, and what Twisted reads from a socket.
READ_BYTES = 64 * 1024

#: Maximum bytes per write to a regular file, which is always ready; Twisted offers no more at once
#: (C{FileDescriptor.SEND_LIMIT}).
FILE_WRITE_BYTES = 128 * 1024


class TextInput:
    """An input of fixed bytes."""

    is_terminal = False

    def __init__(self, text: bytes) -> None:
        """
        Store the bytes.

        @param text: the whole input.
        """
        self._text = text

    def start(self, user: IInputUser) -> None:
        """
        Deliver the whole input at once.

        @param user: the consumer of the input.
        """
        user.input_received(self._text)
        user.input_ended()

    def pause(self) -> None:
        """Do nothing: the input is already delivered."""

    def resume(self) -> None:
        """Do nothing: the input is already delivered."""


@implementer(IReadDescriptor)
class StandardInput:
    """Standard input, or another readable descriptor."""

    def __init__(self, reactor: Any, descriptor: int = 0) -> None:
        """
        Wrap the descriptor.

        @param reactor: reports readiness to read.
        @param descriptor: the file descriptor.
        """
        self.is_terminal = os.isatty(descriptor)
        self._reactor = reactor
        self._descriptor = descriptor
        self._is_open = True

    def start(self, user: IInputUser) -> None:
        """
        Start reading.

        @param user: the consumer of the input.
        """
        self._user = user
        self.resume()

    def pause(self) -> None:
        """Stop reading until L{resume}."""
        self._reactor.removeReader(self)

    def resume(self) -> None:
        """Resume reading, unless EOF was reached."""
        if self._is_open:
            self._reactor.addReader(self)

    def fileno(self) -> int:
        """Return the file descriptor, for the reactor."""
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
        self._user.input_received(data)
        return None

    def connectionLost(self, reason: Failure) -> None:
        self._is_open = False
        if isinstance(reason.value, OSError):
            self._user.input_failed(reason.value)
        else:
            self._user.input_ended()


class StandardOutput(FileDescriptor):
    """Standard output, or another writable descriptor."""

    def __init__(self, reactor: Any, descriptor: int = 1, ends_line: bool = False) -> None:
        """
        Wrap the descriptor.

        @param reactor: reports readiness to write.
        @param descriptor: the file descriptor.
        @param ends_line: whether to add a missing final line end, for the shell's prompt.
        """
        super().__init__(reactor)
        self._ends_line = ends_line
        self._last = b"\n"
        self.connected = 1
        self._descriptor = descriptor
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._most = FILE_WRITE_BYTES if is_file else select.PIPE_BUF
        self._finished: Deferred[None] = Deferred()

    def fileno(self) -> int:
        """Return the file descriptor, for the reactor."""
        return self._descriptor

    def finish(self) -> Deferred[None]:
        """
        Flush the buffer, then stop writing.

        @return: fires when all is written.
        """
        self.unregisterProducer()
        if self._ends_line and self._last != b"\n":
            self.write(b"\n")
        FileDescriptor.loseConnection(self)
        return self._finished

    def write(self, data: bytes) -> None:
        self._last = data[-1:] or self._last
        FileDescriptor.write(self, data)

    def writeSomeData(self, data: bytes) -> int | BaseException:
        try:
            return os.write(self._descriptor, data[: self._most])
        except BlockingIOError:
            return 0
        except OSError as error:
            return error

    def connectionLost(self, reason: Failure) -> None:
        FileDescriptor.connectionLost(self, reason)
        if reason.check(ConnectionDone):
            self._finished.callback(None)
        elif reason.check(ConnectionLost):
            # The reactor reports this way that the read end of a pipe is closed, before any EPIPE.
            self._finished.errback(Failure(BrokenPipeError()))
        elif isinstance(reason.value, OSError):
            self._finished.errback(Failure(explained(reason.value)))
        else:
            self._finished.errback(reason)
