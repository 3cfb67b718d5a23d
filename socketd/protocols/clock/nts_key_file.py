"""The file of NTS keys, which several daemons may share."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock

from socketd.common.errors import reason_of
from socketd.common.events import (
    NTS_KEYS_MADE,
    NTS_KEYS_RESTORED,
    NTS_KEYS_ROTATED,
    NTS_KEYS_UNSAVED,
)
from socketd.common.paths import OTHERS_WRITE
from socketd.common.system_clock import is_plausible
from socketd.protocols.clock.nts_keys import KeyRing
from socketd.protocols.spec import ProtocolContext, ServiceRecord

#: Look at the file at most once in so many seconds: another daemon has rotated the keys.
CHECK_INTERVAL = 1.0

#: More than a file of nine keys has (bytes).
MAX_FILE = 2048

#: What the counter of a service has of its keys.
READ, MADE, RESTORED = "read", "made", "restored"
ROTATED, UNSAVED = "rotated", "unsaved"
KEY_RESULTS = (READ, MADE, RESTORED, ROTATED, UNSAVED)

_OTHERS = stat.S_IRWXG | stat.S_IRWXO

#: What tells one content of the file from the next.
Stamp = tuple[int, int, int, int]


class KeyFile:
    """
    The keys, as the file has them; in memory only while it cannot be written.

    Nothing here waits: a lock that another daemon holds is tried again at the next check, and the
    file is replaced as a whole, so that reading needs no lock. A file that is lost or damaged
    while the daemon runs is written again from memory, and no client notices.
    """

    def __init__(self, path: str, wall_clock: Callable[[], float], record: ServiceRecord) -> None:
        self.path = path
        self._wall_clock = wall_clock
        self._record = record
        self._stamp: Stamp | None = None
        self._problem = ""
        self._checked = -CHECK_INTERVAL
        self._ring = KeyRing.make(wall_clock())
        if why := self._follow_or_write(MADE):
            record.emit(NTS_KEYS_MADE, file=path, reason=why)

    @property
    def ring(self) -> KeyRing:
        """The keys of now."""
        now = self._wall_clock()
        if not self._checked <= now < self._checked + CHECK_INTERVAL:
            self._checked = now
            self._check(now)
        return self._ring

    def _check(self, now: float) -> None:
        """Follow the file, and rotate the keys where it is time."""
        if why := self._follow_or_write(RESTORED):
            self._record.emit(NTS_KEYS_RESTORED, file=self.path, reason=why)
        # A clock that was never set says nothing of the age of a key.
        if is_plausible(now) and self._ring.is_due(now):
            if self._write(self._ring.rotated(now), ROTATED):
                self._record.emit(NTS_KEYS_ROTATED, file=self.path)

    def _read(self) -> KeyRing:
        """
        Read the file.

        @raise OSError: if it cannot be read.
        @raise ValueError: if it cannot be trusted.
        """
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise ValueError("is no file")
            if found.st_mode & _OTHERS:
                raise ValueError("could be read by other users, who may know the keys")
            content = os.read(descriptor, MAX_FILE)
        finally:
            os.close(descriptor)
        ring = KeyRing.decode(content)
        self._stamp, self._problem = _stamp(found), ""
        self._record.counters.nts_keys[READ] += 1
        return ring

    def _write(self, ring: KeyRing, how: str) -> bool:
        """
        Write keys, unless another daemon is doing so or just has; its keys are taken then.

        @param how: what is counted.
        @return: whether they were written.
        """
        try:
            with self._locked():
                with suppress(OSError, ValueError):
                    if self._follow():
                        return False
                self._stamp = _replace(self.path, ring.encode())
        except BlockingIOError:
            return False
        except OSError as problem:
            self._unsaved(ring, how, reason_of(problem))
            return False
        self._ring, self._problem = ring, ""
        self._record.counters.nts_keys[how] += 1
        return True

    def _unsaved(self, ring: KeyRing, how: str, problem: str) -> None:
        """Go on with the keys in memory; said once for each problem, and each rotation."""
        self._ring = ring
        if problem != self._problem or how == ROTATED:
            self._problem = problem
            self._record.counters.nts_keys[UNSAVED] += 1
            self._record.emit(NTS_KEYS_UNSAVED, file=self.path, error=problem)

    def _follow_or_write(self, how: str) -> str:
        """
        Follow the file; where it gives no keys, write those in memory.

        @param how: what is counted.
        @return: why they were written; empty: they were not.
        """
        try:
            self._follow()
        except (OSError, ValueError) as problem:
            if self._write(self._ring, how):
                return _why(problem)
        return ""

    def _follow(self) -> bool:
        """
        Take the keys of the file if another daemon has written it since; tell whether.

        @raise OSError: if it cannot be read.
        @raise ValueError: if it cannot be trusted.
        """
        if self._stamp == _stamp(os.stat(self.path)):
            return False
        self._ring = self._read()
        return True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """
        Hold the lock of the file, which is its directory's: the file itself is replaced.

        @raise BlockingIOError: if another daemon has it.
        """
        directory = os.path.dirname(self.path)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if os.fstat(descriptor).st_mode & OTHERS_WRITE:
                raise OSError(errno.EPERM, "other users can write its directory")
            flock(descriptor, LOCK_EX | LOCK_NB)
            yield
        finally:
            os.close(descriptor)


def key_file(path: str, context: ProtocolContext) -> KeyFile:
    """Get the keys of a file: one object for all services of the daemon, and over reloads."""
    full = path.replace("{state}", context.state, 1)
    found: KeyFile | None = context.kept.get(full)
    if found is None:
        found = context.kept[full] = KeyFile(full, context.wall_clock, context.record)
    return found


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode


def _replace(path: str, content: bytes) -> Stamp:
    """Replace a file as a whole, even if the power fails."""
    other = f"{path}.new"
    with suppress(FileNotFoundError):
        # Of a daemon that was killed; the lock is ours.
        os.unlink(other)
    descriptor = os.open(other, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)
        found = os.fstat(descriptor)
    os.replace(other, path)
    return _stamp(found)


def _why(problem: Exception) -> str:
    """Say why a file gave no keys."""
    if isinstance(problem, FileNotFoundError):
        return "it was not there"
    if isinstance(problem, OSError):
        return f"it cannot be read: {reason_of(problem)}"
    return f"it {problem}"
