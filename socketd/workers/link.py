"""
The link between the master and one worker: a pair of UNIX sockets that carries questions, answers,
messages and sockets.

Each frame is a pickled dictionary. A question has a number and is answered under it, once and in
any order; a message is not answered. Both name a handler of the other end, by which it also gets
the sockets that were sent with them (SCM_RIGHTS, unix(7)).
"""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IFileDescriptorReceiver, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.workers.messages import loads

#: Bytes of a frame: the settings of a thousand services, or any answer.
MAX_FRAME = 64 * 1024 * 1024

#: Handlers by what a question or a message is about; each takes its values as keyword arguments.
Handlers = Mapping[str, Callable[..., Any]]


class LinkFailed(Exception):
    """A question was not answered: the other end is gone, or its handler failed; says why."""


class LinkLost(LinkFailed):
    """The other end is gone."""

    def __init__(self) -> None:
        super().__init__("is gone")


@implementer(IFileDescriptorReceiver, IPushProducer)
class Link(Int32StringReceiver):
    """
    One end of the link.

    @ivar is_full: whether the other end does not read, so that what may be left out should be.
    @ivar changed: called when that has changed.
    @ivar lost: called once the other end is gone.
    """

    MAX_LENGTH = MAX_FRAME
    transport: Any
    _log = Logger()

    def __init__(self, handlers: Handlers, lost: Callable[[], object]) -> None:
        self.is_full = False
        self.changed: Callable[[], object] = lambda: None
        self.lost = lost
        self._handlers = handlers
        self._numbers = count(1)
        self._pending: dict[int, Deferred[dict[str, Any]]] = {}
        self._descriptors: list[int] = []
        self._is_over = False

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)

    def ask(
        self, about: str, socks: Sequence[socket.socket] = (), **values: Any
    ) -> Deferred[dict[str, Any]]:
        """
        Ask the other end.

        @return: fires with what its handler returns; fails with L{LinkFailed}.
        """
        if self._is_over:
            return fail(LinkLost())
        number = next(self._numbers)
        answered = self._pending[number] = Deferred()
        self._send(socks, ask=number, about=about, values=values)
        return answered

    def tell(self, about: str, **values: Any) -> None:
        """Send a message."""
        if not self._is_over:
            self._send((), about=about, values=values)

    def _send(self, socks: Sequence[socket.socket], **frame: Any) -> None:
        for sock in socks:
            self.transport.sendFileDescriptor(sock.fileno())
        self.sendString(pickle.dumps(frame | {"socks": len(socks)}))

    # Callbacks of the transport

    def fileDescriptorReceived(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._descriptors.append(descriptor)

    def stringReceived(self, string: bytes) -> None:
        frame = loads(string)
        size = frame["socks"]
        taken, self._descriptors = self._descriptors[:size], self._descriptors[size:]
        socks = [socket.socket(fileno=one) for one in taken]
        if "answer" in frame:
            self._take_answer(**frame)
            return
        values = frame["values"] | ({"socks": socks} if socks else {})
        handled = maybeDeferred(self._handlers[frame["about"]], **values)
        if "ask" in frame:
            number = (frame["ask"],)
            handled.addCallbacks(self._answer, self._complain, number, errbackArgs=number)
        handled.addErrback(lambda failure: self._log.failure("", failure))

    def _answer(self, values: Any, number: int) -> None:
        if not self._is_over:
            self._send((), answer=number, values=values or {})

    def _complain(self, failure: Failure, number: int) -> None:
        if not failure.check(LinkFailed):
            self._log.failure("", failure)
        if not self._is_over:
            self._send((), answer=number, error=failure.getErrorMessage())

    def _take_answer(
        self, answer: int, values: Any = None, error: str = "", socks: int = 0
    ) -> None:
        deferred = self._pending.pop(answer)
        if error:
            deferred.errback(LinkFailed(error))
        else:
            deferred.callback(values)

    def lengthLimitExceeded(self, length: int) -> None:
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_over = True
        for descriptor in self._descriptors:
            os.close(descriptor)
        pending, self._pending = self._pending, {}
        for deferred in pending.values():
            deferred.errback(LinkLost())
        self.lost()

    def pauseProducing(self) -> None:
        self.is_full = True
        self.changed()

    def resumeProducing(self) -> None:
        self.is_full = False
        self.changed()

    def stopProducing(self) -> None:
        """Do nothing: L{connectionLost} follows."""
