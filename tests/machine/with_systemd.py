"""
The package on a Debian with systemd: what an operator does to it, and what happens to it.

The tree to boot is in C{build/machine}. C{make system-test} makes it and the package for Debian
12; that for 13 is the one which C{make test-bare} has built there.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.machine.nspawn import COMMAND, LOOK, Machine
from tests.support.polling import wait_until

TOP = Path(__file__).resolve().parent.parent.parent
BUILT = TOP / "build" / "machine"
RELEASE = os.environ.get("RELEASE", "12")
PACKAGES = TOP / "dist" if RELEASE == "12" else BUILT / f"deb-{RELEASE}"
OLD = BUILT / f"old-{RELEASE}" / "dist"

INI = "/etc/socketd/socketd.ini"
TLS = "/etc/socketd/tls"
RUNTIME = "/run/socketd"
DROP_INS = "/etc/systemd/system/socketd.service.d"
EXAMPLES = "/usr/share/doc/socketd/examples"

#: Seconds that a daemon may be away after it was killed.
AWAY = 2.0

#: The first systemd that has C{Type=notify-reload}.
NOTIFY_RELOAD = 253

#: Seconds of load, with something that happens five times meanwhile.
LOAD = 3.0

#: What a purge may leave behind: the account, what other programs keep of their work, and
#: what systemd keeps of units.
KEPT = re.compile(
    r"/etc/(passwd|shadow|group|gshadow|subuid|subgid)-?|/var/log/.*|/var/lib/dpkg/.*"
    r"|/var/cache/.*|/var/lib/systemd/(timers|catalog|random-seed).*|/var/lib/private"
)


@cache
def machine() -> Machine:
    """Boot the machine, once."""
    OLD.mkdir(parents=True, exist_ok=True)
    shared = {"/dist": PACKAGES, "/old": OLD, "/tests": TOP / "tests" / "machine"}
    booted = Machine(BUILT / f"systemd-{RELEASE}", shared)
    atexit.register(booted.stop)
    return booted


class Case(SynchronousTestCase):
    """A fresh installation."""

    def setUp(self) -> None:
        [package] = PACKAGES.glob("*.deb")
        self.package = f"/dist/{package.name}"
        first = self.first()
        self.shell("dpkg --purge socketd; rm -rf /etc/systemd/system/socketd.s* /etc/socketd")
        self.shell("systemctl daemon-reload; systemctl reset-failed")
        self.done("dpkg", "--install", first)

    def first(self) -> str:
        """Give the package that is there before the test."""
        return self.package

    def shell(self, line: str) -> str:
        """Run a line of shell, whatever comes of it."""
        done = machine().run("sh", "-c", line)
        return done.stdout + done.stderr

    def done(self, *command: str, text: str = "") -> str:
        """
        Run a command that has to succeed.

        @return: what it printed.
        """
        ran = machine().run(*command, text=text)
        self.assertEqual(ran.returncode, 0, f"{command}: {ran.stdout}{ran.stderr}")
        return ran.stdout

    def inside(self, *arguments: str) -> str:
        """Run one of the clients in the machine."""
        return self.done("python3", "/tests/inside.py", *arguments)

    def write(self, path: str, text: str) -> None:
        self.done("mkdir", "-p", str(Path(path).parent))
        self.done("tee", path, text=text)

    def drop_in(self, text: str) -> None:
        """Change the unit."""
        self.write(f"{DROP_INS}/test.conf", text)
        self.done("systemctl", "daemon-reload")

    def configure(self, text: str) -> None:
        """Restart the daemon with a configuration."""
        self.write(INI, text)
        self.done("systemctl", "restart", "socketd")

    def shown(self, name: str) -> str:
        """Give what systemd knows of the unit."""
        return self.done("systemctl", "show", "socketd", f"--property={name}", "--value").strip()

    def journal(self) -> str:
        """Give the log of the unit."""
        self.done("journalctl", "--sync")
        return self.done("journalctl", "--unit=socketd", "--output=cat", "--no-pager")

    def wait_for(self, what: str, is_so: Callable[[], Any]) -> None:
        """Wait for something that takes a while."""
        missing = lambda: f"not {what}; the log:\n{self.journal()}"  # noqa: E731
        wait_until(is_so, missing, COMMAND, LOOK)

    def under_load(self, port: int, act: Callable[[], object]) -> None:
        """
        Do something five times while clients come all the time, and expect that none is
        refused or gets no answer.
        """
        clients = machine().start("python3", "/tests/inside.py", "load", str(port), str(LOAD))
        for _ in range(5):
            time.sleep(LOAD / 10)
            act()
        said, _ = clients.communicate(timeout=COMMAND)
        self.assertEqual(clients.returncode, 0, said)
        tally = json.loads(said)
        self.assertEqual(tally.keys(), {"answered"}, tally)
        self.assertGreater(tally["answered"], 100)


class StartTests(Case):
    """Tests for start and stop."""

    def test_running(self) -> None:
        """
        The package starts the daemon, enabled for the next boot, and systemctl shows in
        words what it does.
        """
        self.assertEqual(self.shown("ActiveState"), "active")
        self.assertEqual(self.shown("UnitFileState"), "enabled")
        shown = self.done("systemctl", "status", "--no-pager", "socketd")
        self.assertRegex(shown, r'Status: "serving: \d+ services at \d+ listeners')

    def test_services(self) -> None:
        """Every service of the default configuration gives the right answer."""
        self.assertEqual(self.inside("ask", RUNTIME), "")

    def test_command(self) -> None:
        """
        The command is there and knows the configuration of the package; so is twistd, with
        the plugin.
        """
        self.assertIn("configuration OK", self.done("socketd", "check"))
        self.assertIn("socketd", self.done("/usr/lib/socketd/bin/twistd", "--help"))
        self.assertIn("/run/socketd/upper.sock", self.done("cat", INI))

    def test_unprivileged(self) -> None:
        """
        The daemon has an account of its own and one capability, which suffices for a low
        port.
        """
        self.configure("[echo]\nlisten = tcp:7:interface=127.0.0.1\n")
        self.inside("answers", "7", "1")
        status = self.done("cat", f"/proc/{self.shown('MainPID')}/status")
        self.assertNotRegex(status, r"Uid:\s+0\b")
        self.assertRegex(status, r"CapEff:\s+0*400\n")
        self.assertRegex(status, r"CapBnd:\s+0*400\n")
        self.assertRegex(status, r"NoNewPrivs:\s+1\n")
        self.assertRegex(status, r"Seccomp:\s+2\n")

    def test_directory(self) -> None:
        """The directory of sockets is for the daemon and its group."""
        found = self.done("stat", "--format=%U:%G %a", "/run/socketd").strip()
        self.assertEqual(found, "socketd:socketd 750")

    def test_exposure(self) -> None:
        """As it is installed the unit forbids no less than it did (tenths, of 100)."""
        command = ["systemd-analyze", "security", "--no-pager", "--threshold=18", "socketd"]
        self.assertIn("Overall exposure level", self.done(*command))
        self.write("/etc/systemd/system/socketd.service", self.done("socketd", "unit"))
        self.done("systemctl", "daemon-reload")
        self.done(*command[:3], "--threshold=15", "socketd")

    def test_clock_can_be_read(self) -> None:
        """What the unit allows the daemon to call is enough to read the state of the clock."""
        unit = self.done("cat", "/usr/lib/systemd/system/socketd.service")
        lines = [line for line in unit.splitlines() if line.startswith("SystemCall")]
        program = "import ctypes; print(ctypes.CDLL(None).adjtimex(bytes(208)) >= 0)"
        properties = [f"--property={line}" for line in (*lines, "CapabilityBoundingSet=")]
        command = ["systemd-run", "--quiet", "--wait", "--pipe", *properties]
        self.assertEqual(self.done(*command, "python3", "-c", program).strip(), "True")

    def test_journal(self) -> None:
        """The log is in the journal, from start to stop, with each connection."""
        self.inside("answers", "23007", "1")
        self.done("systemctl", "stop", "socketd")
        log = self.journal()
        for line in ("echo listens on tcp 127.0.0.1:23007", "stopping"):
            self.assertIn(line, log)
        self.assertRegex(log, r"echo.*127\.0\.0\.1")
        self.assertNotIn("Traceback", log)

    def test_stop(self) -> None:
        """
        A stop waits for connections as long as the drain may take, not longer, and is no
        failure.
        """
        self.configure(
            "[socketd]\ndrain_timeout = 2s\n[echo]\nlisten = tcp:23007:interface=127.0.0.1\n"
        )
        client = machine().start("python3", "/tests/inside.py", "hold", "23007")
        assert client.stdout is not None
        self.assertEqual(client.stdout.readline(), "held\n")
        began = time.monotonic()
        self.done("systemctl", "stop", "socketd")
        self.assertLess(time.monotonic() - began, 4.0)
        self.assertEqual((self.shown("Result"), self.shown("ExecMainStatus")), ("success", "0"))
        client.kill()
        client.communicate()

    def test_bad_configuration(self) -> None:
        """
        A start with a configuration that is wrong fails with the reason in the log, and is
        not tried again.
        """
        self.write(INI, "[echo]\nlisten = tcp:x\n")
        self.assertNotEqual(machine().run("systemctl", "restart", "socketd").returncode, 0)
        self.assertEqual(self.shown("ExecMainStatus"), "78")
        self.assertEqual(self.shown("NRestarts"), "0")
        self.assertEqual(self.shown("ActiveState"), "failed")
        self.assertIn(f"{INI}:2: [echo] listen", self.journal())


class ReloadTests(Case):
    """Tests for changes of the configuration."""

    def test_under_load(self) -> None:
        """Five reloads that change services refuse no client, and what is new answers."""
        before = self.done("cat", INI)
        self.write(INI, before + "[new]\nprotocol = echo\nlisten = tcp:9107:interface=127.0.0.1\n")
        process = self.shown("MainPID")
        self.under_load(23007, lambda: self.done("systemctl", "reload", "socketd"))
        self.assertNotEqual(self.inside("answers", "9107", "5"), "")
        self.assertEqual(self.shown("MainPID"), process)

    def test_refused(self) -> None:
        """A configuration that is wrong changes nothing; the status and the log say why."""
        self.write(INI, self.done("cat", INI) + "[eco]\nlisten = tcp:1\n")
        self.done("systemctl", "reload", "socketd")
        self.wait_for("told", lambda: f"{INI}:" in self.shown("StatusText"))
        self.assertIn("serving: ", self.shown("StatusText"))
        self.assertIn(f"{INI}:", self.journal())
        self.assertEqual(self.shown("ActiveState"), "active")
        self.assertEqual(self.inside("ask", RUNTIME), "")

    def test_notify_reload(self) -> None:
        """Where systemd itself sends the signal, a reload ends when what is new answers."""
        version = self.done("systemctl", "--version").split()[1]
        if int(version) < NOTIFY_RELOAD:
            raise SkipTest(f"needs systemd {NOTIFY_RELOAD}, in Debian 13: RELEASE=13")
        self.drop_in(self.done("cat", f"{EXAMPLES}/notify-reload.conf"))
        self.done("systemctl", "restart", "socketd")
        new = "[new]\nprotocol = echo\nlisten = tcp:9107:interface=127.0.0.1\n"
        self.write(INI, self.done("cat", INI) + new)
        self.done("systemctl", "reload", "socketd")
        self.done("socketd", "send", "127.0.0.1:9107", "hello")

    def test_written_unit(self) -> None:
        """The unit that the daemon writes for a configuration suffices for it."""
        unit = self.done("socketd", "unit")
        self.assertIn("SocketBindDeny=any", unit)
        self.assertIn("MemoryDenyWriteExecute=yes", unit)
        self.write("/etc/systemd/system/socketd.service", unit)
        self.done("systemctl", "daemon-reload")
        self.done("systemctl", "restart", "socketd")
        self.assertEqual(self.shown("FragmentPath"), "/etc/systemd/system/socketd.service")
        self.assertEqual(self.inside("ask", RUNTIME), "")

    def test_written_unit_for_tls(self) -> None:
        """So does that for TLS at a low port."""
        self.done("socketd", "certificate", "127.0.0.1", "--directory", TLS)
        self.done("chgrp", "socketd", TLS, f"{TLS}/server.key")
        self.done("chmod", "640", f"{TLS}/server.key")
        self.done("chmod", "750", TLS)
        self.write(
            INI,
            "[echo]\nlisten = tls:443:interface=127.0.0.1\n"
            f"tls_certificate = {TLS}/server.pem\ntls_key = {TLS}/server.key\n",
        )
        self.write("/etc/systemd/system/socketd.service", self.done("socketd", "unit"))
        self.done("systemctl", "daemon-reload")
        self.done("systemctl", "restart", "socketd")
        command = ["socketd", "send", "--tls", "--ca", f"{TLS}/ca.pem"]
        self.assertEqual(self.done(*command, "127.0.0.1:443", "hello").strip(), "hello")


class FaultTests(Case):
    """Tests for what happens to a daemon."""

    def test_killed(self) -> None:
        """A daemon that was killed is back within two seconds."""
        process = self.shown("MainPID")
        self.done("systemctl", "kill", "--signal=KILL", "socketd")
        away = self.inside("answers", "23007", "10")
        self.assertLess(float(away), AWAY)
        self.assertNotEqual(self.shown("MainPID"), process)
        self.assertEqual(self.inside("ask", RUNTIME), "")

    def test_stuck(self) -> None:
        """A daemon that does nothing any more is restarted by the watchdog."""
        self.drop_in("[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n")
        self.done("systemctl", "restart", "socketd")
        process = self.shown("MainPID")
        time.sleep(4)
        self.assertEqual(self.shown("MainPID"), process, "it gives signs of life")
        self.done("systemctl", "kill", "--signal=STOP", "socketd")
        self.wait_for("restarted", lambda: self.shown("MainPID") not in (process, "0"))
        self.assertNotEqual(self.inside("answers", "23007", "5"), "")
        self.assertIn("Watchdog timeout", self.journal())

    def test_stacks(self) -> None:
        """What the watchdog sends has the daemon write where it was."""
        self.done("systemctl", "kill", "--signal=ABRT", "socketd")
        self.wait_for("written", lambda: "most recent call first" in self.journal())


class ActivationTests(Case):
    """Tests for sockets that systemd binds."""

    def setUp(self) -> None:
        super().setUp()
        self.done("systemctl", "stop", "socketd")
        self.write(INI, "[echo]\nlisten = systemd:echo\n")
        self.done("mkdir", "-p", DROP_INS)
        self.done("cp", f"{EXAMPLES}/activated.conf", DROP_INS)
        self.done("cp", f"{EXAMPLES}/socketd.socket", "/etc/systemd/system/")
        self.done("systemctl", "daemon-reload")
        self.done("systemctl", "start", "socketd.socket")
        self.addCleanup(self.shell, "systemctl stop socketd.socket socketd.service")

    def test_first_client(self) -> None:
        """
        The first client starts the daemon, which has no capability and no network of its
        own, and answers at all of its sockets.
        """
        self.assertEqual(self.shown("ActiveState"), "inactive")
        self.assertNotEqual(self.inside("answers", "7", "10"), "")
        self.assertEqual(self.shown("ActiveState"), "active")
        process = self.shown("MainPID")
        status = self.done("cat", f"/proc/{process}/status")
        self.assertRegex(status, r"CapEff:\s+0+\n")
        self.assertRegex(status, r"CapBnd:\s+0+\n")
        spaces = {self.done("readlink", f"/proc/{one}/ns/net") for one in ("1", process)}
        self.assertEqual(len(spaces), 2)
        sent = self.done("socketd", "send", "udp:127.0.0.1:7", "hello")
        self.assertEqual(sent.strip(), "hello")

    def test_reload(self) -> None:
        """A reload reaches it, too, though its users are others than those outside."""
        self.inside("answers", "7", "10")
        self.done("systemctl", "reload", "socketd")
        self.wait_for("reloaded", lambda: "reloaded: nothing changed" in self.journal())

    def test_restart(self) -> None:
        """Five restarts under load refuse no client."""
        self.inside("answers", "7", "10")
        self.under_load(7, lambda: self.done("systemctl", "restart", "socketd.service"))


class TimeTests(Case):
    """Tests for clients of the time."""

    INI = "[ntp]\nlisten = udp:123:interface=127.0.0.1\nassume_synchronised = yes\n"
    CHRONYD = ("chronyd", "-Q", "-t", "10", "server 127.0.0.1 iburst maxsamples 2")

    def test_chrony(self) -> None:
        """chrony takes the time of a daemon that vouches for it."""
        self.configure(self.INI)
        ran = machine().run(*self.CHRONYD)
        said = ran.stdout + ran.stderr
        self.assertEqual(ran.returncode, 0, said)
        [offset] = re.findall(r"System clock wrong by (-?[0-9.]+) seconds", said)
        self.assertLess(abs(float(offset)), 0.1)


class PackageTests(Case):
    """Tests for upgrade, removal and purge."""

    def files(self) -> set[str]:
        """List what is on the disk, without what may stay."""
        found = self.done(
            "find", "/", "-xdev", "(", "-path", "/dist", "-o", "-path", "/old", "-o",
            "-path", "/tests", ")", "-prune", "-o", "-print",
        )  # fmt: skip
        running = self.done("find", "/run", "-name", "*socketd*")
        return {path for path in (found + running).splitlines() if not KEPT.fullmatch(path)}

    def test_upgrade(self) -> None:
        """An upgrade keeps the operator's configuration, and runs the new code."""
        self.configure("[echo]\nlisten = tcp:9107:interface=127.0.0.1\n")
        process = self.shown("MainPID")
        self.done("dpkg", "--install", self.package)
        self.assertNotEqual(self.inside("answers", "9107", "5"), "")
        self.assertNotEqual(self.shown("MainPID"), process)

    def test_disabled(self) -> None:
        """What the operator has disabled stays disabled after an upgrade."""
        self.done("systemctl", "disable", "socketd")
        self.done("dpkg", "--install", self.package)
        self.assertEqual(self.shown("UnitFileState"), "disabled")

    def test_remove(self) -> None:
        """A removal stops the daemon and keeps the configuration."""
        self.done("dpkg", "--remove", "socketd")
        self.assertIn(self.shown("ActiveState"), ("inactive", "failed"))
        self.assertNotEqual(machine().run("test", "-e", "/usr/bin/socketd").returncode, 0)
        self.done("test", "-e", INI)

    def test_purge(self) -> None:
        """
        A purge leaves nothing behind but the account, whose number may own keys; the daemon
        has written nothing beside what was installed.
        """
        self.inside("ask", RUNTIME)
        self.done("dpkg", "--verify", "socketd")
        self.done("dpkg", "--purge", "socketd")
        before = self.files()
        self.assertEqual({path for path in before if "socketd" in path}, set())
        self.done("dpkg", "--install", self.package)
        self.inside("ask", RUNTIME)
        self.done("dpkg", "--purge", "socketd")
        self.assertEqual(self.files() - before, set())
        self.assertEqual(self.shown("LoadState"), "not-found")


