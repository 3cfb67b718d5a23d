"""Tests for L{socketd.daemon.log}."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel
from twisted.python.failure import Failure
from twisted.python.syslog import SyslogObserver
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.common.events import (
    CONNECTION_MADE,
    LINES_LOST,
    MESSAGE_RECEIVED,
    PROTOCOL_FAILED,
    EventBus,
)
from socketd.daemon.log import (
    MAX_TEXT,
    LineLog,
    as_json,
    as_message,
    as_text,
    goes_to_journal,
    make_observer,
    quiet,
)
from socketd.daemon.log_outputs import (
    PIPE_BUF,
    WAIT_BUDGET,
    WAIT_SPAN,
    DescriptorSink,
    WholeLines,
)
from socketd.settings.networks import parse_networks
from tests.support.daemons import descriptors

#: 2026-11-21 04:44:00.1235 UTC.
MOMENT = 1795236240.1235


class Unprintable(Exception):
    """An exception whose words fail."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


def event_of(emit: Any) -> LogEvent:
    """Take the one event that is logged."""
    found: list[LogEvent] = []
    observer: Any = found.append
    emit(Logger(namespace="socketd", observer=observer))
    (event,) = found
    event["log_time"] = MOMENT
    return event


def bus_event(event: Any, **facts: Any) -> LogEvent:
    """Take what an event bus logs."""
    return event_of(lambda log: EventBus(Clock(), LogLevel.debug, log).emit(event, **facts))


def failure(problem: Exception) -> Failure:
    """Raise, and catch it."""
    try:
        raise problem
    except Exception:
        return Failure()


MADE = {"service": "echo", "peer": "192.0.2.1:7", "connection": 3}


class JsonTests(SynchronousTestCase):
    """Tests for L{as_json}."""

    def read(self, event: LogEvent) -> dict[str, Any]:
        """Write an event, and read it."""
        text = as_json(event)
        assert text is not None
        self.assertTrue(text.isascii() and text.isprintable(), text)
        found: dict[str, Any] = json.loads(text)
        return found

    def test_event(self) -> None:
        """An event of ours has its name, the line, and its facts as they are."""
        expected = {
            "time": "2026-11-21T04:44:00.123Z",
            "level": "info",
            "event": "connection_made",
            "message": "connection from 192.0.2.1:7 (echo 3)",
            "service": "echo",
            "peer": "192.0.2.1:7",
            "connection": 3,
        }
        self.assertEqual(self.read(bus_event(CONNECTION_MADE, **MADE)), expected)

    def test_hostile(self) -> None:
        """Whatever a peer says stays within its field, and the line is one line of ASCII."""
        text = 'a"b\\,"event":"x"\n\x1b[2J\u2028\x9b\udc80'
        event = bus_event(MESSAGE_RECEIVED, service="echo", host="h", text=text)
        found = self.read(event)
        self.assertEqual((found["text"], found["event"]), (text, "message_received"))

    def test_only_its_facts(self) -> None:
        """What observers of the old kind add to an event is not in it."""
        event = bus_event(CONNECTION_MADE, **MADE)
        event.update(time=1.0, system="-", format="%(x)s", isError=0, sneaked="in")
        self.assertEqual(self.read(event)["time"], "2026-11-21T04:44:00.123Z")
        self.assertNotIn("sneaked", self.read(event))

    def test_foreign(self) -> None:
        """What is not ours is an event of Twisted, with its line."""
        found = self.read(event_of(lambda log: log.warn("{a} is {b}", a=1, b=object)))
        self.assertEqual(
            (found["event"], found["level"], found["message"]),
            ("twisted", "warn", "1 is <class 'object'>"),
        )
        self.assertNotIn("a", found)

    def test_long(self) -> None:
        """What is too long keeps its end."""
        found = self.read(event_of(lambda log: log.info("{a}", a="x" * MAX_TEXT + "end")))
        self.assertEqual(len(found["message"]), MAX_TEXT + 3)
        self.assertTrue(found["message"].startswith("...") and found["message"].endswith("end"))

    def test_failure(self) -> None:
        """A failure has its traceback in one field, with an end to its length."""
        facts = {"service": "echo", "peer": "p", "error": "e"}
        event = bus_event(PROTOCOL_FAILED, log_failure=failure(KeyError("x")), **facts)
        found = self.read(event)
        self.assertEqual((found["event"], found["level"]), ("protocol_failed", "error"))
        self.assertIn("Traceback", found["traceback"])
        self.assertTrue(found["traceback"].endswith("KeyError: 'x'"))
        event["log_failure"] = failure(ValueError("x" * 3 * MAX_TEXT))
        self.assertEqual(len(self.read(event)["traceback"]), MAX_TEXT + 3)

    def test_unprintable(self) -> None:
        """A failure that cannot even be written is an event all the same."""
        event = event_of(lambda log: log.failure("oh", failure(Unprintable())))
        self.assertIn("traceback", self.read(event))

    def test_nothing(self) -> None:
        """An event without words is no line."""
        self.assertIdentical(as_json({"log_level": LogLevel.info, "log_format": ""}), None)


