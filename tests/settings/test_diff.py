"""Tests for L{socketd.settings.diff}."""

from __future__ import annotations

import os
import subprocess
import sys

import attrs
from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.registry import installed
from socketd.settings.diff import AT_START, differences
from socketd.settings.load import parse
from socketd.settings.model import DaemonOptions, Settings
from tests.support.source_tree import ROOT

ECHO = "[echo]\nlisten = tcp:7\n"
UPPER = "[upper]\nlisten = tcp:8\n"

#: For each option of the daemon, a value that is not its default.
OTHER = {
    "drain_timeout": "3s",
    "log_level": "warn",
    "control": "/run/x/control.sock",
    "http": "tcp:9155",
    "http_names": "srv.example.org",
    "status_page": "no",
    "log_format": "json",
    "log_quiet": "127.0.0.1",
    "max_connections": "7",
    "workers": "auto",
    "balance": "flow",
}


def read(text: str) -> Settings:
    return parse(text, "FILE", installed(), "/run/x")


class DifferencesTests(SynchronousTestCase):
    """Tests for L{differences}."""

    def check(self, old: str, new: str, *expected: str) -> None:
        self.assertEqual(differences(read(old), read(new)), expected)

    def test_nothing(self) -> None:
        """
        Equal files differ in nothing; nor do those that differ in comments, blanks,
        and how the same value is written.
        """
        self.check(ECHO, ECHO)
        self.check(ECHO, "\n; a comment\n[echo]\n\nlisten   =  tcp:7\n")
        self.check(ECHO + "idle_timeout = 60s\n", ECHO + "idle_timeout = 1m\n")

    def test_default_written(self) -> None:
        """A default that is written down changes nothing."""
        self.check(ECHO, ECHO + "idle_timeout = 300s\n")
        self.check(ECHO, "[socketd]\nlog_level = info\n" + ECHO)

    def test_faults(self) -> None:
        """Profiles are added, removed and changed, with the options as the file has them."""
        one, two = "[fault:a]\nlatency = 1s\n", "[fault:b]\nseed = 1\nloss = 1%\n"
        self.check(one + ECHO, two + ECHO, "[fault:a] removed", "[fault:b] added")
        changed = two.replace("1%", "2%") + "half-close = after 3B\n"
        self.check(two + ECHO, changed + ECHO, "[fault:b] half-close, loss changed")

    def test_order(self) -> None:
        """The order of the services changes nothing for their peers."""
        self.check(ECHO + UPPER, UPPER + ECHO)

    def test_daemon(self) -> None:
        """
        Each option of the daemon is named, and where it holds from the next start on
        only, that is said.
        """
        names = [field.name for field in attrs.fields(DaemonOptions)]
        self.assertEqual(set(OTHER), set(names))
        for name in names:
            later = " (from the next start on)" if name in AT_START else ""
            new = f"[socketd]\n{name} = {OTHER[name]}\n" + ECHO
            self.check(ECHO, new, f"[socketd] {name} changed{later}")
            self.check(new, ECHO, f"[socketd] {name} changed{later}")

    def test_added_and_removed(self) -> None:
        """Services that come or go are named, without their options."""
        self.check(ECHO, ECHO + UPPER, "[upper] added")
        self.check(ECHO + UPPER, ECHO, "[upper] removed")

    def test_disabled(self) -> None:
        """A service that is switched off is removed, one that is switched on is added."""
        off = ECHO + UPPER + "enabled = no\n"
        self.check(ECHO + UPPER, off, "[upper] removed")
        self.check(off, ECHO + UPPER, "[upper] added")

    def test_renamed(self) -> None:
        """A service with another name is another one."""
        other = "[other]\nprotocol = echo\nlisten = tcp:7\n"
        self.check(ECHO, other, "[echo] removed", "[other] added")

    def test_groups(self) -> None:
        """Options of every group are named: common, access, sockets, TLS."""
        more = "log_messages = text\ndeny = 192.0.2.1\nso_keepalive = no\n"
        expected = "[echo] log_messages, deny, so_keepalive changed"
        self.check(ECHO, ECHO + more, expected)
        secure = "[echo]\nlisten = tls:7\ntls_certificate = {}\n"
        expected = "[echo] tls_certificate changed"
        self.check(secure.format("/a.pem"), secure.format("/b.pem"), expected)

    def test_own_options(self) -> None:
        """So are a protocol's own."""
        text = "[reply]\nlisten = tcp:7\nreply = {}\n"
        self.check(text.format("a"), text.format("b"), "[reply] reply changed")

    def test_protocol(self) -> None:
        """
        Where the protocol is another one, it is named once, and its own options are
        not, for they cannot be compared.
        """
        text = "[a]\nprotocol = {}\nlisten = tcp:7\n"
        new = text.format("reply") + "reply = x\n"
        self.check(text.format("echo"), new, "[a] protocol changed")

    def test_listeners(self) -> None:
        """Listeners are named once, whatever changes of them."""
        for listen in ("tcp:9", "tcp:7, udp:7", "tcp:7:backlog=9", "tcp:7:interface=127.0.0.1"):
            self.check(ECHO, f"[echo]\nlisten = {listen}\n", "[echo] listen changed")

    def test_listeners_written_otherwise(self) -> None:
        """
        A service whose listeners are only written in another way has not changed, or
        the line says what has: it never names nothing.
        """
        old = "[echo]\nlisten = unix:{runtime}/a.sock\n"
        new = "[echo]\nlisten = unix:/run/x/a.sock\n"
        found = differences(read(old), read(new))
        self.assertIn(found, ((), ("[echo] listen changed",)))

    def test_defaults(self) -> None:
        """A default that changes is told for each service that has it."""
        text = "[defaults]\nidle_timeout = {}\n" + ECHO + UPPER + "idle_timeout = 9s\n"
        self.check(text.format("1s"), text.format("2s"), "[echo] idle_timeout changed")

    def test_order_of_lines(self) -> None:
        """The daemon comes first, then what goes, then the others in the file's order."""
        old = ECHO + UPPER + "[discard]\nlisten = tcp:9\n"
        new = "[time]\nlisten = tcp:37\n[upper]\nlisten = tcp:18\n[discard]\nlisten = udp:9\n"
        new += "[socketd]\nlog_level = warn\n"
        self.check(
            old,
            new,
            "[socketd] log_level changed",
            "[echo] removed",
            "[time] added",
            "[upper] listen changed",
            "[discard] listen changed",
        )

    def test_order_of_removed(self) -> None:
        """Services that go are told in the order of their file, in every process."""
        script = (
            "from tests.settings.test_diff import ECHO, read\n"
            "from socketd.settings.diff import differences\n"
            "more = [f'[{n}]\\nprotocol = echo\\nlisten = tcp:{p}\\n'"
            " for p, n in enumerate('dbac', 8)]\n"
            "print([line[1] for line in differences(read(ECHO + ''.join(more)), read(ECHO))])\n"
        )
        for seed in ("1", "2", "3"):
            environ = dict(os.environ) | {"PYTHONHASHSEED": seed}
            command = [sys.executable, "-c", script]
            ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environ)
            self.assertEqual(ended.stdout, "['d', 'b', 'a', 'c']\n", ended.stderr)
