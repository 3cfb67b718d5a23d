"""Tests for L{socketd.protocols.clock.nts_key_file}."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from errno import ENOSPC
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any
from unittest import mock

from attrs import define, evolve, field
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.events import Event
from socketd.common.system_clock import BUILD_DATE
from socketd.protocols.clock import nts_key_file
from socketd.protocols.clock.nts_key_file import KeyFile, key_file
from socketd.protocols.clock.nts_keys import MOST_KEYS, ROTATION, KeyRing
from socketd.protocols.spec import NoRecord
from tests.protocols.clock.nts_client import TO_CLIENT, TO_SERVER
from tests.protocols.fakes import context

NOW = 1_795_000_000.0


@define
class Record(NoRecord):
    """A record whose lines are kept."""

    lines: list[str] = field(factory=list)

    def emit(self, event: Event, logged: bool = True, **facts: Any) -> None:
        """Keep a line."""
        self.lines.append(event.format.format(service="ntp", **facts))


class Case(SynchronousTestCase):
    """Daemons that share a file."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.path = self.directory / "nts.keys"
        self.now = NOW
        self.record = Record()

    def daemon(self) -> KeyFile:
        """Start a daemon."""
        return KeyFile(str(self.path), lambda: self.now, self.record)

    def later(self, seconds: float = 2.0) -> None:
        """Let time pass, so that the file is looked at again."""
        self.now += seconds

    def counts(self) -> dict[str, int]:
        """What was counted."""
        return dict(self.record.counters.nts_keys)

    def is_known(self, keys: KeyFile, cookie: bytes) -> bool:
        """Whether a daemon takes a cookie."""
        return keys.ring.open(cookie) == (TO_SERVER, TO_CLIENT)

    def cookie_of(self, keys: KeyFile) -> bytes:
        """Have a daemon make a cookie."""
        return keys.ring.seal(TO_SERVER, TO_CLIENT)


class OneTests(Case):
    """Tests for one daemon, started again and again."""

    def test_first(self) -> None:
        """The first start makes a file that only its owner can read, and says so."""
        self.daemon()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.directory.stat().st_mode), 0o700)
        (line,) = self.record.lines
        expected = f"ntp made new NTS keys in {self.path}: it was not there;"
        self.assertEqual(line, f"{expected} cookies of others are not taken")
        self.assertEqual(os.listdir(self.directory), ["nts.keys"])

    def test_again(self) -> None:
        """A restart has the same keys, and says nothing."""
        cookie = self.cookie_of(self.daemon())
        self.record.lines.clear()
        for _ in range(2):
            self.assertTrue(self.is_known(self.daemon(), cookie))
        self.assertEqual((self.record.lines, self.counts()), ([], {"made": 1, "read": 2}))

    def test_rotation(self) -> None:
        """Keys are rotated once a day, in the file, too; a cookie is good for a week."""
        keys = self.daemon()
        cookie = self.cookie_of(keys)
        for _ in range(7):
            self.later(ROTATION)
            self.assertTrue(self.is_known(keys, cookie))
            self.assertTrue(self.is_known(self.daemon(), cookie))
        self.assertEqual(self.counts()["rotated"], 7)
        self.assertEqual(len(keys.ring.keys), MOST_KEYS)
        self.assertEqual(self.record.lines[-1], f"ntp rotated the NTS keys in {self.path}")
        self.assertEqual(KeyRing.decode(self.path.read_bytes()), keys.ring)

    def test_rotation_before_start(self) -> None:
        """What is older than a day is rotated after a start, once."""
        cookie = self.cookie_of(self.daemon())
        self.later(30 * ROTATION)
        keys = self.daemon()
        self.assertTrue(self.is_known(keys, cookie))
        self.assertEqual(self.counts()["rotated"], 1)

    def test_clock_that_is_not_set(self) -> None:
        """A machine that starts in 1970 each time does not forget keys by that."""
        cookie = self.cookie_of(self.daemon())
        for _ in range(MOST_KEYS + 1):
            self.now = 1000.0
            keys = self.daemon()
            self.assertTrue(self.is_known(keys, cookie))
            self.now = NOW
            self.assertTrue(self.is_known(keys, cookie))
        self.assertNotIn("rotated", self.counts())

    def test_made_in_1970(self) -> None:
        """Keys that were made before the clock was set rotate once it is, once."""
        self.now = 1000.0
        keys = self.daemon()
        cookie = self.cookie_of(keys)
        self.now = float(BUILD_DATE)
        self.assertTrue(self.is_known(keys, cookie))
        self.later()
        self.assertTrue(self.is_known(keys, cookie))
        self.assertEqual(self.counts()["rotated"], 1)

    def test_interval(self) -> None:
        """The file is looked at once in a second, however often keys are asked for."""
        keys = self.daemon()
        looks = mock.Mock(side_effect=os.stat)
        self.patch(os, "stat", looks)
        self.later()
        for seconds, expected in ((0.0, 1), (0.75, 1), (0.25, 2), (0.0, 2)):
            self.later(seconds)
            self.assertTrue(keys.ring)
            self.assertEqual(looks.call_count, expected)

    def test_clock_set_back(self) -> None:
        """A clock that is set back is followed: the file is looked at in that time, too."""
        keys = self.daemon()
        self.now -= 3600.0
        self.path.unlink()
        self.assertTrue(keys.ring)
        self.assertTrue(self.path.exists())


