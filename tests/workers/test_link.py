"""Tests for L{socketd.workers.link} and L{socketd.workers.task}."""

from __future__ import annotations

import pickle
import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IFileDescriptorReceiver, IPushProducer
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.protocols.registry import installed
from socketd.settings.load import parse
from socketd.workers.link import (
    MAX_ANSWER,
    MAX_FRAME,
    Handlers,
    Link,
    LinkFailed,
    LinkLost,
    Malformed,
)
from socketd.workers.task import pack, unpack
from tests.support.source_tree import ROOT
from tests.workers.fakes import connect, part


class LinkTests(SynchronousTestCase):
    """Tests for L{Link}."""

    def setUp(self) -> None:
        self.later: Deferred[dict[str, Any]] = Deferred()
        self.told: list[Any] = []
        self.lost = 0
        handlers: Handlers = {
            "add": lambda one, two: {"sum": one + two},
            "nothing": lambda: None,
            "fail": lambda: self._raise(),
            "later": lambda: self.later,
            "take": lambda socks: {"names": [self._name(sock) for sock in socks]},
            "note": self.told.append,
        }
        self.worker = Link(handlers, self._lose)
        self.refused: list[str] = []
        heard: Handlers = {"note": self._note, "ask": lambda text: {"got": text}}
        self.master = Link(heard, self._lose, self.refused.append)
        connect(self.master, self.worker)

    def _note(self, text: str) -> None:
        if not isinstance(text, str):
            raise Malformed("it told no text")
        self.told.append(text)

    def _lose(self) -> None:
        self.lost += 1

    def _raise(self) -> None:
        raise LinkFailed("cannot do it")

    def _name(self, sock: socket.socket) -> Any:
        with sock:
            return sock.getsockname()

    def test_interfaces(self) -> None:
        """A transport can hand descriptors to it, and make it pause."""
        verifyObject(IFileDescriptorReceiver, self.master)
        verifyObject(IPushProducer, self.master)

    def test_asked(self) -> None:
        """A question is answered by the handler of the other end."""
        self.assertEqual(self.successResultOf(self.master.ask("add", one=2, two=3)), {"sum": 5})
        self.assertEqual(self.successResultOf(self.master.ask("nothing")), {})

    def test_in_any_order(self) -> None:
        """An answer that takes longer does not hold up the next one."""
        first = self.master.ask("later")
        self.assertEqual(self.successResultOf(self.master.ask("nothing")), {})
        self.assertNoResult(first)
        self.later.callback({"at": "last"})
        self.assertEqual(self.successResultOf(first), {"at": "last"})

    def test_failed(self) -> None:
        """A handler that fails says why."""
        problem = self.failureResultOf(self.master.ask("fail"), LinkFailed)
        self.assertEqual(problem.getErrorMessage(), "cannot do it")

    def test_error(self) -> None:
        """So does one with an error, which is logged there."""
        problem = self.failureResultOf(self.master.ask("add", one=2, two="3"), LinkFailed)
        self.assertIn("unsupported operand", problem.getErrorMessage())
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_told(self) -> None:
        """A message is not answered; an error of its handler is logged."""
        self.worker.tell("note", text="hello")
        self.assertEqual(self.told, ["hello"])
        self.master.tell("note", other="hello")
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.worker.tell("note", other="hello")
        self.assertEqual(len(self.refused), 1)

    def test_sockets(self) -> None:
        """Sockets go with a question, in their order; the other end has its own."""
        with socket.create_server(("127.0.0.1", 0)) as one, socket.socket() as two:
            two.bind(("127.0.0.1", 0))
            names = [one.getsockname(), two.getsockname()]
            answer = self.successResultOf(self.master.ask("take", [one, two]))
            self.assertEqual(answer, {"names": [list(name) for name in names]})
            self.assertEqual(one.getsockname(), names[0])

    def test_lost(self) -> None:
        """When the other end is gone, what was asked fails, and so does what is asked then."""
        asked = self.master.ask("later")
        part(self.master)
        self.failureResultOf(asked, LinkLost)
        self.failureResultOf(self.master.ask("nothing"), LinkLost)
        self.master.tell("note", text="hello")
        self.assertEqual((self.told, self.lost), ([], 1))
        part(self.worker)
        self.later.callback({})

    def test_full(self) -> None:
        """It is full while the other end does not read, and says when that reads again."""
        drained: list[bool] = []
        self.master.drained = lambda: drained.append(self.master.is_full)
        self.master.pauseProducing()
        self.assertEqual((self.master.is_full, drained), (True, []))
        self.master.resumeProducing()
        self.assertEqual(drained, [False])

    def test_too_long(self) -> None:
        """A frame that is too long ends the link, and the worker's log says why."""
        with capturedLogs() as logged:
            self.worker.dataReceived((MAX_FRAME + 1).to_bytes(4, "big"))
        self.assertTrue(self.worker.transport.aborted)
        why = f"the master sent a frame of {MAX_FRAME + 1} bytes; {MAX_FRAME} are the limit"
        self.assertEqual([formatEvent(one) for one in logged], [why])

    def test_too_long_from_a_worker(self) -> None:
        """What a worker sends is shorter; one that sends more is ended, with the reason."""
        self.master.dataReceived((MAX_ANSWER + 1).to_bytes(4, "big"))
        self.assertTrue(self.master.transport.aborted)
        why = f"it sent a frame of {MAX_ANSWER + 1} bytes; {MAX_ANSWER} are the limit"
        self.assertEqual(self.refused, [why])

    def test_asked_by_a_worker(self) -> None:
        """A worker may ask, too."""
        self.assertEqual(self.successResultOf(self.worker.ask("ask", text="x")), {"got": "x"})

    def test_malformed(self) -> None:
        """The master believes no worker: one that sends no message is refused."""
        frames: list[bytes] = [
            b"", b"nonsense", b"[]", b"7", b"[" * 100_000, b"{\"about\": 7}", b"{\"odd\": 1}",
            b"{\"about\": \"missing\", \"values\": {}}", b"{\"about\": \"note\"}",
            b"{\"answer\": 99, \"values\": {}}", b"{\"answer\": [], \"values\": {}}",
            b"{\"about\": \"note\", \"values\": {\"text\": 7}}",
            pickle.dumps({"about": "note", "values": {"text": "x"}}),
        ]  # fmt: skip
        for number, frame in enumerate(frames, 1):
            self.master.stringReceived(frame)
            self.assertEqual(len(self.refused), number, frame[:80])
        self.assertEqual(self.told, [])
        self.assertTrue(all(one.isprintable() and len(one) < 250 for one in self.refused))

    def test_malformed_answer(self) -> None:
        """What is no answer fails the question."""
        asked = self.master.ask("later")
        self.master.stringReceived(b'{"answer": 1, "values": 7}')
        self.failureResultOf(asked, Malformed)

    def test_sockets_of_a_worker(self) -> None:
        """A worker hands no socket over; it is closed."""
        with socket.socket() as sock:
            self.worker.ask("ask", [sock], text="x")
        self.assertEqual(self.refused, ["it sent a socket"])


class MessageTests(SynchronousTestCase):
    """Tests for L{socketd.workers.task}."""

    def test_settings(self) -> None:
        """Settings are the same at the other end, with the protocols installed there."""
        for name in ("socketd.ini", "faults.ini"):
            text = (ROOT / "etc" / name).read_text()
            settings = parse(text, name, installed(), "/run/x")
            self.assertEqual(unpack(pack(settings)), settings)

    def test_rules(self) -> None:
        """So are rules, which are more than text, and match the same messages."""
        text = '[reply]\nlisten = tcp:9\nrules =\n "a" -> "b"\n /x.(\\d)/ -> "c"\n'
        settings = parse(text, "FILE", installed(), "/run/x")
        found = unpack(pack(settings))
        self.assertEqual(found, settings)
        rules = found.services[0].options.rules
        for message, indexes in ((b"a", [0]), (b"x\n7", [1]), (b"x\xff7", [1]), (b"x7", [])):
            self.assertEqual(list(rules.matcher.matching(message)), indexes)
