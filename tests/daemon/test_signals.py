"""Tests for L{socketd.daemon.signals}."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.service import IService
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.daemon.signals import NOTICE, POLL_INTERVAL, STOP, Hangups, Signals, Terminal
from tests.support.source_tree import ROOT

#: How long a process may take that does next to nothing (seconds).
DEADLINE = 30


class FakeReactor(Clock):
    """
    Keeps what is to be called, in the order of the calls.

    @ivar when_running: what is called once it runs.
    @ivar from_thread: what is called in its own time.
    @ivar stops: how often it was stopped.
    """

    def __init__(self) -> None:
        super().__init__()
        self.when_running: list[Callable[[], object]] = []
        self.from_thread: list[Callable[[], object]] = []
        self.stops = 0

    def callWhenRunning(self, function: Callable[[], object]) -> None:
        self.when_running.append(function)

    def callFromThread(self, function: Callable[[], object]) -> None:
        self.from_thread.append(function)

    def stop(self) -> None:
        self.stops += 1

    def turn(self) -> None:
        for kept in (self.when_running, self.from_thread):
            calls = kept[:]
            kept.clear()
            for call in calls:
                call()


class Case(SynchronousTestCase):
    """
    Installs no real signal handlers.

    @ivar taken: what was installed, by signal.
    @ivar done: what the daemon was asked for.
    """

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.taken: dict[int, Any] = {}
        self.done: list[str] = []
        self.patch(signal, "signal", self.taken.__setitem__)

    def make(self, hangups: Hangups | None = None, terminal: Any = None) -> Signals:
        reload, abort = (partial(self.done.append, what) for what in ("reload", "abort"))
        return Signals(self.reactor, reload, abort, hangups, terminal)

    def running(self, hangups: Hangups | None = None, terminal: Any = None) -> Signals:
        service = self.make(hangups, terminal)
        service.startService()
        self.reactor.turn()
        return service

    def send(self, number: int) -> None:
        self.taken[number](number, None)


class SignalsTests(Case):
    """Tests for L{Signals}."""

    def test_interface(self) -> None:
        """It is a service."""
        verifyObject(IService, self.make())

    def test_after_reactor(self) -> None:
        """The signals are taken when the reactor runs, which takes them for itself before."""
        service = self.make()
        self.assertEqual(self.reactor.when_running, [])
        service.startService()
        self.assertEqual(self.taken, {})
        self.reactor.turn()
        self.assertEqual(set(self.taken), {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})

    def test_hangup(self) -> None:
        """Each SIGHUP reloads, in the reactor's own time."""
        self.running()
        for _ in range(3):
            self.send(signal.SIGHUP)
        self.assertEqual(self.done, [])
        self.reactor.turn()
        self.assertEqual((self.done, self.reactor.stops), (["reload"] * 3, 0))

    def test_stop(self) -> None:
        """Each of the signals to stop stops the reactor, in its own time; nothing is reset."""
        for number in STOP:
            self.reactor = FakeReactor()
            self.running()
            self.send(number)
            self.assertEqual(self.reactor.stops, 0)
            self.reactor.turn()
            self.assertEqual((self.reactor.stops, self.done), (1, []))

    def test_second(self) -> None:
        """
        The second one resets who is left, whichever it is; so do those after it. The
        reactor is stopped once.
        """
        self.running()
        self.send(signal.SIGTERM)
        self.send(signal.SIGINT)
        self.reactor.turn()
        self.assertEqual((self.reactor.stops, self.done), (1, ["abort"]))
        self.send(signal.SIGTERM)
        self.reactor.turn()
        self.assertEqual((self.reactor.stops, self.done), (1, ["abort", "abort"]))

    def test_hangup_does_not_count(self) -> None:
        """A reload is no first signal to stop."""
        self.running()
        self.send(signal.SIGHUP)
        self.send(signal.SIGTERM)
        self.reactor.turn()
        self.assertEqual((self.reactor.stops, self.done), (1, ["reload"]))


