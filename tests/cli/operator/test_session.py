"""Tests for L{socketd.cli.operator.session} and L{socketd.cli.operator.console}."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.operator.console import FullScreen, ScriptView, make_view
from socketd.cli.operator.session import ConsoleSession
from socketd.common.errors import CommandError
from socketd.terminal.operator_prompt import REACTION_TIME, gone_notice, prompt_for
from socketd.terminal.view import PromptLine, View
from tests.support.client_fakes import MemoryTransport

#: What is asked at the beginning.
BEGINNING = ["attend", "services", "faults", "status", "connections"]

WAITING = {"id": 7, "service": "ack", "peer": "192.0.2.1:5"}
NEXT = WAITING | {"id": 8}

FIRST, SECOND = "ack 7 (192.0.2.1:5)", "ack 8 (192.0.2.1:5)"
ASKING = prompt_for(FIRST)


class Case(SynchronousTestCase):
    """An operator at a view that writes to memory, and a daemon that the test speaks for."""

    def setUp(self) -> None:
        self.written: list[str] = []
        self.left = 60.0
        self.view = self.make_view()
        self.clock = Clock()
        self.session = ConsoleSession(self.view, self.clock)
        self.transport = MemoryTransport()
        self.transport.connect(self.session)
        self.assertEqual(self.asked(), BEGINNING)
        self.say({"ok": True, "text": "attending"})
        self.say({"ok": True, "rows": [{"service": "ack"}]})
        self.say({"ok": True, "rows": [{"profile": "slow"}]}, {"ok": True, "connections": 1})
        self.say({"ok": True, "rows": [{"id": 7}, {"id": 71}]})
        self.shown()

    def make_view(self) -> View:
        """Make what the operator sees."""
        return make_view(self.written.append, False, False)

    def asked(self) -> list[str]:
        """Take what the daemon was asked."""
        sent, self.transport.sent[:] = list(self.transport.sent), []
        lines = b"".join(sent).decode("utf-8", "surrogateescape").splitlines()
        return [line.removeprefix("json ") for line in lines]

    def say(self, *objects: dict[str, Any]) -> None:
        """Have the daemon say something."""
        for found in objects:
            self.session.dataReceived(json.dumps(found).encode() + b"\n")

    def shown(self) -> str:
        """Take what was shown."""
        text = "".join(self.written)
        self.written.clear()
        return text

    def wait(self, *waiting: dict[str, Any]) -> None:
        """Have connections wait; each time it is told, less time is left."""
        self.left -= 0.1
        told = [one | {"said": "hi", "left": round(self.left, 1)} for one in waiting]
        self.say({"event": "waiting", "count": len(told), "oldest": told})


class ConsoleSessionTests(Case):
    """Tests for L{ConsoleSession}, line after line."""

    def failure(self) -> str:
        """Lose the connection, and say why the session has failed."""
        self.session.connectionLost(Failure(ConnectionDone()))
        return str(self.failureResultOf(self.session.done, CommandError).value)

    def test_command(self) -> None:
        """A line is a command, and its answer is shown."""
        self.session.input_received(b"status\n/show 7\r\n\n  \n")
        self.assertEqual(self.asked(), ["status", "show 7"])
        rows = [{"field": "A", "value": None}]
        self.say({"ok": True, "text": "up 1 s"})
        self.say({"ok": True, "columns": ["field", "value"], "rows": rows})
        self.assertEqual(self.shown(), "up 1 s\nFIELD  VALUE\nA      -\n")

    def test_problem(self) -> None:
        """What cannot be done is said, with all details, escaped."""
        self.session.input_received(b"reload\n")
        self.say({"ok": False, "status": 78, "error": "bad\x1b", "details": ["x:1", "x:2"]})
        self.assertEqual(self.shown(), "bad\\x1b\nx:1\nx:2\n")

    def test_word(self) -> None:
        """While a connection waits, a line is the word for the one that the prompt names."""
        self.wait(WAITING, NEXT)
        self.assertEqual(self.shown(), ASKING + "\n")
        self.session.input_received(b"thank you \n")
        self.assertEqual(self.asked(), ["answer 7 thank you "])
        self.say({"ok": False, "status": 1, "error": "7 does not wait; see waiting"})
        self.assertEqual(self.shown(), f"7 does not wait; see waiting\n{ASKING}\n")
        self.session.input_received(b"\xff\n/status\n")
        self.assertEqual(self.asked(), ["answer 7 \udcff", "status"])

    def test_next_word(self) -> None:
        """When the first has its word the next is asked for, at once."""
        self.wait(WAITING, NEXT)
        self.session.input_received(b"\n")
        self.assertEqual(self.asked(), ["answer 7 "])
        self.wait(NEXT)
        self.say({"ok": True, "text": "answered 7"})
        self.assertEqual(self.shown(), f"{ASKING}\n{prompt_for(SECOND)}\n")
        self.session.input_received(b"two\n")
        self.assertEqual(self.asked(), ["answer 8 two"])

    def test_other_operator(self) -> None:
        """
        A word for a connection that another operator has answered goes to no other, and is no
        command; a little later the next is asked for.
        """
        self.wait(WAITING, NEXT)
        self.wait(NEXT)
        self.session.input_received(b"drain\n")
        self.assertEqual(self.asked(), [])
        self.assertEqual(self.shown(), f"{ASKING}\n{gone_notice(FIRST)}\n{prompt_for(SECOND)}\n")
        self.session.input_received(b"yes\n")
        self.assertEqual(self.asked(), ["answer 8 yes"])

    def test_asks_once(self) -> None:
        """The question is shown when there is one, not at each change."""
        self.wait(WAITING)
        self.wait(WAITING, NEXT)
        self.wait()
        self.clock.advance(REACTION_TIME)
        self.wait(WAITING)
        self.assertEqual(self.shown(), (ASKING + "\n") * 2)

    def test_another_waits(self) -> None:
        """A word that is typed while others begin to wait goes where the prompt says."""
        self.wait(WAITING)
        self.session.input_received(b"wo")
        self.wait(WAITING, NEXT)
        self.session.input_received(b"rd\n")
        self.assertEqual(self.asked(), ["answer 7 word"])

    def test_events(self) -> None:
        """What happens is shown, also what was left out."""
        self.say({"event": "stopping", "line": "stopping\x1b", "facts": {}})
        self.say({"event": "left_out", "count": 3})
        self.assertEqual(self.shown(), "stopping\\x1b\n3 events were left out\n")
        self.assertEqual(self.asked(), ["status", "connections"])

    def test_completion(self) -> None:
        """Commands, connections, services and profiles are completed where they can stand."""
        made = {"event": "connection_made", "line": "", "facts": {"connection": 72}}
        lost = {"event": "connection_lost", "line": "", "facts": {"connection": 71}}
        self.say(made, lost)
        expected = {"/sh": ["/show"], "show 7": ["7", "72"], "watch a": ["ack"]}
        expected |= {"fault a": ["ack"], "fault ack ": ["slow", "off"], "fault ack off n": ["now"]}
        self.assertEqual({text: self.view.complete(text) for text in expected}, expected)

    def test_end_of_input(self) -> None:
        """At the end of the input the session ends, when all is answered."""
        self.session.input_received(b"status")
        self.session.input_ended()
        self.assertEqual((self.asked(), self.transport.calls), (["status"], []))
        self.say({"ok": True, "text": "up"})
        self.assertEqual(self.transport.calls, ["close"])
        self.session.connectionLost(Failure(ConnectionDone()))
        self.assertIsNone(self.successResultOf(self.session.done))

    def test_quit(self) -> None:
        """
        C{quit} and C{exit} leave, as the end of the input does; behind a slash where a word is
        asked for.
        """
        for line in (b"quit\n", b" exit \n", b"/quit\n"):
            self.setUp()
            if line.startswith(b"/"):
                self.wait(WAITING)
            self.session.input_received(line)
            self.assertEqual((self.asked(), self.transport.calls), ([], ["close"]))
        self.setUp()
        self.wait(WAITING)
        self.session.input_received(b"quit\n")
        self.assertEqual(self.asked(), ["answer 7 quit"])

    def test_daemon_ends(self) -> None:
        """A daemon that stops is a failure that is told in words."""
        self.session.readConnectionLost()
        self.assertEqual(self.failure(), "the daemon has ended the session")

    def test_lost(self) -> None:
        """One that is gone is told by its reason."""
        self.session.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(self.session.done, ConnectionLost)

    def test_refused(self) -> None:
        """A session too many is told what the daemon says."""
        self.session.dataReceived(b"error: there are 8 sessions already\n\n")
        self.assertEqual(self.failure(), "there are 8 sessions already")

    def test_garbage(self) -> None:
        """Whatever is no daemon is said to be none."""
        for line in (
            b"hello", b"[]", b"{}", b'{"event": "waiting"}', b"\xff", b"",
            b'{"event": "connection_made", "facts": []}',
        ):  # fmt: skip
            self.setUp()
            self.session.dataReceived(line + b"\n" + line + b"\n")
            self.assertEqual(self.failure(), "this is no answer of a socketd daemon", line)


class FullScreenTests(Case):
    """Tests for L{FullScreen}."""

    def make_view(self) -> View:
        """Make one with few columns."""
        self.size = os.terminal_size((40, 10))
        view = FullScreen(self.written.append, lambda: self.size)
        view.command_prompt = "> "
        return view

    def test_division(self) -> None:
        """The lines above scroll, the two below do not; it is so after a change of size."""
        self.size = os.terminal_size((60, 20))
        self.view.redraw()
        self.assertTrue(self.shown().startswith("\x1b[1;18r\x1b[19;1H"))

    def test_event(self) -> None:
        """What happens scrolls in, and the cursor is back where is typed."""
        self.session.input_received(b"sta")
        self.shown()
        self.say({"event": "stopping", "line": "stopping", "facts": {}})
        text = self.shown()
        self.assertTrue(text.startswith("\x1b[8;1H\r\nstopping\x1b[9;1H"), text)
        self.assertTrue(text.endswith("> sta\x1b[10;6H"), text)

    def test_state(self) -> None:
        """Who waits stands in the line above that in which is typed, cut to fit."""
        self.wait(WAITING, NEXT)
        text = self.shown()
        expected = "1 connections, 2 waiting: 7 ack 192.0.2."
        self.assertEqual(len(expected), 40)
        self.assertIn(f"\x1b[7m{expected}\x1b[m", text)
        self.assertIn(f"{ASKING[:28]}\x1b[10;29H", text)

    def test_choice(self) -> None:
        """
        Where the terminal takes no escape codes there are lines, with a line to type in; in
        a pipe there are lines only.
        """
        choices = ((True, True), (True, False), (False, False))
        views = [type(make_view(self.written.append, *choice)) for choice in choices]
        self.assertEqual(views, [FullScreen, PromptLine, ScriptView])

    def test_typing(self) -> None:
        """A line is sent when it is entered."""
        self.session.input_received(b"sho\t7")
        self.assertEqual(self.asked(), [])
        self.session.input_received(b"\r")
        self.assertEqual(self.asked(), ["show 7"])

    def test_long_line(self) -> None:
        """Of a line that is too long the part with the cursor is shown."""
        self.session.input_received(b"a" * 50 + "長".encode() * 20 + b"end")
        last = re.split(r"\x1b\[[0-9;]*[HKm]", self.shown())[-2]
        self.assertTrue(last.startswith("> ") and last.endswith("end"), last)
        self.session.input_received(b"\x01")
        last = re.split(r"\x1b\[[0-9;]*[HKm]", self.shown())[-2]
        self.assertEqual(last, "> " + "a" * 37)

    def test_end(self) -> None:
        """Ctrl-D leaves, and the terminal has its whole screen again."""
        self.session.input_received(b"\x04")
        self.assertEqual(self.transport.calls, ["close"])
        self.shown()
        self.session.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(self.shown().startswith("\x1b[r"))


class PromptLineTests(Case):
    """Tests for a session at L{PromptLine}."""

    def make_view(self) -> View:
        """Make one with few columns."""
        view = PromptLine(self.written.append, lambda: 60)
        view.command_prompt = "> "
        return view

    def test_typing(self) -> None:
        """What happens is shown above the line that is typed, which is sent when it is entered."""
        self.session.input_received(b"sho\t")
        self.say({"event": "stopping", "line": "stopping", "facts": {}})
        self.assertEqual(self.shown(), "show \r       \rstopping\n> show ")
        self.session.input_received(b"7\x7f71\r")
        self.assertEqual(self.asked(), ["show 71"])

    def test_no_escape_codes(self) -> None:
        """None is written, whatever is typed and wherever the cursor stands."""
        keys = "status\x01x\x1b[C\x1b[C\x0b" + "長い" * 40 + "\x02\x02a"
        self.session.input_received(keys.encode())
        self.wait(WAITING, NEXT)
        self.assertNotIn("\x1b", self.shown())

    def test_word(self) -> None:
        """The prompt asks for the word, and for commands otherwise."""
        self.wait(WAITING)
        self.assertEqual(self.shown(), f"\r{ASKING}")
        self.session.input_received(b"ok\r")
        self.assertEqual(self.asked(), ["answer 7 ok"])
        self.assertTrue(self.shown().startswith("ok\n> "))

    def test_end(self) -> None:
        """Ctrl-D leaves, and the prompt is taken away."""
        self.session.input_received(b"\x04")
        self.assertEqual(self.transport.calls, ["close"])
        self.shown()
        self.session.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.shown(), "\r  \r")