class OldPackageTests(Case):
    """Tests for an upgrade from 0.1, as C{make system-test} builds it from the history."""

    OWN = "\n[own]\nprotocol = echo\nlisten = tcp:9107:interface=127.0.0.1\n"

    #: Of the echo service in the default file of 0.1.
    OLD_PORT = "9007"

    def first(self) -> str:
        packages = [f"/old/{package.name}" for package in OLD.glob("*.deb")]
        if not packages:
            raise SkipTest("needs 0.1, which make builds from git's history, with this Python 3.x")
        return packages[0]

    def setUp(self) -> None:
        super().setUp()
        self.assertNotEqual(self.inside("answers", self.OLD_PORT, "5"), "")
        self.process = self.shown("MainPID")

    def upgrade(self, answer: str) -> str:
        """
        Upgrade, and expect the new code to run.

        @param answer: what is typed where dpkg asks.
        @return: what dpkg printed, and asked.
        """
        ran = machine().run("dpkg", "--install", self.package, text=answer)
        said = ran.stdout + ran.stderr
        self.assertEqual(ran.returncode, 0, said)
        self.assertEqual(self.shown("ActiveState"), "active", self.journal())
        self.assertNotEqual(self.shown("MainPID"), self.process)
        self.assertIn("/bin/sh", self.shown("ExecReload"))
        self.assertNotIn("0.1", self.done("socketd", "--version"))
        return said

    def change(self) -> str:
        """Change the configuration as an operator does, and return it."""
        self.configure(self.done("cat", INI) + self.OWN)
        self.process = self.shown("MainPID")
        return self.done("cat", INI)

    def test_unchanged(self) -> None:
        """A default file that is as it was becomes the new one, without a question."""
        self.assertNotIn("Configuration file", self.upgrade(""))
        self.assertEqual(self.inside("ask", RUNTIME), "")

    def test_kept(self) -> None:
        """
        Of a changed one dpkg asks, and Enter keeps it: all that it serves is served on, the new
        default lies beside it, and nothing of either is there after a purge.
        """
        changed = self.change()
        said = self.upgrade("\n")
        self.assertIn(f"Configuration file '{INI}'", said)
        self.assertIn("Modified (by you or by a script) since installation.", said)
        self.assertIn("The default action is to keep your current version.", said)
        self.assertEqual(self.done("cat", INI), changed)
        self.assertIn("configuration OK", self.done("socketd", "check"))
        for port in (self.OLD_PORT, "9107"):
            self.assertNotEqual(self.inside("answers", port, "5"), "", port)
        self.assertIn("23007", self.done("cat", f"{INI}.dpkg-dist"))
        self.done("dpkg", "--purge", "socketd")
        left = self.done("find", "/etc", "/usr", "/var/lib", "/run", "-name", "*socketd*")
        self.assertEqual({path for path in left.splitlines() if not KEPT.fullmatch(path)}, set())

    def test_taken(self) -> None:
        """Who takes the new one finds the old one beside it."""
        changed = self.change()
        self.upgrade("Y\n")
        self.assertEqual(self.inside("ask", RUNTIME), "")
        self.assertEqual(self.done("cat", f"{INI}.dpkg-old"), changed)

    def test_disabled(self) -> None:
        """One that was disabled and stopped stays so."""
        self.done("systemctl", "disable", "--now", "socketd")
        self.done("dpkg", "--install", self.package)
        self.assertEqual(self.shown("UnitFileState"), "disabled")
        self.assertEqual(self.shown("ActiveState"), "inactive")
