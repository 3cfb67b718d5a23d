"""The log of the real daemon: its formats, where it goes, and where it cannot."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from datetime import datetime
from typing import Any

from tests.support.polling import DEADLINE, wait_until
from tests.support.processes import Daemon, SystemCase
from tests.support.sockets import read_exactly

INI = """
[socketd]
log_format = {format}
{more}

[echo]
listen = tcp:0:interface=127.0.0.1
log_messages = text
"""


class LogTests(SystemCase):
    """Formats and places of the log."""

    def start(self, log_format: str = "json", more: str = "", *options: str, **how: Any) -> Daemon:
        return self.daemon(INI.format(format=log_format, more=more), *options, **how)

    def port(self, daemon: Daemon) -> int:
        """Find out where C{echo} listens, whatever the format."""
        return int(daemon.output.find(r"echo listens on tcp 127\.0\.0\.1:(\d+)")[1])

    def talk(self, port: int, message: bytes = b"hello") -> None:
        """Have a message sent back, up to the end."""
        with socket.create_connection(("127.0.0.1", port), DEADLINE) as client:
            client.sendall(message)
            self.assertEqual(read_exactly(client, len(message)), message)

    def objects(self, text: str) -> list[dict[str, Any]]:
        """Read a log whose every line is an object."""
        found: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
        for one in found:
            self.assertTrue({"time", "level", "event", "message"} <= one.keys(), one)
            self.assertRegex(one["time"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
            datetime.fromisoformat(one["time"])
        return found

    def test_json(self) -> None:
        """
        Each line from the first to the last is one JSON object; what a peer says stays in
        its field.
        """
        hostile = b'"}\n{"event":"x"}\n\xff\x1b[2J'
        with self.start() as daemon:
            self.talk(self.port(daemon), hostile)
            daemon.output.wait_for('"connection_lost"')
        found = self.objects(daemon.output.text)
        events = [one["event"] for one in found]
        for event in ("twisted", "listening", "connection_made", "connection_lost", "stopping"):
            self.assertIn(event, events)
        said = "".join(one["text"] for one in found if one["event"] == "message_received")
        self.assertEqual(said, r'"}\n{"event":"x"}\n\xff\x1b[2J')
        (lost,) = (one for one in found if one["event"] == "connection_lost")
        self.assertEqual((lost["received"], lost["sent"], lost["service"]), (22, 22, "echo"))

    def test_journal(self) -> None:
        """
        Lines have priorities where standard output is the stream that systemd names, and
        only there; or when told so.
        """
        cases: list[tuple[bool, tuple[str, ...], bool]] = [
            (True, (), True),
            (False, (), False),
            (False, ("--journal",), True),
        ]
        for named, options, prioritised in cases:
            readable, writable = os.pipe()
            found = os.fstat(writable)
            inode = found.st_ino if named else found.st_ino + 1
            environ = self.environment(JOURNAL_STREAM=f"{found.st_dev}:{inode}")
            daemon = self.start("text", "", *options, stdout=writable, env=environ)
            os.close(writable)
            with open(readable, encoding="utf-8") as stream:
                line = next(line for line in stream if "echo listens" in line)
                daemon.ask_to_stop()
                daemon.wait()
            pattern = r"<6>echo listens on" if prioritised else r"\d{4}-.*\[socketd#info\] echo"
            self.assertRegex(line, rf"\A{pattern}")

    def test_logfile(self) -> None:
        """twistd's --logfile is honoured; SIGUSR1 begins a new file."""
        path = self.directory / "socketd.log"
        daemon = self.start(twistd=["--logfile", str(path)])
        wait_until(lambda: path.exists() and '"listening"' in path.read_text())
        daemon.signal(signal.SIGUSR1)
        wait_until(path.with_suffix(".log.1").exists)
        daemon.ask_to_stop()
        daemon.wait()
        self.assertEqual(daemon.output.text, "")
        texts = [path.with_suffix(".log.1").read_text(), path.read_text()]
        events = [{one["event"] for one in self.objects(text)} for text in texts]
        self.assertIn("listening", events[0])
        self.assertIn("stopping", events[1])

    def test_rotated_by_others(self) -> None:
        """
        logrotate's ways work: cut in place, or moved away and SIGUSR1. No line is lost,
        and none lies behind a hole.
        """
        path = self.directory / "socketd.log"
        moved = self.directory / "moved.log"
        daemon = self.start(twistd=["--logfile", str(path)])
        wait_until(lambda: path.exists() and '"listening"' in path.read_text())
        (port,) = re.findall(r"listens on tcp 127\.0\.0\.1:(\d+)", path.read_text())
        os.truncate(path, 0)
        self.talk(int(port))
        wait_until(lambda: '"connection_lost"' in path.read_text())
        path.rename(moved)
        daemon.signal(signal.SIGUSR1)
        wait_until(path.exists)
        self.talk(int(port))
        daemon.ask_to_stop()
        daemon.wait()
        for file in (moved, path):
            events = {one["event"] for one in self.objects(file.read_text())}
            self.assertLessEqual({"connection_made", "connection_lost"}, events)
        self.assertFalse(path.with_suffix(".log.1").exists())

    def test_quiet(self) -> None:
        """Connections of quiet networks are not logged."""
        with self.start("text", "log_quiet = 127.0.0.0/8") as daemon:
            self.talk(self.port(daemon))
        self.assertNotIn("connection from", daemon.output.text)
        self.assertNotIn("hello", daemon.output.text)

    def test_nowhere(self) -> None:
        """
        A log that cannot be written, because the disk is full or the pipe is not read, does not
        keep the daemon from serving or stopping, in either format.
        """
        for log_format in ("text", "json"):
            for place in ("/dev/full", "pipe", "closed"):
                self._serve_nowhere(log_format, place)

    def _serve_nowhere(self, log_format: str, place: str) -> None:
        path = self.directory / f"{log_format}-{place.rpartition('/')[2]}.sock"
        readable, writable = os.pipe()
        if place == "closed":
            os.close(readable)
        if place.startswith("/"):
            os.close(writable)
            writable = os.open(place, os.O_WRONLY)
        ini = INI.replace("tcp:0:interface=127.0.0.1", f"unix:{path}")
        daemon = self.daemon(ini.format(format=log_format, more=""), stdout=writable)
        os.close(writable)
        wait_until(lambda: _answers(str(path)))
        # Each has some 300 bytes of the log, and a pipe 64 KiB.
        for _ in range(400):
            self.assertTrue(_answers(str(path)), place)
        daemon.ask_to_stop()
        status = daemon.wait()
        self.assertIn(status, (0, -signal.SIGTERM), place)
        if place != "closed":
            os.close(readable)
        self.assertFalse(re.search("Traceback", daemon.errors.text), daemon.errors.text)


def _answers(path: str) -> bool:
    """Say whether the daemon echoes at a path."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(DEADLINE)
        try:
            client.connect(path)
            client.sendall(b"x" * 100)
            return read_exactly(client, 100) == b"x" * 100
        except (FileNotFoundError, ConnectionRefusedError):
            return False
