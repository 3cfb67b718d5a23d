"""Tests for L{socketd.net.sockets.rlimit}."""

from __future__ import annotations

import resource

from twisted.trial.unittest import SynchronousTestCase

from socketd.net.sockets.rlimit import (
    MAX_CONNECTIONS,
    RESERVED,
    available,
    connection_limit,
    diagnostics,
    raise_limit,
)
from socketd.settings.model import Settings
from tests.settings.refusals import parsed

#: A limit of descriptors with room for so many connections beside two listeners.
LIMIT = 1024
ROOM = LIMIT - RESERVED - 2

#: What follows the option and its value.
REFUSED = (
    "needs more descriptors than the 1024 that a process may have here;"
    f" write up to {ROOM}, or raise LimitNOFILE= or ulimit -n"
)


def settings(daemon: str = "", echo: str = "", stream: str = "", defaults: str = "") -> Settings:
    """Read a configuration with two listeners; the options stand on lines 2, 4, 7 and 10."""
    text = f"[socketd]\n{daemon}\n[defaults]\n{defaults}\n"
    text += f"[echo]\nlisten = tcp:7\n{echo}\n[stream]\nlisten = tcp:8\n{stream}\n"
    return parsed(text)


def said(found: Settings, limit: int = LIMIT) -> list[str]:
    """List what is complained of, as the operator reads it: what is the same is said once."""
    return list(dict.fromkeys(map(str, diagnostics(found, limit))))


class RoomTests(SynchronousTestCase):
    """Tests for L{available} and L{connection_limit}."""

    def test_room(self) -> None:
        """Listeners and the reserve take their descriptors first."""
        self.assertEqual(available(settings(), LIMIT), ROOM)
        more = parsed("[echo]\nlisten = tcp:7, udp:7, unix:a\n[stream]\nlisten = tcp:8, tcp:9\n")
        self.assertEqual(available(more, LIMIT), ROOM - 3)

    def test_most(self) -> None:
        """Where nothing is said, the daemon takes what there is room for, up to its default."""
        self.assertEqual(connection_limit(settings(), LIMIT), ROOM)
        self.assertEqual(connection_limit(settings(), 1_000_000), MAX_CONNECTIONS)

    def test_given(self) -> None:
        """What the configuration says holds, less or more than the default."""
        for number in (1, 500, 50_000):
            found = settings(daemon=f"max_connections = {number}")
            self.assertEqual(connection_limit(found, 1_000_000), number)

    def test_no_room(self) -> None:
        """However few descriptors there are, one connection is tried: none would be no daemon."""
        for limit in (0, RESERVED, RESERVED + 2, RESERVED + 3):
            self.assertEqual(connection_limit(settings(), limit), 1)

    def test_workers(self) -> None:
        """Each worker has as much room; all of them have what the daemon may have."""
        self.assertEqual(available(settings(), LIMIT, 3), 3 * ROOM)
        self.assertEqual(connection_limit(settings(), LIMIT, 3), 3 * ROOM)
        self.assertEqual(connection_limit(settings(), 1_000_000, 3), MAX_CONNECTIONS)
        self.assertEqual(connection_limit(settings(), 0, 3), 3)


class ComplaintTests(SynchronousTestCase):
    """Tests for L{diagnostics}."""

    def test_fits(self) -> None:
        """What has room is not complained of, up to the last descriptor."""
        option = f"max_connections = {ROOM}"
        self.assertEqual(said(settings(option, option, option)), [])
        self.assertEqual(said(settings()), [])

    def test_too_many(self) -> None:
        """One more is, with file, line, section, value, and what would be right."""
        option = f"max_connections = {ROOM + 1}"
        expected = [
            f"FILE:2: [socketd] {option}: {REFUSED}",
            f"FILE:7: [echo] {option}: {REFUSED}",
            f"FILE:10: [stream] {option}: {REFUSED}",
        ]
        self.assertEqual(said(settings(option, option, option)), expected)
        self.assertEqual(said(settings(stream=option)), expected[2:])

    def test_inherited(self) -> None:
        """A number that services inherit is complained of once, where it stands."""
        option = f"max_connections = {ROOM + 1}"
        expected = [f"FILE:4: [defaults] {option}: {REFUSED}"]
        self.assertEqual(said(settings(defaults=option)), expected)

    def test_no_room(self) -> None:
        """No diagnostic advises a negative number."""
        found = said(settings(echo="max_connections = 1"), RESERVED)
        self.assertEqual(len(found), 1)
        self.assertIn("write up to 0, or raise", found[0])

    def test_workers(self) -> None:
        """Workers have room for more connections, and their master for fewer listeners."""
        option = f"max_connections = {2 * ROOM}"
        self.assertEqual([*diagnostics(settings(option), LIMIT, 2)], [])
        self.assertEqual(len([*diagnostics(settings(option), LIMIT, 1)]), 1)
        found = settings("workers = 9")
        (complaint,) = diagnostics(found, RESERVED + 17, 9)
        self.assertIn("FILE:2: [socketd] workers = 9: needs 18 sockets, more", str(complaint))
        self.assertEqual([*diagnostics(found, RESERVED + 18, 9)], [])


class LimitTests(SynchronousTestCase):
    """Tests for L{raise_limit}."""

    def test_raised(self) -> None:
        """The soft limit becomes the hard one, and stays so when asked again."""
        soft, hard = before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
        for _ in range(2):
            self.assertEqual(raise_limit(), hard)
            self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (hard, hard))

    def test_untouched(self) -> None:
        """A limit that is as high as it can be is not set again: a sandbox may refuse it."""
        hard = (4096, 4096)
        self.patch(resource, "getrlimit", lambda kind: hard)
        self.patch(resource, "setrlimit", lambda kind, limits: self.fail("it was set"))
        self.assertEqual(raise_limit(), 4096)
