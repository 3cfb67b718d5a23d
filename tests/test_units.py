"""Tests for C{etc/systemd} and C{etc/sysusers.d}, and for the check of C{make check} for them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from socketd.common.errors import BAD_CONFIGURATION
from socketd.protocols.registry import installed
from socketd.settings.load import parse
from socketd.settings.model import DaemonOptions
from tests.support.needs import need
from tests.support.source_tree import ROOT

UNITS = ROOT / "etc" / "systemd"
BIN = Path(sys.executable).parent

#: Longer than the check takes on a slow machine (seconds).
PATIENCE = 120


def values(file: str) -> dict[str, list[str]]:
    """Read a unit: its values by name."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / file).read_text().splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


class ServiceTests(SynchronousTestCase):
    """Tests for what the service unit says of the daemon."""

    def setUp(self) -> None:
        self.unit = values("socketd.service")

    def test_foreground(self) -> None:
        """twistd does not fork: systemd's sockets and messages are for one process."""
        [start] = self.unit["ExecStart"]
        self.assertIn("twistd --nodaemon --pidfile= socketd ", start)
        self.assertEqual(self.unit["Type"], ["notify"])

    def test_bad_configuration(self) -> None:
        """A configuration that is refused is not tried again."""
        self.assertEqual(self.unit["RestartPreventExitStatus"], [str(BAD_CONFIGURATION)])

    def test_reload(self) -> None:
        """A reload needs no program but the shell: a minimal Debian has no other kill."""
        [reload] = self.unit["ExecReload"]
        program, option, line = shlex.split(reload)
        self.assertEqual((program, option), ("/bin/sh", "-c"))
        builtin = subprocess.run([program, option, f"type {line.split()[0]}"], capture_output=True)
        self.assertIn(b"builtin", builtin.stdout)

    def test_drain(self) -> None:
        """systemd does not kill a daemon that drains for as long as it does by default."""
        [wait] = self.unit["TimeoutStopSec"]
        self.assertGreater(int(wait), DaemonOptions().drain_timeout)

    def test_clock_can_be_read(self) -> None:
        """
        The last word of the filter is that the clock may be read: without it NTP clients
        would be told that this machine is not synchronised.
        """
        self.assertEqual(self.unit["SystemCallFilter"][-1], "adjtimex clock_adjtime")
        self.assertNotIn("ProtectClock", self.unit)

    def test_tls_can_call_back(self) -> None:
        """Memory that is written and run is not forbidden where there may be TLS."""
        for file in ("socketd.service", "activated.conf"):
            self.assertNotIn("MemoryDenyWriteExecute", values(file))

    def test_one_capability(self) -> None:
        """There is one capability at most; sockets that are handed over need none."""
        for name in ("AmbientCapabilities", "CapabilityBoundingSet"):
            self.assertEqual(self.unit[name], ["CAP_NET_BIND_SERVICE"])
            self.assertEqual(values("activated.conf")[name], [""])

    def test_account(self) -> None:
        """The account of sysusers.d is the one that the unit runs as."""
        lines = (ROOT / "etc" / "sysusers.d" / "socketd.conf").read_text().splitlines()
        [account] = [line.split()[1] for line in lines if not line.startswith("#")]
        self.assertEqual(self.unit["User"], [account])


class SocketTests(SynchronousTestCase):
    """Tests for the socket unit and its drop-in."""

    def test_belong_together(self) -> None:
        """The drop-in takes the sockets of the unit, and the unit starts the service."""
        self.assertEqual(values("activated.conf")["Sockets"], ["socketd.socket"])
        self.assertEqual(values("socketd.socket")["Service"], ["socketd.service"])

    def test_example(self) -> None:
        """The configuration in its comment takes the sockets by the name that they have."""
        lines = (UNITS / "socketd.socket").read_text().splitlines()
        text = "\n".join(line[4:] for line in lines if line.startswith("#   "))
        [service] = parse(text, "x.ini", installed(), "/run/socketd").services
        names = [listener.name for listener in service.listeners]
        self.assertEqual(names, values("socketd.socket")["FileDescriptorName"])


class CheckUnitsTests(SynchronousTestCase):
    """Tests for C{packaging/check-units}."""

    def setUp(self) -> None:
        self.tree = Path(self.mktemp())
        for name in ("etc", "packaging"):
            shutil.copytree(ROOT / name, self.tree / name)

    def check(self, **environ: str) -> subprocess.CompletedProcess[str]:
        command = ["/bin/bash", str(self.tree / "packaging" / "check-units"), str(BIN)]
        return subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def check_changed(self, file: str, old: str, new: str) -> str:
        """Expect the check to fail after a change, and return what it says."""
        need("systemd-analyze")
        path = self.tree / "etc" / "systemd" / file
        text = path.read_text()
        self.assertEqual(text.count(old), 1)
        path.write_text(text.replace(old, new))
        done = self.check(PATH=os.environ["PATH"])
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stderr

    def test_unknown_directive(self) -> None:
        """A directive that systemd does not know fails, in the unit and in its drop-in."""
        said = self.check_changed("socketd.service", "\nUMask=", "\nUmask=")
        self.assertIn("Umask", said)
        shutil.copy(UNITS / "socketd.service", self.tree / "etc" / "systemd")
        said = self.check_changed("activated.conf", "\nPrivateUsers=", "\nPrivateUser=")
        self.assertIn("PrivateUser", said)

    def test_exposure(self) -> None:
        """A unit that protects less than it did fails."""
        said = self.check_changed("socketd.service", "\nProtectHome=yes\n", "\n")
        self.assertIn("socketd.service: more than 18", said)

    def test_missing(self) -> None:
        """Without systemd-analyze it says so; only in CI it fails."""
        path = Path(self.mktemp()).resolve()
        path.mkdir()
        path.joinpath("dirname").symlink_to(shutil.which("dirname") or "dirname")
        for environ, status in (({}, 0), ({"CI": "1"}, 1)):
            done = self.check(PATH=str(path), **environ)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn("UNITS NOT CHECKED", done.stderr)
