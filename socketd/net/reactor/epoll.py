"""
A set of descriptors in a nested epoll(7), which a reactor watches as one descriptor.

When a member is ready, the reactor calls L{EpollSet.doRead}, which serves all ready
members in one loop, without Twisted's log context and bookkeeping for each event.
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

#: Events per epoll_wait(2).
MAX_EVENTS = 256

#: Seconds after which control returns to the reactor. Including the last round, which is
#: bounded too, timers are late by less than 50 ms under any load.
TIME_SLICE = 0.005

#: The same where a timer is due before: however many there are, events have their time, too.
SHORT_SLICE = 0.001

#: Busy-poll timeout (seconds): in request/response traffic the next event usually comes
#: before the next reactor iteration. The shortest that epoll_wait(2) supports.
POLL_TIMEOUT = 0.001

_IN = select.EPOLLIN
_OUT = select.EPOLLOUT
_HUP = select.EPOLLHUP
_ENDED = select.EPOLLHUP | select.EPOLLERR


@implementer(IReactorFDSet, IReadDescriptor)
class EpollSet:
    """Watches descriptors on behalf of a reactor, with an epoll(7) of its own."""

    _log = Logger(namespace="socketd")

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._epoll = select.epoll()
        self._descriptors: dict[int, Any] = {}
        self._interest: dict[int, int] = {}
        self._added_this_round: set[int] = set()
        # Regular files, which are always ready, with the mask of watched events.
        self._files: dict[Any, int] = {}

    # IReactorFDSet

    def addReader(self, reader: Any) -> None:
        self._add(reader, _IN)

    def addWriter(self, writer: Any) -> None:
        self._add(writer, _OUT)

    def removeReader(self, reader: Any) -> None:
        self._remove(reader, _IN)

    def removeWriter(self, writer: Any) -> None:
        self._remove(writer, _OUT)

    def removeAll(self) -> list[Any]:
        watched = [*self._descriptors.values(), *self._files]
        for descriptor in watched:
            self._remove(descriptor, _IN | _OUT)
        return watched

    def getReaders(self) -> list[Any]:
        return self._watched(_IN)

    def getWriters(self) -> list[Any]:
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
        """Record a file that epoll(7) refuses, as it does all regular files (EPERM)."""
        self._files[file] = self._files.get(file, 0) | event

    def _drop_file(self, file: Any, event: int) -> None:
        """Stop watching a file for the given events."""
        self._files[file] &= ~event
        if not self._files[file]:
            del self._files[file]

    # IReadDescriptor

    def fileno(self) -> int:
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        return "socketd"

    def connectionLost(self, reason: Failure) -> None:
        """Disconnect every watched descriptor and close the epoll(7) instance."""
        for descriptor in self.removeAll():
            try:
                descriptor.connectionLost(reason)
            except Exception:
                self._log.failure("{prefix} raised", prefix=descriptor.logPrefix())
        self._epoll.close()

    def doRead(self) -> None:
        try:
            self._serve_all()
        except MemoryError:
            # Out of memory, even for logging; retry in the next iteration.
            pass

    def _serve_all(self) -> None:
        descriptors = self._descriptors
        end, timeout = self._clock() + self._time_slice(), 0.0
        while True:
            self._added_this_round.clear()
            events = self._epoll.poll(timeout, MAX_EVENTS)
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
            # The last event may have stopped the reactor, which closes this epoll.
            if not events or self._epoll.closed or self._clock() >= end:
                return
            timeout = POLL_TIMEOUT

    def _time_slice(self) -> float:
        """Say how long to serve before control returns to the reactor (seconds)."""
        return TIME_SLICE

    def _serve(self, fd: int, event: int, descriptor: Any) -> Any:
        """
        Serve an event other than plain input.

        Errors and hang-ups are confirmed by reading or writing, since the event may be stale: an
        earlier event of this round may have closed the descriptor and reused its number.
        """
        why = None
        mask = self._interest[fd]
        if mask & _IN and event & (_IN | _ENDED):
            why = descriptor.doRead()
        if why is None and event & (_OUT | _ENDED) and self._interest.get(fd, 0) & _OUT:
            why = descriptor.doWrite()
        if why is None and event & _HUP and mask == _OUT and fd not in self._added_this_round:
            # With a reader, EOF is found by doRead(), after the remaining data.
            if self._interest.get(fd) == mask and self._descriptors[fd] is descriptor:
                why = main.CONNECTION_LOST
        return why

    def _disconnect(self, descriptor: Any, why: Any, event: int) -> None:
        """Disconnect a descriptor as Twisted's own reactors do."""
        self.removeReader(descriptor)
        failure = Failure(why)
        half_closeable = IHalfCloseableDescriptor.providedBy(descriptor)
        if event & _IN and isinstance(why, ConnectionDone) and half_closeable:
            descriptor.readConnectionLost(failure)
        else:
            self.removeWriter(descriptor)
            descriptor.connectionLost(failure)
