"""Tests for L{socketd.cli.operator.control_socket} and L{socketd.cli.operator.control_socket}."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from datetime import UTC, datetime
from threading import Thread
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.operator import control_socket
from socketd.cli.operator.control_socket import (
    explain,
    find_socket,
    read_answer,
    render,
)
from socketd.common.answers import encode
from socketd.common.commands import COMMANDS
from socketd.common.errors import CommandError
from socketd.common.paths import SYSTEM_RUNTIME
from tests.support.command_line import run_main

#: Longer than anything here takes (seconds).
DEADLINE = 10.0


class FindTests(SynchronousTestCase):
    """Tests for L{find_socket}."""

    def find(self, *there: str, named: str | None = None, uid: int = 1000, **environ: str) -> str:
        """Choose among existing files."""
        return find_socket(named, environ, uid, lambda path: path in there)

    def test_named(self) -> None:
        """The command line precedes the environment, and that the default paths."""
        self.assertEqual(self.find(named="/a", SOCKETD_CONTROL="/b"), "/a")
        self.assertEqual(self.find(SOCKETD_CONTROL="/b"), "/b")

    def test_places(self) -> None:
        """The user's daemon precedes the system's, if it runs; for root the order is reversed."""
        own, system = "/run/user/1000/socketd/control.sock", f"{SYSTEM_RUNTIME}/control.sock"
        home = "/run/user/1000"
        self.assertEqual(self.find(own, system, XDG_RUNTIME_DIR=home), own)
        self.assertEqual(self.find(system, XDG_RUNTIME_DIR=home), system)
        self.assertEqual(self.find(XDG_RUNTIME_DIR=home), own)
        own = "/tmp/socketd-0/control.sock"
        self.assertEqual(self.find(own, system, uid=0), system)
        self.assertEqual(self.find(own, uid=0), own)
        self.assertEqual(self.find(uid=0), system)


class LineTests(SynchronousTestCase):
    """Tests for requests and answers."""

    def test_encode(self) -> None:
        """A request is one line, a JSON object; a text may be any bytes."""
        found = encode(COMMANDS["reply"], {"id": "1", "text": "a\n\udcff"})
        self.assertEqual(found, '{"command": "reply", "id": "1", "data": "YQr/"}')
        found = encode(COMMANDS["watch"], {"service": "a\n\udcff"})
        self.assertEqual(found, '{"command": "watch", "service": "a\\n\\\\xff"}')

    def test_read_answer(self) -> None:
        """Anything but a JSON object is an error; a refusal keeps its text."""
        self.assertEqual(read_answer(b'{"ok": true}'), {"ok": True})
        for line in (b"", b"x", b"[]", b"1", b"\xff", b'{"a"', b"null"):
            self.assertRaises(CommandError, read_answer, line)
        problem = self.assertRaises(CommandError, read_answer, b"error: too many\x1b")
        self.assertEqual(str(problem), "too many\\x1b")

    def test_render(self) -> None:
        """A table is escaped; a malformed one is an error."""
        rows = [{"a": True, "b": None}, {"a": 1.5, "b": "\x1b[2J"}]
        text = render({"columns": ["a", "b"], "rows": rows, "text": "more\n\x1b"})
        self.assertEqual(text, "A    B\nyes  -\n1.5  \\x1b[2J\nmore\n\\x1b")
        for rows in ([{"a": 1}], [1], None):  # type: ignore[assignment]
            self.assertRaises(CommandError, render, {"columns": ["a", "b"], "rows": rows})


class CommandTests(SynchronousTestCase):
    """Tests for the subcommands, with a fake daemon."""

    def setUp(self) -> None:
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        self.path = os.path.join(directory, "c")
        self.asked: list[Any] = []

    def serve(self, *answers: Any) -> None:
        """Answer each line in turn, then close."""
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(self.path)
        listening.listen()
        thread = Thread(target=self._serve, args=(listening, answers), daemon=True)
        thread.start()
        self.addCleanup(thread.join, DEADLINE)

    def _serve(self, listening: socket.socket, answers: tuple[Any, ...]) -> None:
        with listening, listening.accept()[0] as sock, sock.makefile("rwb") as file:
            for answer in answers:
                self.asked.append(json.loads(file.readline()))
                for found in answer if isinstance(answer, list) else [answer]:
                    data = found if isinstance(found, bytes) else json.dumps(found).encode()
                    file.write(data + b"\n")
                file.flush()

    def run_main(self, *argv: str) -> tuple[int, str, str]:
        """Run a subcommand, and return its status, output and errors."""
        return run_main(*argv, "--control", self.path, "--timeout", "10")

    def test_good(self) -> None:
        """A result is printed, with status 0."""
        self.serve({"ok": True, "text": "up"})
        self.assertEqual(self.run_main("status"), (0, "up\n", ""))
        self.assertEqual(self.asked, [{"command": "status"}])

    def test_json(self) -> None:
        """With C{--json} it is the daemon's object."""
        answer = {"ok": True, "text": "up", "uptime": 1.5}
        self.serve(answer)
        status, out, _ = self.run_main("status", "--json")
        self.assertEqual((status, json.loads(out)), (0, answer))

    def test_words(self) -> None:
        """The arguments are the values of the request."""
        cases: dict[tuple[str, ...], dict[str, str]] = {
            ("reply", "7", "two", "words"): {"id": "7", "data": "dHdvIHdvcmRz"},
            ("reply", "7", " x\n"): {"id": "7", "data": "IHgK"},
            ("answer", "7"): {"id": "7"},
            ("ban", "192.0.2.7", "for", "10m"): {"source": "192.0.2.7", "duration": "10m"},
            ("watch", "ack"): {"service": "ack"},
            ("log-level", "debug"): {"level": "debug"},
        }
        for words, request in cases.items():
            self.serve({"ok": False, "error": "no"})
            self.assertEqual(self.run_main(*words)[0], 1, words)
            self.assertEqual(self.asked.pop(), {"command": words[0], **request})
            os.unlink(self.path)

    def test_refused(self) -> None:
        """An error is one line, after its details, with the daemon's status."""
        complaints = ["x.ini:1: bad", "x.ini:2: worse"]
        self.serve({"ok": False, "status": 78, "error": "kept", "details": complaints})
        expected = "x.ini:1: bad\nx.ini:2: worse\nsocketd reload: kept\n"
        self.assertEqual(self.run_main("reload"), (78, "", expected))

    def test_pages(self) -> None:
        """All pages of a list are fetched, and printed as one."""
        page = {"ok": True, "columns": ["id"], "rows": [{"id": 1}]}
        last = {"ok": True, "columns": ["id"], "rows": [{"id": 2}]}
        self.serve(page | {"more": 1, "after": 1, "text": "1 more; write connections 1"}, last)
        self.assertEqual(self.run_main("connections"), (0, "ID\n1\n2\n", ""))
        first = {"command": "connections"}
        self.assertEqual(self.asked, [first, first | {"after": "1"}])

    def test_watch(self) -> None:
        """Events are printed until the daemon ends the session."""
        event = {"event": "stopping", "line": "stopping\x1b"}
        moment = datetime(2026, 11, 29, 10, 0, 1, tzinfo=UTC)
        new = event | {"time": "2026-11-29T10:00:01.500Z", "summary": "new\x1b"}
        odd = event | {"time": [1]}
        left_out = {"event": "left_out", "count": 2}
        self.serve([{"ok": True, "text": "x"}, event, new, odd, left_out])
        status, out, error = self.run_main("watch")
        clock = f"{moment.astimezone():%H:%M:%S}"
        stopping = "stopping\\x1b\n"
        expected = f"{stopping}{clock} new\\x1b\n{stopping}2 events were left out\n"
        self.assertEqual(out, expected)
        self.assertEqual(status, 1)
        self.assertEqual(error, "socketd watch: the daemon has ended the session\n")

    def test_no_daemon(self) -> None:
        """Without a daemon there is a one-line error."""
        status, out, error = self.run_main("status")
        self.assertEqual((status, out, error.count("\n")), (1, "", 1))
        self.assertIn(f"{self.path}: no daemon there", error)

    def test_reasons(self) -> None:
        """The reason why a daemon cannot be reached has the remedy."""
        start = "no daemon there; start one that has control = /c in [socketd]"
        cases = {
            FileNotFoundError(2, "x"): start,
            ConnectionRefusedError(111, "x"): start,
            PermissionError(13, "x"): "permission denied; it is for the daemon's user and",
            TimeoutError(): "the daemon does not answer",
            OSError(5, "Input/output error"): "input/output error",
        }
        for error, expected in cases.items():
            self.assertIn(expected, explain("/c", error))
        error = ConnectionRefusedError(111, "x")
        self.assertIn("is no socket; name the one that", explain("/", error))

    def test_no_answer(self) -> None:
        """A daemon that is silent, malformed or full is a one-line error."""
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(self.path)
            silent.listen()
            found = run_main("bans", "--control", self.path, "--timeout", "0.05")
            expected = f"socketd bans: {self.path}: the daemon does not answer\n"
            self.assertEqual(found, (1, "", expected))
        os.unlink(self.path)
        for line, problem in (
            (b"hello", "this is no answer of a socketd daemon"),
            (b"error: there are 8 sessions already\n", "there are 8 sessions already"),
        ):
            self.serve(line)
            self.assertEqual(self.run_main("bans"), (1, "", f"socketd bans: {problem}\n"))
            os.unlink(self.path)

    def test_long_answer(self) -> None:
        """An answer without an end is an error, not kept without bound."""
        self.patch(control_socket, "MAX_ANSWER", 100)
        self.serve({"ok": True, "text": "x" * 100})
        problem = "socketd status: an answer is longer than 100 bytes\n"
        self.assertEqual(self.run_main("status"), (1, "", problem))

    def test_usage(self) -> None:
        """Wrong arguments have status 2, and nothing is sent."""
        for words in (
            ["ban"], ["status", "x"], ["reply", "7"], ["ban", "192.0.2.7", "10m"],
            ["log-level", "loud"], ["connections", "1"],
        ):  # fmt: skip
            status, out, error = self.run_main(*words)
            self.assertEqual((status, out, error.count("\n")), (2, "", 1), words)
