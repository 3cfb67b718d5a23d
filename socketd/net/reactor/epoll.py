"""
A set of descriptors in an epoll of its own, itself one descriptor of a reactor.

The running reactor watches one descriptor, an epoll(7) of ours, and asks it to
read when anything is ready there.  All that is ready is then served in one loop,
without the log context and the bookkeeping that Twisted spends on each event.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from time import monotonic
from typing import Any

from twisted.internet import main
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IReactorFDSet,
    IReadDescriptor,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

#: Events that one round takes.
MAX_EVENTS = 256

#: After so long the reactor has its turn (seconds).  With the last round, which is
#: bounded too, its timers are late by less than 50 ms whatever peers do.
TIME_SLICE = 0.005

#: How long to wait for the next event before the reactor has its turn (seconds):
#: the answer to an answer is often nearer than a turn of the reactor.  It is the
#: shortest time that epoll_wait(2) knows.
POLL_TIMEOUT = 0.001

_IN = select.EPOLLIN
_OUT = select.EPOLLOUT
_HUP = select.EPOLLHUP
_ENDED = select.EPOLLHUP | select.EPOLLERR


@implementer(IReactorFDSet, IReadDescriptor)
class EpollSet:
    """
    Watches descriptors on behalf of a reactor.
    """

    _log = Logger(namespace="socketd")

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._epoll = select.epoll()
        self._descriptors: dict[int, Any] = {}
        self._interest: dict[int, int] = {}
        self._added_this_round: set[int] = set()
        # Regular files, which are always ready, and for what they are watched.
        self._files: dict[Any, int] = {}

    # IReactorFDSet

    def addReader(self, reader: Any) -> None:
        """
        Watch a descriptor for input.
        """
        self._add(reader, _IN)

    def addWriter(self, writer: Any) -> None:
        """
        Watch a descriptor for room to write.
        """
        self._add(writer, _OUT)

    def removeReader(self, reader: Any) -> None:
        """
        Watch it for input no more.
        """
        self._remove(reader, _IN)

    def removeWriter(self, writer: Any) -> None:
        """
        Watch it for room to write no more.
        """
        self._remove(writer, _OUT)

    def removeAll(self) -> list[Any]:
        """
        Watch nothing any more.

        @return: what was watched.
        """
        watched = [*self._descriptors.values(), *self._files]
        for descriptor in watched:
            self._remove(descriptor, _IN | _OUT)
        return watched

    def getReaders(self) -> list[Any]:
        """
        List what is watched for input.
        """
        return self._watched(_IN)

    def getWriters(self) -> list[Any]:
        """
        List what is watched for room to write.
        """
        return self._watched(_OUT)

    def _watched(self, event: int) -> list[Any]:
        found = [self._descriptors[fd] for fd, mask in self._interest.items() if mask & event]
        return found + [file for file, mask in self._files.items() if mask & event]

    def _add(self, descriptor: Any, event: int) -> None:
        fd = descriptor.fileno()
        mask = self._interest.get(fd, 0)
        if not mask:
            try:
                self._epoll.register(fd, event)
            except PermissionError:
                self._watch_file(descriptor, event)
                return
            self._descriptors[fd] = descriptor
            self._added_this_round.add(fd)
        elif not mask & event:
            self._epoll.modify(fd, mask | event)
        self._interest[fd] = mask | event

    def _remove(self, descriptor: Any, event: int) -> None:
        fd = descriptor.fileno()
        mask = self._interest.get(fd, 0)
        if not mask & event:
            if descriptor in self._files:
                self._drop_file(descriptor, event)
            return
        if mask & ~event:
            self._interest[fd] = mask & ~event
            self._epoll.modify(fd, mask & ~event)
        else:
            del self._interest[fd], self._descriptors[fd]
            self._epoll.unregister(fd)

    def _watch_file(self, file: Any, event: int) -> None:
        """
        Note a file that epoll(7) does not take, as it takes no regular one.
        """
        self._files[file] = self._files.get(file, 0) | event

    def _drop_file(self, file: Any, event: int) -> None:
        """
        Watch a file less, or no more.
        """
        self._files[file] &= ~event
        if not self._files[file]:
            del self._files[file]

    # IReadDescriptor

    def fileno(self) -> int:
        """
        The descriptor of the epoll.
        """
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """
        Name this set in a traceback's log line.
        """
        return "socketd"

    def connectionLost(self, reason: Failure) -> None:
        """
        End every descriptor that is watched, and close the epoll.
        """
        for descriptor in self.removeAll():
            try:
                descriptor.connectionLost(reason)
            except Exception:
                self._log.failure("{prefix} raised", prefix=descriptor.logPrefix())
        self._epoll.close()

    def doRead(self) -> None:
        """
        Serve what is ready.
        """
        try:
            self._serve_all()
        except MemoryError:
            # Not even a complaint was to be had; the next turn may have more.
            pass

    def _serve_all(self) -> None:
        descriptors = self._descriptors
        end, patience = self._clock() + TIME_SLICE, 0.0
        while True:
            self._added_this_round.clear()
            events = self._epoll.poll(patience, MAX_EVENTS)
            for fd, event in events:
                descriptor = descriptors.get(fd)
                if descriptor is None:
                    continue
                try:
                    if event == _IN:
                        why = descriptor.doRead()
                    else:
                        why = self._serve(fd, event, descriptor)
                except Exception as problem:
                    self._log.failure("{prefix} raised", prefix=descriptor.logPrefix())
                    why = problem
                if why is not None:
                    self._disconnect(descriptor, why, event)
            # The last event may have stopped the reactor, and that closes us.
            if not events or self._epoll.closed or self._clock() >= end:
                return
            patience = POLL_TIMEOUT

    def _serve(self, fd: int, event: int, descriptor: Any) -> Any:
        """
        Serve what is more than input.

        An error or a hang-up is seen by reading or writing, which tells the
        truth: the descriptor may have been closed and opened again by an
        earlier event of this round.
        """
        why = None
        mask = self._interest[fd]
        if mask & _IN and event & (_IN | _ENDED):
            why = descriptor.doRead()
        if why is None and event & (_OUT | _ENDED) and self._interest.get(fd, 0) & _OUT:
            why = descriptor.doWrite()
        if why is None and event & _HUP and mask == _OUT and fd not in self._added_this_round:
            # A reader sees the end when it has read what is left.
            if self._interest.get(fd) == mask and self._descriptors[fd] is descriptor:
                why = main.CONNECTION_LOST
        return why

    def _disconnect(self, descriptor: Any, why: Any, event: int) -> None:
        """
        End a descriptor in the way of Twisted's own reactors.
        """
        self.removeReader(descriptor)
        failure = Failure(why)
        half_closeable = IHalfCloseableDescriptor.providedBy(descriptor)
        if event & _IN and isinstance(why, ConnectionDone) and half_closeable:
            descriptor.readConnectionLost(failure)
        else:
            self.removeWriter(descriptor)
            descriptor.connectionLost(failure)