class DamageTests(Case):
    """Tests for a file that is lost, damaged, or cannot be written."""

    def damage(self, damage: Callable[[], object], why: str) -> None:
        """
        Damage the file while it is served, and before a start: the same keys are written again,
        and new ones made.
        """
        keys = self.daemon()
        cookie = self.cookie_of(keys)
        self.record.lines.clear()
        damage()
        self.later()
        self.assertTrue(self.is_known(keys, cookie))
        expected = [f"ntp wrote its NTS keys to {self.path} again: {why}"]
        self.assertEqual(self.record.lines, expected)
        self.assertTrue(self.is_known(self.daemon(), cookie))
        damage()
        started = self.daemon()
        self.assertIn(f"made new NTS keys in {self.path}: {why}", self.record.lines[-1])
        self.assertFalse(self.is_known(started, cookie))
        counts = self.counts()
        self.assertEqual((counts["restored"], counts["made"]), (1, 2))

    def test_removed(self) -> None:
        """It is gone."""
        self.damage(self.path.unlink, "it was not there")

    def test_cut(self) -> None:
        """It is cut off, by a full disk for example."""
        self.damage(lambda: os.truncate(self.path, 100), "it is no whole key file")

    def test_readable(self) -> None:
        """Others could read it."""
        why = "it could be read by other users, who may know the keys"
        self.damage(lambda: self.path.chmod(0o640), why)

    def test_no_file(self) -> None:
        """A directory, a pipe or a link is no such file; it stays, and keys are in memory."""
        self.directory.mkdir()
        makers: tuple[Callable[[], object], ...] = (self.path.mkdir, lambda: os.mkfifo(self.path))
        for make in makers:
            make()
            self.assertTrue(self.daemon().ring)
            if self.path.is_dir():
                self.path.rmdir()
            self.path.unlink(missing_ok=True)
        self.assertEqual(self.counts()["unsaved"], 1)
        self.assertIn("it is no file;", self.record.lines[-1])
        other = self.directory / "other"
        other.write_bytes(KeyRing.make(NOW).encode())
        other.chmod(0o600)
        self.path.symlink_to(other)
        self.daemon()
        self.assertFalse(self.path.is_symlink())
        why = "it cannot be read: too many levels of symbolic links;"
        self.assertIn(why, self.record.lines[-1])

    def test_full_disk(self) -> None:
        """While it cannot be written, keys are in memory, which is said once; later it is."""
        full = mock.Mock(side_effect=OSError(ENOSPC, os.strerror(ENOSPC)))
        with mock.patch.object(nts_key_file, "_replace", full):
            keys = self.daemon()
            cookie = self.cookie_of(keys)
            for _ in range(5):
                self.later()
                self.assertTrue(self.is_known(keys, cookie))
            why = f"{self.path}: no space left on device"
            self.assertEqual(len(self.record.lines), 1)
            self.assertTrue(self.record.lines[0].endswith(why), self.record.lines)
            self.later(ROTATION)
            self.assertTrue(self.is_known(keys, cookie))
        self.assertEqual(self.counts(), {"unsaved": 2})
        self.later()
        self.assertTrue(self.is_known(keys, cookie))
        self.assertTrue(self.is_known(self.daemon(), cookie))
        self.assertEqual(self.counts()["restored"], 1)

    def test_directory_of_others(self) -> None:
        """Nothing is written where others could replace it."""
        self.directory.mkdir()
        self.directory.chmod(0o777)
        self.daemon()
        self.assertIn("in memory only", self.record.lines[0])
        self.assertIn("other users can write its directory", self.record.lines[0])
        self.assertEqual(os.listdir(self.directory), [])

    def test_killed_while_writing(self) -> None:
        """What a daemon left that was killed while it wrote is no obstacle."""
        keys = self.daemon()
        Path(f"{self.path}.new").write_bytes(b"half")
        self.later(ROTATION)
        self.assertTrue(keys.ring)
        self.assertEqual(os.listdir(self.directory), ["nts.keys"])


