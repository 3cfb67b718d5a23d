"""Tests for L{tests.support.limits}."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock, Thread

from twisted.trial.unittest import SynchronousTestCase

from tests.support.limits import TookTooLong, limited
from tests.support.source_tree import ROOT

#: More than the block of a test needs (seconds).
SHORT = 0.05

#: Longer than a trial of few tests takes on a busy machine (seconds).
PATIENCE = 60.0

#: What stands before the tests that hang.
HEAD = """
from threading import Event, Thread
from time import sleep
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase
from tests.support import limits

limits.AGAIN = limits.END = 0.5

"""

#: Tests that hang, and one that does not.
HANGING = HEAD + """
class Hanging(SynchronousTestCase):
    timeout = 0.3

    def test_body(self):
        sleep(60)

    def test_cleanup(self):
        thread = Thread(target=sleep, args=(60,), daemon=True)
        thread.start()
        self.addCleanup(thread.join)

    def test_good(self):
        pass

class HangingDeferred(TestCase):
    timeout = 0.3

    def test_deferred(self):
        return Deferred()
"""

#: A test that takes every interruption for an error that it expects.
STUBBORN = HEAD + """
class Stubborn(SynchronousTestCase):
    timeout = 0.3

    def test_stubborn(self):
        while True:
            try:
                sleep(60)
            except BaseException:
                pass
"""

#: A test that leaves a thread which Python waits for.
LEAVING = HEAD + """
class Leaving(SynchronousTestCase):
    timeout = 0.3

    def test_leaves(self):
        Thread(target=Event().wait).start()
"""


class LimitedTests(SynchronousTestCase):
    """Tests for L{limited}."""

    def setUp(self) -> None:
        shown = open(self.mktemp(), "w+")
        self.addCleanup(shown.close)
        self.patch(sys, "__stderr__", shown)

    def check(self, hang: Callable[[], object]) -> None:
        """Check that a call that never ends is interrupted."""
        with self.assertRaises(TookTooLong), limited(SHORT):
            hang()

    def test_sleeping(self) -> None:
        """Sleeping is interrupted."""
        self.check(lambda: time.sleep(PATIENCE))

    def test_waiting(self) -> None:
        """So is waiting for a peer, a lock or a thread."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.check(server.accept)
        lock = Lock()
        lock.acquire()
        self.check(lock.acquire)
        thread = Thread(target=lock.acquire, daemon=True)
        thread.start()
        self.check(thread.join)
        lock.release()

    def test_computing(self) -> None:
        """So is a loop."""
        self.check(lambda: [None for _ in iter(int, 1)])

    def test_in_time(self) -> None:
        """A block that ends in time is not interrupted, nor is what comes behind it."""
        before = signal.getsignal(signal.SIGALRM)
        with limited(PATIENCE):
            left = signal.getitimer(signal.ITIMER_REAL)[0]
            self.assertTrue(0 < left <= PATIENCE)
        self.assertEqual(signal.getitimer(signal.ITIMER_REAL), (0.0, 0.0))
        self.assertEqual(signal.getsignal(signal.SIGALRM), before)


class RunTests(SynchronousTestCase):
    """Tests for runs of trial."""

    def run_trial(self, text: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run a module of tests, in a process of its own."""
        place = Path(self.mktemp())
        place.mkdir()
        place.joinpath("test_sample.py").write_text(text)
        trial = [sys.executable, "-m", "twisted.trial", *options, "test_sample"]
        path = os.pathsep.join((str(ROOT), str(place.resolve())))
        return subprocess.run(
            trial, cwd=place, env=os.environ | {"PYTHONPATH": path},
            capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip

    def test_interrupted(self) -> None:
        """
        A test, a cleanup or a Deferred that hangs is an error, and the others are run;
        all threads are shown, so that one sees what they wait for.
        """
        # Trial counts a test whose cleanup fails as a success, too.
        ended = self.run_trial(HANGING)
        self.assertIn("FAILED (errors=3, successes=2)", ended.stdout)
        self.assertEqual(ended.stdout.count("TookTooLong: it took longer than 0.3 s"), 2)
        self.assertIn("Thread 0x", ended.stderr)
        self.assertEqual(ended.returncode, 1)

    def test_in_parallel(self) -> None:
        """So it is in the processes of C{trial --jobs}."""
        ended = self.run_trial(HANGING, "--jobs=2")
        self.assertIn("FAILED (errors=3, successes=2)", ended.stdout)
        self.assertEqual(ended.returncode, 1)

    def test_stubborn(self) -> None:
        """Where interruptions do not help, the process ends by itself and says where it was."""
        ended = self.run_trial(STUBBORN)
        self.assertIn("test_stubborn", ended.stderr)
        self.assertEqual(ended.returncode, 1)

    def test_stubborn_in_parallel(self) -> None:
        """So does one of many, and the run fails."""
        ended = self.run_trial(STUBBORN, "--jobs=2")
        self.assertEqual(ended.returncode, 1, ended.stdout)

    def test_thread_is_left(self) -> None:
        """So it does where a thread keeps it from its end, after all tests have passed."""
        ended = self.run_trial(LEAVING)
        self.assertIn("PASSED (successes=1)", ended.stdout)
        self.assertIn("Timeout", ended.stderr)
        self.assertEqual(ended.returncode, 1)
