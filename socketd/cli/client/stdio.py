"""
Standard input and output in the reactor.

Twisted's own C{StandardIO} sets C{O_NONBLOCK}, which a terminal or a pipe shares with every other
process that has it open. Here the descriptors stay as they are: a read follows only on readiness,
and what is written at once is so short that a ready pipe takes it whole.
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

READ_BYTES = 64 * 1024
"""
At most this much per read: what a Linux pipe holds, and as much as Twisted reads from a socket.
"""

FILE_WRITE_BYTES = 128 * 1024
"""
At most this much per write to a regular file, which is always ready: C{FileDescriptor.SEND_LIMIT},
the most that Twisted offers at once.
"""


class TextInput:
    """
    An input that is known beforehand.
    """

    is_terminal = False

    def __init__(self, text: bytes) -> None:
        """
        Hold the input.

        @param text: all of it.
        """
        self._text = text

    def start(self, user: IInputUser) -> None:
        """
        Hand all of it over.

        @param user: who takes it.
        """
        user.input_received(self._text)
        user.input_ended()

    def pause(self) -> None:
        """
        Do nothing: all is handed over.
        """

    def resume(self) -> None:
        """
        Do nothing: all is handed over.
        """


@implementer(IReadDescriptor)
class StandardInput:
    """
    Standard input, or another descriptor that is read.
    """

    def __init__(self, reactor: Any, descriptor: int = 0) -> None:
        """
        Wrap the descriptor.

        @param reactor: what tells when there is something to read.
        @param descriptor: its number.
        """
        self.is_terminal = os.isatty(descriptor)
        self._reactor = reactor
        self._descriptor = descriptor
        self._is_open = True

    def start(self, user: IInputUser) -> None:
        """
        Begin to read.

        @param user: who takes what is read.
        """
        self._user = user
        self.resume()

    def pause(self) -> None:
        """
        Read nothing until L{resume}.
        """
        self._reactor.removeReader(self)

    def resume(self) -> None:
        """
        Read on, where the end was not met yet.
        """
        if self._is_open:
            self._reactor.addReader(self)

    def fileno(self) -> int:
        """
        The number of the descriptor, for the reactor.
        """
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
    """
    Standard output, or another descriptor that is written.
    """

    def __init__(self, reactor: Any, descriptor: int = 1, ends_line: bool = False) -> None:
        """
        Wrap the descriptor.

        @param reactor: what tells when it can be written.
        @param descriptor: its number.
        @param ends_line: whether a last line without an end gets one, for the prompt of a shell.
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
        """
        The number of the descriptor, for the reactor.
        """
        return self._descriptor

    def finish(self) -> Deferred[None]:
        """
        Write what is left, then nothing more.

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
            # How the reactor tells that nobody reads a pipe any more, before a write could.
            self._finished.errback(Failure(BrokenPipeError()))
        elif isinstance(reason.value, OSError):
            self._finished.errback(Failure(explained(reason.value)))
        else:
            self._finished.errback(reason)