class SharedTests(Case):
    """Tests for several daemons with one file."""

    def test_cookies(self) -> None:
        """Each takes the cookies of the other, over rotations; each day has one."""
        first, second = self.daemon(), self.daemon()
        cookies = [self.cookie_of(first), self.cookie_of(second)]
        for day in range(7):
            self.later(ROTATION)
            for keys in (first, second)[:: 1 - day % 2 * 2]:
                self.assertTrue(all(self.is_known(keys, cookie) for cookie in cookies))
            self.later()
            self.assertEqual(first.ring, second.ring)
        self.assertEqual(self.counts()["rotated"], 7)

    def test_locked(self) -> None:
        """While another one holds the lock, nothing waits; it is tried again."""
        keys = self.daemon()
        cookie = self.cookie_of(keys)
        descriptor = os.open(self.directory, os.O_RDONLY)
        flock(descriptor, LOCK_EX)
        self.later(ROTATION)
        self.record.lines.clear()
        self.assertTrue(self.is_known(keys, cookie))
        self.assertNotIn("rotated", self.counts())
        self.assertEqual(self.record.lines, [])
        os.close(descriptor)
        self.later()
        self.assertTrue(self.is_known(keys, cookie))
        self.assertEqual(self.counts()["rotated"], 1)

    def test_first_at_once(self) -> None:
        """Of two that start at once the later one takes the keys of the other."""
        self.directory.mkdir()
        descriptor = os.open(self.directory, os.O_RDONLY)
        flock(descriptor, LOCK_EX)
        late = self.daemon()
        self.path.write_bytes(KeyRing.make(NOW).encode())
        self.path.chmod(0o600)
        os.close(descriptor)
        self.later()
        self.assertTrue(self.is_known(self.daemon(), self.cookie_of(late)))

    def test_not_read_yet(self) -> None:
        """What another one wrote just before is taken, not overwritten."""
        keys, other = self.daemon(), self.daemon()
        self.later(ROTATION)
        real = os.stat

        def stat_late(path: Any) -> os.stat_result:
            """Have the other daemon write behind the first look."""
            self.patch(os, "stat", real)
            found = real(path)
            self.assertTrue(other.ring)
            return found

        self.patch(os, "stat", stat_late)
        self.assertTrue(keys.ring)
        self.assertEqual(keys.ring, other.ring)
        self.assertEqual(self.counts()["rotated"], 1)
        self.assertEqual(sum(" rotated " in line for line in self.record.lines), 1)


class ContextTests(Case):
    """Tests for L{key_file}."""

    def test_one_object(self) -> None:
        """All services of a daemon have one object for a file, in its state directory."""
        around = evolve(context(NOW), state=str(self.directory))
        found = key_file("{state}/nts.keys", around)
        again = key_file("{state}/nts.keys", evolve(around, service="another"))
        self.assertIs(found, again)
        self.assertIs(found, key_file(str(self.path), around))
        self.assertEqual(found.path, str(self.path))
