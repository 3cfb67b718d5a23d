"""Tests for L{socketd.workers.link} and L{socketd.workers.messages}."""

from __future__ import annotations

import pickle
import socket
import sys
from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IFileDescriptorReceiver, IPushProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.common.counters import Counters
from socketd.daemon.snapshot import ServiceSnapshot, Snapshot
from socketd.daemon.state import State
from socketd.protocols.registry import installed
from socketd.settings.load import parse
from socketd.workers.link import MAX_FRAME, Handlers, Link, LinkFailed, LinkLost
from socketd.workers.messages import loads, pack, unpack
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
        self.master = Link({"note": lambda text: self.told.append(text)}, self._lose)
        connect(self.master, self.worker)

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
        self.worker.tell("note", other="hello")
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_sockets(self) -> None:
        """Sockets go with a question, in their order; the other end has its own."""
        with socket.create_server(("127.0.0.1", 0)) as one, socket.socket() as two:
            two.bind(("127.0.0.1", 0))
            names = [one.getsockname(), two.getsockname()]
            answer = self.successResultOf(self.master.ask("take", [one, two]))
            self.assertEqual(answer, {"names": names})
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
        """It is told when the other end does not read, and when it reads again."""
        changes = []
        self.master.changed = lambda: changes.append(self.master.is_full)
        self.master.pauseProducing()
        self.master.resumeProducing()
        self.assertEqual(changes, [True, False])

    def test_too_long(self) -> None:
        """A frame that is too long ends the link."""
        self.master.dataReceived((MAX_FRAME + 1).to_bytes(4, "big"))
        self.assertTrue(self.master.transport.aborted)


class MessageTests(SynchronousTestCase):
    """Tests for L{socketd.workers.messages}."""

    def test_snapshot(self) -> None:
        """The figures of a daemon go as they are."""
        counters = Counters(connections=3, probes=Counter({("a", "b"): 2}))
        service = ServiceSnapshot("echo", 1, counters)
        found = Snapshot(State.SERVING, "serving", services=(service,), reloads={"done": 1})
        self.assertEqual(loads(pickle.dumps(found)), found)

    def test_nothing_else(self) -> None:
        """A frame makes nothing that has an effect."""
        for found in (sys.exit, socket.socket, Link):
            self.assertRaises(pickle.UnpicklingError, loads, pickle.dumps({"values": found}))

    def test_settings(self) -> None:
        """Settings are the same at the other end, with the protocols installed there."""
        for name in ("socketd.ini", "faults.ini"):
            text = (ROOT / "etc" / name).read_text()
            settings = parse(text, name, installed(), "/run/x")
            self.assertEqual(unpack(pack(settings)), settings)

    def test_rules(self) -> None:
        """So are rules, which are more than text."""
        rules = "[reply]\nlisten = tcp:9\nrules = \"a\" -> \"b\"\n"
        settings = parse(rules, "FILE", installed(), "/run/x")
        self.assertEqual(unpack(pack(settings)), settings)