class TextTests(SynchronousTestCase):
    """Tests for L{as_text} and L{as_message}."""

    def test_text(self) -> None:
        """For people a line has time, system and text, as twistd writes it."""
        text = as_text(bus_event(CONNECTION_MADE, **MADE))
        assert text is not None
        self.assertTrue(text.endswith("[socketd#info] connection from 192.0.2.1:7 (echo 3)"))
        self.assertRegex(text, r"\A2026-11-2\dT")

    def test_message(self) -> None:
        """journald gets the text alone, and a traceback behind it."""
        event = bus_event(CONNECTION_MADE, **MADE)
        self.assertEqual(as_message(event), "connection from 192.0.2.1:7 (echo 3)")
        event["log_failure"] = failure(KeyError("x"))
        text = as_message(event)
        assert text is not None
        self.assertTrue(text.startswith("connection from") and text.endswith("KeyError: 'x'"))

    def test_nothing(self) -> None:
        """An event without words is no line."""
        event: LogEvent = {"log_level": LogLevel.info, "log_format": ""}
        self.assertEqual((as_text(event), as_message(event)), (None, None))


class DescriptorCase(SynchronousTestCase):
    """A pipe to write to."""

    def setUp(self) -> None:
        self.readable, self.writable = os.pipe()
        self.addCleanup(self.close)

    def close(self) -> None:
        for descriptor in {self.readable, self.writable} - {-1}:
            os.close(descriptor)

    def log(self, prioritised: bool = False) -> LineLog:
        return LineLog(as_message, DescriptorSink(self.writable, prioritised))

    def read(self) -> str:
        os.set_blocking(self.readable, False)
        data = b""
        try:
            while piece := os.read(self.readable, 1 << 20):
                data += piece
        except BlockingIOError:
            pass
        return data.decode()

    def say(self, log: LineLog, text: str, level: Any = LogLevel.info) -> None:
        log(event_of(lambda logger: logger.emit(level, "{text}", text=text)))


class DescriptorSinkTests(DescriptorCase):
    """Tests for L{DescriptorSink} behind a L{LineLog}."""

    def test_interface(self) -> None:
        """The log is an observer of Twisted's."""
        verifyObject(ILogObserver, self.log())

    def test_lines(self) -> None:
        """Each text is a line."""
        log = self.log()
        self.say(log, "one")
        self.say(log, "größer\udc80")
        self.assertEqual(self.read(), "one\ngrößer\\udc80\n")

    def test_priorities(self) -> None:
        """For journald each line, and each line of a traceback, begins with its priority."""
        log = self.log(prioritised=True)
        for level in LogLevel.iterconstants():
            self.say(log, level.name, level)
        self.say(log, "a\nb", LogLevel.error)
        expected = "<7>debug\n<6>info\n<4>warn\n<3>error\n<2>critical\n<3>a\n<3>b\n"
        self.assertEqual(self.read(), expected)

    def test_long(self) -> None:
        """A line longer than what a pipe takes at once comes whole."""
        self.say(self.log(), "x" * 3 * PIPE_BUF)
        self.assertEqual(self.read(), "x" * 3 * PIPE_BUF + "\n")

    def test_stuck(self) -> None:
        """
        A pipe that is not read costs lines, which are counted, and never the daemon; a
        line that was cut is ended before the next one.
        """
        log = self.log()
        for _ in range(100):
            self.say(log, "x" * 5000)
        self.assertTrue(50 < log.lost < 100, log.lost)
        written = self.read()
        self.assertEqual(written.count("\n"), 100 - log.lost)
        lost = log.lost
        self.say(log, "after")
        self.assertEqual(log.lost, lost)
        rest = self.read()
        self.assertEqual(rest.removeprefix("\n"), "after\n")
        self.assertNotEqual(written.endswith("\n"), rest.startswith("\n"))

    def test_closed(self) -> None:
        """So does a pipe whose other end is closed."""
        log = self.log()
        os.close(self.readable)
        self.readable = -1
        for _ in range(3):
            self.say(log, "x")
        self.assertEqual(log.lost, 3)

    def test_full_disk(self) -> None:
        """So does a disk that is full; once it has room, lines are written again."""
        descriptor = os.open("/dev/full", os.O_WRONLY)
        self.addCleanup(os.close, descriptor)
        log = LineLog(as_message, DescriptorSink(descriptor))
        for _ in range(3):
            self.say(log, "x")
        self.assertEqual(log.lost, 3)
        os.dup2(self.writable, descriptor)
        self.say(log, "y")
        self.assertEqual((log.lost, self.read()), (3, "y\n"))

    def test_file(self) -> None:
        """A file takes each line at once."""
        path = Path(self.mktemp())
        with path.open("wb") as file:
            log = LineLog(as_message, DescriptorSink(file.fileno()))
            self.say(log, "x" * 2 * PIPE_BUF)
            self.assertEqual(path.stat().st_size, 2 * PIPE_BUF + 1)

    def test_slow_reader(self) -> None:
        """
        A reader who takes a little now and then does not make the daemon as slow: lines
        wait 20 ms of each second, in all of them together.
        """
        poll = SlowPoll()
        sink = DescriptorSink(self.writable, clock=poll.seconds)
        sink._poll = poll  # type: ignore[assignment]
        log = LineLog(as_message, sink)
        for _ in range(100):
            poll.has_room = False
            self.say(log, "x")
        self.assertEqual((log.lost, round(poll.waited, 3)), (98, WAIT_BUDGET))
        poll.now += WAIT_SPAN
        poll.has_room = False
        self.say(log, "x")
        self.assertEqual((log.lost, round(poll.waited, 3)), (98, WAIT_BUDGET + SlowPoll.SLOW))


