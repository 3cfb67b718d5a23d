"""
The link between the master and one worker: a pair of UNIX sockets that carries questions, answers,
messages and sockets.

Each frame is a dictionary. A question has a number and is answered under it, once and in any
order; a message is not answered. Both name a handler of the other end, by which a worker also gets
the sockets that were sent with them (SCM_RIGHTS, unix(7)).

A worker believes its master, whose frames are pickled. The master believes no worker, which may
run what a peer made it run: the frames of a worker are JSON, and what is malformed ends it.
"""

from __future__ import annotations

import json
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

from socketd.common.text import one_line, printable

#: Bytes of a frame from the master: the settings of a thousand services.
MAX_FRAME = 64 * 1024 * 1024

#: Bytes of a frame from a worker: the figures of a thousand services, or any answer.
MAX_ANSWER = 8 * 1024 * 1024

#: Characters of what is told of a malformed frame.
MAX_REASON = 200

#: Handlers by what a question or a message is about; each takes its values as keyword arguments.
Handlers = Mapping[str, Callable[..., Any]]


class LinkFailed(Exception):
    """A question was not answered: the other end is gone, or its handler failed; says why."""


class LinkLost(LinkFailed):
    """The other end is gone."""

    def __init__(self) -> None:
        super().__init__("is gone")


class Malformed(LinkFailed):
    """A worker sent what no worker sends; says what is wrong."""


@implementer(IFileDescriptorReceiver, IPushProducer)
class Link(Int32StringReceiver):
    """
    One end of the link.

    @ivar is_full: whether the other end does not read, so that what may be left out should be.
    @ivar drained: called when the other end reads again.
    @ivar lost: called once the other end is gone.
    """

    transport: Any
    _log = Logger()

    def __init__(
        self,
        handlers: Handlers,
        lost: Callable[[], object],
        refuse: Callable[[str], object] | None = None,
    ) -> None:
        """
        @param refuse: at the master's end, called with what is wrong with a frame; it ends the
            worker.
        """
        self.MAX_LENGTH = MAX_FRAME if refuse is None else MAX_ANSWER
        self._refuse = refuse
        self.is_full = False
        self.drained: Callable[[], object] = lambda: None
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
        self._send((), about=about, values=values)

    def _send(self, socks: Sequence[socket.socket], **frame: Any) -> None:
        if self._is_over:
            return
        for sock in socks:
            self.transport.sendFileDescriptor(sock.fileno())
        frame["socks"] = len(socks)
        to_worker = self._refuse is not None
        self.sendString(
            pickle.dumps(frame) if to_worker else json.dumps(frame, default=str).encode()
        )

    # Callbacks of the transport

    def fileDescriptorReceived(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        if self._refuse is not None:
            os.close(descriptor)
            self._end_worker("it sent a socket")
        else:
            self._descriptors.append(descriptor)

    def stringReceived(self, string: bytes) -> None:
        if self._refuse is None:
            self._take(**pickle.loads(string))
            return
        try:
            self._take(**json.loads(string))
        except Exception as problem:
            self._end_worker(f"it sent what is no message ({type(problem).__name__}: {problem})")

    def _end_worker(self, why: str) -> None:
        if self._refuse is not None:
            self._refuse(one_line(why[:MAX_REASON]))

    def _take(
        self,
        socks: int = 0,
        ask: int | None = None,
        answer: int | None = None,
        about: str = "",
        values: Any = None,
        error: str = "",
    ) -> None:
        taken, self._descriptors = self._descriptors[:socks], self._descriptors[socks:]
        found = [socket.socket(fileno=one) for one in taken]
        if answer is not None:
            self._take_answer(answer, values, error)
            return
        more = {"socks": found} if found else {}
        handled = maybeDeferred(self._handlers[about], **values, **more)
        if ask is not None:
            handled.addCallbacks(self._answer, self._complain, (ask,), errbackArgs=(ask,))
        handled.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        if self._refuse is not None and failure.check(Malformed, TypeError):
            # TypeError: other values than the handler takes.
            self._end_worker(failure.getErrorMessage())
        else:
            self._log.failure("", failure)

    def _answer(self, values: Any, number: int) -> None:
        self._send((), answer=number, values=values or {})

    def _complain(self, failure: Failure, number: int) -> None:
        if not failure.check(LinkFailed):
            self._log.failure("", failure)
        self._send((), answer=number, error=failure.getErrorMessage())

    def _take_answer(self, number: int, values: Any, error: str) -> None:
        deferred = self._pending.pop(number)
        if error:
            deferred.errback(LinkFailed(printable(str(error))))
        elif isinstance(values, dict):
            deferred.callback(values)
        else:
            deferred.errback(Malformed("it sent no answer"))

    def lengthLimitExceeded(self, length: int) -> None:
        why = f"sent a frame of {length} bytes; {self.MAX_LENGTH} are the limit"
        if self._refuse is None:
            self._log.error("the master {why}", why=why)
        # What was written before is still sent.
        self.transport.loseConnection()
        self._end_worker(f"it {why}")

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

    def resumeProducing(self) -> None:
        self.is_full = False
        self.drained()

    def stopProducing(self) -> None:
        """Do nothing: L{connectionLost} follows."""