class TerminalTests(Case):
    """Tests for L{Terminal}, and for what L{Signals} make of its end."""

    def setUp(self) -> None:
        super().setUp()
        # nohup(1) may have started the tests.
        self.patch(signal, "getsignal", lambda number: signal.SIG_DFL)
        self.path = self.mktemp()
        self.open()

    def open(self) -> None:
        """Have a terminal, for which a file stands."""
        with open(self.path, "w"):
            pass

    def terminal(self) -> Terminal:
        return Terminal(self.reactor.seconds, self.path)

    def hang_up(self) -> None:
        """Have SIGHUP come, and be carried out."""
        self.send(signal.SIGHUP)
        self.reactor.turn()

    def check(self, *done: str, stops: int = 0) -> None:
        self.assertEqual((self.done, self.reactor.stops), ([*done], stops))

    def test_live(self) -> None:
        """While the terminal is there, SIGHUP reloads, however long that is."""
        self.running(terminal=self.terminal())
        self.reactor.pump([POLL_INTERVAL] * 20)
        self.hang_up()
        self.check("reload")

    def test_closed(self) -> None:
        """
        Once it is closed, SIGHUP stops; a second one does not mean that peers are to be
        reset, but a signal to stop does.
        """
        self.running(terminal=self.terminal())
        os.remove(self.path)
        self.hang_up()
        self.check(stops=1)
        self.hang_up()
        self.check(stops=1)
        self.send(signal.SIGTERM)
        self.reactor.turn()
        self.check("abort", stops=1)

    def test_told_late(self) -> None:
        """A shell may take its time to tell, and a look at the terminal come first."""
        self.running(terminal=self.terminal())
        os.remove(self.path)
        self.reactor.pump([POLL_INTERVAL] * int(NOTICE - 1))
        self.hang_up()
        self.check(stops=1)

    def test_left_behind(self) -> None:
        """A daemon whose terminal went without a word reloads later, and looks no more."""
        self.running(terminal=self.terminal())
        os.remove(self.path)
        self.reactor.pump([POLL_INTERVAL] * int(NOTICE + 1))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.hang_up()
        self.check("reload")

    def test_none(self) -> None:
        """Where there was no terminal, SIGHUP reloads."""
        os.remove(self.path)
        self.running(terminal=self.terminal())
        self.hang_up()
        self.check("reload")

    def test_ignored(self) -> None:
        """Under nohup(1) the terminal does not matter."""
        self.patch(signal, "getsignal", lambda number: signal.SIG_IGN)
        self.running(terminal=self.terminal())
        os.remove(self.path)
        self.hang_up()
        self.check("reload")

    def test_other_session(self) -> None:
        """A daemon that went into the background has left its terminal."""
        terminal = self.terminal()
        self.running(terminal=terminal)
        os.remove(self.path)
        other = os.getsid(0) + 1
        self.patch(os, "getsid", lambda pid: other)
        self.hang_up()
        self.check("reload")

    def test_early(self) -> None:
        """One that was closed before the reactor ran is not forgotten."""
        terminal, hangups = self.terminal(), Hangups()
        self.send(signal.SIGHUP)
        os.remove(self.path)
        self.running(hangups, terminal)
        self.check(stops=1)

    def test_no_timer_left(self) -> None:
        """Nothing waits when the service has stopped."""
        service = self.running(terminal=self.terminal())
        service.stopService()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.make().stopService()


class HangupsTests(Case):
    """Tests for L{Hangups}: a SIGHUP that comes early."""

    def test_waiting(self) -> None:
        """One that came before the start is carried out once the reactor runs."""
        hangups = Hangups()
        self.send(signal.SIGHUP)
        self.assertTrue(hangups.waiting)
        self.running(hangups)
        self.assertEqual(self.done, ["reload"])

    def test_none(self) -> None:
        """Where none came, nothing is reloaded."""
        hangups = Hangups()
        self.running(hangups)
        self.assertFalse(hangups.waiting)
        self.assertEqual(self.done, [])

    def test_several(self) -> None:
        """Several that came early are one reload: the file is read once."""
        hangups = Hangups()
        for _ in range(3):
            self.send(signal.SIGHUP)
        self.running(hangups)
        self.assertEqual(self.done, ["reload"])

    def test_later_ones(self) -> None:
        """Those that come when the reactor runs are carried out for themselves."""
        self.running(Hangups())
        self.send(signal.SIGHUP)
        self.reactor.turn()
        self.assertEqual(self.done, ["reload"])

    def test_process(self) -> None:
        """A process that has one made is not ended by SIGHUP, as it would be else."""
        script = (
            "import os, signal\n"
            "from socketd.daemon.signals import Hangups\n"
            "hangups = Hangups()\n"
            "os.kill(os.getpid(), signal.SIGHUP)\n"
            "print(hangups.waiting)\n"
        )
        command = [sys.executable, "-c", script]
        ended = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, timeout=DEADLINE, check=False
        )
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, "True\n", ""))