class SlowPoll:
    """A fake of a pipe that always has room again, 10 ms after it had none."""

    SLOW = 0.01

    def __init__(self) -> None:
        self.now = self.waited = 0.0
        self.has_room = True

    def seconds(self) -> float:
        return self.now

    def poll(self, patience: float) -> list[tuple[int, int]]:
        """
        Wait for room.

        @param patience: milliseconds.
        """
        waited = 0.0 if self.has_room else min(patience / 1000, self.SLOW)
        self.now += waited
        self.waited += waited
        self.has_room = self.has_room or waited == self.SLOW
        return [(0, 0)] if self.has_room else []


class FullFile:
    """A fake of a file on a disk that has room for so many bytes."""

    closed = False

    def __init__(self, room: int) -> None:
        self.room = room
        self.data = b""

    def write(self, data: bytes) -> int:
        """Write as much as there is room for, as write(2) does."""
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = data[: self.room]
        self.room -= len(taken)
        self.data += taken
        return len(taken)


class WholeLinesTests(SynchronousTestCase):
    """Tests for L{WholeLines} behind a L{LineLog}."""

    def setUp(self) -> None:
        self.file = WholeLines.fromFullPath(self.mktemp(), rotateLength=20)
        self.log = LineLog(as_message, self.file)

    def say(self, text: str) -> None:
        self.log(event_of(lambda logger: logger.emit(LogLevel.info, "{text}", text=text)))

    def test_full(self) -> None:
        """
        On a full disk lines are lost, and counted; what was cut is ended when there is
        room again, and stays alone in its line.
        """
        disk = FullFile(6)
        self.patch(self.file, "_file", disk)
        for _ in range(3):
            self.say("three")
        self.assertEqual((disk.data, self.log.lost), (b"three\n", 2))
        disk.room = 3
        self.say("three")
        disk.room = 100
        self.say("größe")
        self.assertEqual(disk.data, "three\nthr\ngröße\n".encode())
        self.assertEqual(self.log.lost, 3)

    def test_rotation_fails(self) -> None:
        """A new file that cannot be opened costs lines until it can be."""
        self.say("x" * 30)
        open_file = self.file._openFile

        def fail() -> None:
            raise OSError(errno.ENFILE, "Too many open files in system")

        self.patch(self.file, "_openFile", fail)
        self.say("one")
        self.say("two")
        self.assertEqual(self.log.lost, 2)
        self.patch(self.file, "_openFile", open_file)
        self.say("three")
        self.assertEqual((Path(self.file.path).read_text(), self.log.lost), ("three\n", 2))
        self.assertEqual(Path(f"{self.file.path}.1").read_text(), "x" * 30 + "\n")


