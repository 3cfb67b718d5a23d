"""Tests for L{socketd.tap} and L{socketd.configuration}."""

from __future__ import annotations

import gc
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.application.service import IService, IServiceMaker, MultiService
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.common import paths
from socketd.common.errors import BAD_CONFIGURATION
from socketd.control.console import ConsoleService
from socketd.daemon.daemon import Daemon
from socketd.daemon.log import LineLog
from socketd.daemon.notify import NotifyService
from socketd.daemon.signals import Signals
from socketd.daemon.state import CannotStart
from socketd.daemon.summaries import Summaries
from socketd.tap import Options, Root, makeService
from twisted.plugins.socketd_plugin import socketd as maker

GOOD = "[echo]\nlisten = tcp:7\n"
BAD = "[echo]\nlisten = tcp:x\nlisen = tcp:7\n[eco]\n"


class Case(SynchronousTestCase):
    """A command line, with standard error kept."""

    def setUp(self) -> None:
        self.errors = StringIO()
        self.patch(sys, "stderr", self.errors)
        self.patch(sys, "__stderr__", self.errors)
        # A path for UNIX sockets has to be short.
        parent = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, parent)
        self.runtime = os.path.join(parent, "run")
        self.patch(os, "environ", {"RUNTIME_DIRECTORY": self.runtime})

    def file(self, text: str) -> str:
        name: str = self.mktemp()
        Path(name).write_text(text, encoding="utf-8")
        return name

    def options(self, *arguments: str, twistd: Any = None) -> Options:
        """Read a command line; C{twistd}: the options of C{twistd} itself."""
        options = Options()
        options.parent = twistd
        options.parseOptions(arguments)
        return options

    def ended(self, function: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        """
        Have the process ended.

        @return: its status, or the text that goes to standard error with status 1.
        """
        return self.assertRaises(SystemExit, function, *arguments, **more).code


class OptionsTests(Case):
    """Tests for L{Options}."""

    def test_good(self) -> None:
        """The configuration is read with the command line."""
        file = self.file(GOOD)
        for arguments in (["--config", file], ["-c", file], [f"--config={file}"]):
            options = self.options(*arguments)
            services = options["configuration"].settings.services
            self.assertEqual([service.name for service in services], ["echo"])
            self.assertEqual((options["runtime"], options["console"]), (self.runtime, 0))

    def test_environment(self) -> None:
        """Where the command line names no file, the variable does."""
        os.environ[paths.CONFIG_VARIABLE] = self.file(GOOD)
        self.assertEqual(len(self.options()["configuration"].settings.services), 1)

    def test_bad(self) -> None:
        """
        All that is wrong with a file is on standard error, one per line, and
        the status is that of a bad configuration.
        """
        file = self.file(BAD)
        self.assertEqual(self.ended(self.options, "--config", file), BAD_CONFIGURATION)
        places = [line.split(": ")[0] for line in self.errors.getvalue().splitlines()]
        self.assertEqual(places, [f"{file}:{number}" for number in (2, 3, 4)])

    def test_missing(self) -> None:
        """So it is with a file that cannot be read."""
        file = self.mktemp()
        self.assertEqual(self.ended(self.options, "--config", file), 78)
        message = f"{file}: cannot be read: No such file or directory\n"
        self.assertEqual(self.errors.getvalue(), message)

    def test_refused_by_the_system(self) -> None:
        """So it is with a socket option that the system refuses."""
        file = self.file("[echo]\nlisten = udp:7\ntcp_keepcnt = 3\n")
        self.assertEqual(self.ended(self.options, "--config", file), 78)
        self.assertTrue(self.errors.getvalue().startswith(f"{file}:3: [echo] tcp_keepcnt: "))

    def test_console_needs_terminal(self) -> None:
        """A console has no terminal where twistd goes into the background."""
        arguments = ("--config", self.file(GOOD), "--console")
        message = self.ended(self.options, *arguments, twistd={"nodaemon": 0})
        self.assertEqual(
            message, "socketd: --console needs a terminal; start twistd with --nodaemon"
        )
        self.assertEqual(self.options(*arguments, twistd={"nodaemon": 1})["console"], 1)
        self.assertEqual(self.options(*arguments)["console"], 1)


class MakeServiceTests(Case):
    """Tests for L{makeService} and L{Root}."""

    def make(self, *arguments: str, text: str = GOOD, twistd: Any = None) -> Root:
        options = self.options("--config", self.file(text), *arguments, twistd=twistd)
        return makeService(options, MemoryReactorClock())

    def test_plugin(self) -> None:
        """twistd finds it."""
        self.addCleanup(gc.enable)
        verifyObject(IServiceMaker, maker)
        self.assertIdentical(maker.options, Options)
        self.assertIdentical(maker.makeService, makeService)
        self.assertEqual(maker.tapname, "socketd")

    def test_tree(self) -> None:
        """The tree is the daemon; nothing is started."""
        root = self.make()
        verifyObject(IService, root)
        kinds = [type(child) for child in root]
        self.assertEqual(kinds, [NotifyService, Signals, Summaries, Daemon])
        *_, daemon = root
        self.assertEqual([one.name for one in daemon.services], ["echo"])
        self.assertFalse(daemon.running)
        self.assertEqual(daemon.reactor.getDelayedCalls(), [])

    def test_console(self) -> None:
        """With C{--console} there is a console before it, which takes the log, too."""
        root = self.make("--console", twistd={"nodaemon": 1})
        console = list(root)[2]
        self.assertIsInstance(console, ConsoleService)
        self.assertIdentical(root.observer, console.observer)
        application: Any = MultiService()
        application.setComponent = lambda *found: components.append(found)
        components: list[Any] = []
        root.setServiceParent(application)
        self.assertEqual(components, [(ILogObserver, console.observer)])

    def test_log_elsewhere(self) -> None:
        """A log that twistd was told to write elsewhere goes there, and not to the console."""
        root = self.make("--console", twistd={"nodaemon": 1, "syslog": 1})
        self.assertIdentical(root.observer, None)
        file = os.path.abspath(self.mktemp())
        root = self.make("--console", twistd={"nodaemon": 1, "logfile": file})
        self.assertIsInstance(root.observer, LineLog)
        self.assertTrue(os.path.exists(file))

    def test_no_console(self) -> None:
        """Without a console the log is twistd's."""
        root, application = self.make(), MultiService()
        root.setServiceParent(application)
        self.assertEqual(list(application), [root])

    def test_runtime_directory(self) -> None:
        """The directory for UNIX sockets is made, for its owner, where a listener is in it."""
        self.make()
        self.assertFalse(os.path.exists(self.runtime))
        self.make(text="[echo]\nlisten = unix:{runtime}/echo.sock\n")
        self.assertEqual(stat.S_IMODE(os.stat(self.runtime).st_mode) & 0o077, 0)

    def test_runtime_directory_of_others(self) -> None:
        """A directory that others can write to stops the start with one line."""
        os.mkdir(self.runtime)
        os.chmod(self.runtime, 0o777)
        code = self.ended(self.make, text="[echo]\nlisten = unix:{runtime}/echo.sock\n")
        self.assertEqual(code, BAD_CONFIGURATION)
        expected = f"is in {self.runtime}, which is not a directory that only its owner can write"
        self.assertTrue(self.errors.getvalue().endswith(f"{expected}\n"))

    def test_runtime_directory_of_another(self) -> None:
        """So does a directory of another user."""
        os.mkdir(self.runtime)
        self.patch(os, "geteuid", lambda: os.stat(self.runtime).st_uid + 1)
        code = self.ended(self.make, text="[echo]\nlisten = unix:{runtime}/echo.sock\n")
        self.assertEqual(code, f"socketd: {self.runtime} is not a private directory of this user")

    def test_cannot_listen(self) -> None:
        """Listeners that cannot be bound are on standard error, and the status is 1."""

        def refuse(daemon: Daemon) -> None:
            raise CannotStart(["[a] cannot listen at tcp *:1: x", "[b] cannot"])

        self.patch(Daemon, "privilegedStartService", refuse)
        self.assertEqual(self.ended(self.make().privilegedStartService), 1)
        self.assertEqual(self.errors.getvalue(), "[a] cannot listen at tcp *:1: x\n[b] cannot\n")


class ProcessTests(SynchronousTestCase):
    """Tests for what twistd's process has for itself, in one of its own."""

    def run_script(self, script: str) -> str:
        """Run a script, whose argument is a configuration, and return what it prints."""
        file = self.mktemp()
        Path(file).write_text(GOOD)
        command = [sys.executable, "-c", script, file]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(ended.stderr, "")
        return ended.stdout

    def test_monotonic(self) -> None:
        """Its timers, and those of the daemon, do not follow steps of the wall clock."""
        script = (
            "import sys, time\n"
            "from socketd.tap import Options, makeService\n"
            "options = Options()\n"
            "options.parseOptions(['--config', sys.argv[1]])\n"
            "*_, daemon = makeService(options)\n"
            "from twisted.internet import reactor\n"
            "time.time = lambda: 0.0\n"
            "print(reactor.seconds is daemon.reactor.seconds is time.monotonic)\n"
        )
        self.assertEqual(self.run_script(script), "True\n")

    def test_collections(self) -> None:
        """Garbage is collected but while modules are imported."""
        script = (
            "import gc, sys\n"
            "from twisted.plugins.socketd_plugin import socketd\n"
            "options = socketd.options()\n"
            "print(gc.isenabled())\n"
            "options.parseOptions(['--config', sys.argv[1]])\n"
            "socketd.makeService(options)\n"
            "print(gc.isenabled())\n"
        )
        self.assertEqual(self.run_script(script), "False\nTrue\n")