class FollowingTests(SynchronousTestCase):
    """Tests for L{WholeLines} that another program rotates, in logrotate's ways."""

    def setUp(self) -> None:
        os.mkdir(directory := self.mktemp())
        self.file = WholeLines.fromFullPath(f"{directory}/log", rotateLength=20)
        self.path = Path(self.file.path)
        self.moved = self.path.with_suffix(".moved")
        self.file.write(b"first\n")

    def names(self) -> list[str]:
        """List what there is, without the directory."""
        found = (path.name for path in self.path.parent.iterdir())
        return sorted(name.removeprefix(self.path.name) for name in found)

    def check(self) -> None:
        """See that the next line is the only one of the file, and lies behind no hole."""
        self.file.write(b"next\n")
        self.assertEqual(self.path.read_bytes(), b"next\n")
        self.assertEqual(self.file.size, 5)

    def test_copytruncate(self) -> None:
        """
        A file that was cut is written from its beginning, and counted from there: it is
        not rotated before it is full.
        """
        for _ in range(3):
            os.truncate(self.path, 0)
            self.check()
            self.file.write(b"x" * 10 + b"\n")
        self.assertEqual(self.names(), [""])

    def test_moved(self) -> None:
        """
        A file that was moved away is followed by a new one with the same permissions;
        the signal that comes behind it rotates nothing.
        """
        self.path.chmod(0o604)
        self.file = WholeLines.fromFullPath(str(self.path))
        self.path.rename(self.moved)
        self.file.turn_over()
        self.check()
        self.assertEqual(self.moved.read_bytes(), b"first\n")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o604)
        self.assertEqual(self.names(), ["", ".moved"])

    def test_line_before_signal(self) -> None:
        """So it is where a line comes before the signal; the next signal rotates."""
        self.path.rename(self.moved)
        self.check()
        self.file.turn_over()
        self.assertEqual(self.names(), ["", ".moved"])
        self.file.turn_over()
        self.assertEqual(self.names(), ["", ".1", ".moved"])

    def test_create(self) -> None:
        """The file that was put in its place is written to, and keeps its permissions."""
        self.path.rename(self.moved)
        self.path.touch()
        self.path.chmod(0o640)
        self.check()
        self.file.turn_over()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o640)
        self.assertEqual(self.names(), ["", ".moved"])

    def test_removed(self) -> None:
        """A file that was removed is there again with the next line."""
        self.path.unlink()
        self.check()

    def test_no_directory(self) -> None:
        """
        Where no file can be opened, what was moved is written to; what has no name at
        all costs the line.
        """
        self.path.rename(self.moved)
        self.path.mkdir()
        self.file.turn_over()
        self.file.write(b"next\n")
        self.assertEqual(self.moved.read_bytes(), b"first\nnext\n")
        self.moved.unlink()
        self.assertRaises(OSError, self.file.write, b"lost\n")
        self.path.rmdir()
        self.check()

    def test_descriptors(self) -> None:
        """However often it is moved, one descriptor is open."""
        before = len(descriptors())
        for _ in range(50):
            self.path.rename(self.moved)
            self.file.write(b"x\n")
        self.assertEqual(len(descriptors()), before)

    def test_pipe(self) -> None:
        """A pipe that is not read does not stop the daemon."""
        self.path.rename(self.moved)
        os.mkfifo(self.path)
        self.file.write(b"next\n")
        self.assertEqual(self.moved.read_bytes(), b"first\nnext\n")


class JournalStreamTests(DescriptorCase):
    """Tests for L{goes_to_journal}."""

    def test_identity(self) -> None:
        """Device and inode have to be those that systemd names."""
        found = os.fstat(self.writable)
        right = f"{found.st_dev}:{found.st_ino}"
        for stream, expected in (
            (right, True),
            (f"{found.st_dev}:{found.st_ino + 1}", False),
            (f"{found.st_dev + 1}:{found.st_ino}", False),
            ("", False),
            ("x:y:z", False),
        ):
            self.assertIs(goes_to_journal({"JOURNAL_STREAM": stream}, self.writable), expected)
        self.assertFalse(goes_to_journal({}, self.writable))

    def test_closed(self) -> None:
        """A descriptor that is not open goes nowhere."""
        os.close(self.writable)
        number, self.writable = self.writable, -1
        self.assertFalse(goes_to_journal({"JOURNAL_STREAM": "1:2"}, number))


class Reactor(Clock):
    """Runs what a signal asks for."""

    def callFromThread(self, function: Any) -> None:
        function()


class ObserverTests(SynchronousTestCase):
    """Tests for L{make_observer}."""

    def setUp(self) -> None:
        before = signal.getsignal(signal.SIGUSR1)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)

    def make(self, log_format: str, prioritised: bool = False, **twistd: Any) -> Any:
        return make_observer(log_format, twistd, prioritised, Reactor())

    def test_twistd_does_it(self) -> None:
        """Text to syslog is left to twistd, and so is its refusal of what it cannot do."""
        for twistd in ({"syslog": 1}, {"nodaemon": 0, "logfile": "-"}):
            self.assertIdentical(self.make("text", **twistd), None)
        self.assertIdentical(self.make("json", nodaemon=0, logfile="-"), None)

    def test_standard_output(self) -> None:
        """Standard output gets text, JSON, or the lines of journald."""
        for log_format, prioritised, form in (
            ("text", False, as_text),
            ("text", True, as_message),
            ("json", False, as_json),
            ("json", True, as_json),
        ):
            log = self.make(log_format, prioritised, nodaemon=1)
            self.assertIs(log._format, form)
            self.assertIs(log._sink._prioritised, prioritised)
            self.assertIsNot(self.make(log_format, nodaemon=1, logfile="-"), None)

    def test_file(self) -> None:
        """JSON goes to the file that twistd was told; SIGUSR1 begins a new one."""
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        path = os.path.abspath(self.mktemp())
        log = self.make("json", nodaemon=1, logfile=path)
        log(bus_event(CONNECTION_MADE, **MADE))
        os.kill(os.getpid(), signal.SIGUSR1)
        log(bus_event(MESSAGE_RECEIVED, service="echo", host="h", text="t"))
        found = [json.loads(Path(name).read_text())["event"] for name in (f"{path}.1", path)]
        self.assertEqual((found, log.lost), (["connection_made", "message_received"], 0))

    def test_device(self) -> None:
        """A device is written to as it is: as root, rotation would put a file in its place."""
        pair = os.openpty()
        for descriptor in pair:
            self.addCleanup(os.close, descriptor)
        log = self.make("text", nodaemon=1, logfile=os.ttyname(pair[1]))
        self.assertIsInstance(log._sink, DescriptorSink)
        log(bus_event(CONNECTION_MADE, **MADE))
        self.assertIn(b" connection from 192.0.2.1:7 ", os.read(pair[0], 1000))

    def test_text_file(self) -> None:
        """So does text, as twistd writes it; without a name in the file that twistd would have."""
        os.mkdir(directory := self.mktemp())
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(directory)
        options: list[tuple[dict[str, Any], str]]
        options = [({"nodaemon": 1, "logfile": "x"}, "x"), ({}, "twistd.log")]
        for twistd, name in options:
            log = self.make("text", **twistd)
            log(bus_event(LINES_LOST, count=3))
            self.assertRegex(Path(name).read_text(), r"\A\d{4}-.*#warn\] 3 lines .*\n\Z")

    def test_file_of_others(self) -> None:
        """A file that cannot be had is said so."""
        self.assertRaises(OSError, self.make, "json", nodaemon=1, logfile="/nowhere/x.log")

    def test_syslog(self) -> None:
        """JSON goes to syslog with its priority, under twistd's prefix."""
        opened: list[Any] = []
        sent: list[tuple[int, str]] = []
        self.patch(SyslogObserver, "openlog", lambda log, *found: opened.append(found[0]))
        self.patch(SyslogObserver, "syslog", lambda log, *found: sent.append(found))
        log = self.make("json", syslog=1, prefix="me")
        log(bus_event(CONNECTION_MADE, **MADE))
        ((priority, text),) = sent
        self.assertEqual((opened, priority), (["me"], 6))
        self.assertEqual(json.loads(text)["event"], "connection_made")


class QuietTests(SynchronousTestCase):
    """Tests for L{quiet}."""

    def test_networks(self) -> None:
        """It knows the hosts of its networks, of both families; no UNIX socket is in one."""
        is_quiet = quiet(parse_networks("192.0.2.0/24 fe80::/10"))
        assert is_quiet is not None
        hosts = ("192.0.2.9", "::ffff:192.0.2.9", "fe80::1%eth0", "192.0.3.1", "::1", "unix", "")
        found = [is_quiet(host) for host in hosts]
        self.assertEqual(found, [True, True, True, False, False, False, False])

    def test_none(self) -> None:
        """Without networks there is nothing to ask."""
        self.assertIdentical(quiet(()), None)
