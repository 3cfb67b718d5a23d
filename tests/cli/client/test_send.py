"""Tests for L{socketd.cli.client.send}."""

from __future__ import annotations

import os
import signal
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from socketd.cli.client import send
from socketd.cli.client.send import UNSENT
from socketd.cli.main import main
from tests.support.client_fakes import CommandTestCase, Server, UpperDatagrams, environment

#: More than all the buffers on the way hold together.
LONG = os.urandom(3 * 1024 * 1024 + 1)


class ArgumentsTests(SynchronousTestCase):
    """Tests for L{send.add_arguments}."""

    def test_order(self) -> None:
        """Options may stand anywhere, and a text after two dashes is no option."""
        parsed: list[Namespace] = []

        def run(arguments: Namespace) -> int:
            parsed.append(arguments)
            return 0

        self.patch(send, "run", run)
        cases = {
            ("a:1",): (None, False),
            ("a:1", ""): ("", False),
            ("a:1", "hi", "-n"): ("hi", True),
            ("-n", "a:1", "hi"): ("hi", True),
            ("a:1", "-n", "--timeout", "1", "hi"): ("hi", True),
            ("a:1", "--", "-n"): ("-n", False),
            ("-n", "a:1", "--", "--help"): ("--help", True),
        }
        for argv, expected in cases.items():
            self.assertEqual(main(["send", *argv]), 0)
            arguments = parsed.pop()
            self.assertEqual((arguments.text, arguments.newline), expected)


@implementer(IHalfCloseableProtocol)
class Echo(Server):
    """Sends back everything, then the end."""

    def connectionMade(self) -> None:
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)

    def readConnectionLost(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        pass


class Mute(Server):
    """Sends nothing, and reads nothing; fires once at the first connection."""

    came: Deferred[None]

    def connectionMade(self) -> None:
        self.transport.pauseProducing()
        if not self.came.called:
            self.came.callback(None)


class Closing(Server):
    """Closes at the first word."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.loseConnection()


@implementer(IHalfCloseableProtocol)
class Counting(Server):
    """Ends its sending at once, reads to the end, and fires with how much that was."""

    counted: Deferred[int]
    count = 0

    def connectionMade(self) -> None:
        self.transport.write(b"hello")
        self.transport.loseWriteConnection()

    def dataReceived(self, data: bytes) -> None:
        self.count += len(data)

    def readConnectionLost(self) -> None:
        self.transport.loseConnection()
        self.counted.callback(self.count)

    def writeConnectionLost(self) -> None:
        pass


class Leaving(Server):
    """Closes at once, and reads nothing."""

    def connectionMade(self) -> None:
        self.transport.loseConnection()


class Alert(Server):
    """Answers as a server of TLS does to what is none: protocol_version, then the end."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"\x15\x03\x01\x00\x02\x02\x46")
        self.transport.loseConnection()


class Reset(Server):
    """Breaks the connection off at the first word."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"half")
        self.transport.abortConnection()


class StreamCommandTests(CommandTestCase):
    """Tests for C{socketd send} over streams as a process."""

    def setUp(self) -> None:
        Mute.came = Deferred()

    async def test_text(self) -> None:
        """A text goes there and back byte for byte, with a line end where that is asked for."""
        port = self.listen(Echo)
        outcome = await self.command("send", "-n", f"127.0.0.1:{port}", "gr\u00fc\u00df\x1b")
        self.assertEqual(outcome, ("gr\u00fc\u00df\x1b\n".encode(), b"", 0))

    async def test_long_input(self) -> None:
        """Standard input of any length goes there and back, over a name that is looked up."""
        port = self.listen(Echo)
        outcome = await self.command("send", f"localhost:{port}", stdin=LONG)
        self.assertEqual(outcome[1:], (b"", 0))
        self.assertTrue(outcome[0] == LONG)

    async def test_peer_ends_first(self) -> None:
        """A peer that ends its sending first gets all of the input."""
        Counting.counted = Deferred()
        port = self.listen(Counting)
        outcome = await self.command("send", f"127.0.0.1:{port}", stdin=LONG)
        self.assertEqual(outcome, (b"hello", b"", 0))
        self.assertEqual(await Counting.counted, len(LONG))

    async def test_peer_closes_first(self) -> None:
        """One that closes without reading makes the input unsent, which is said."""
        port = self.listen(Leaving)
        out, err, status = await self.command("send", f"127.0.0.1:{port}", stdin=LONG * 4)
        self.assertEqual((out, err.count(b"\n"), status), (b"", 1, 1))
        self.assertIn(UNSENT.encode(), err)

    async def test_no_answer(self) -> None:
        """A peer that says nothing and takes nothing is given up."""
        port = self.listen(Mute)
        arguments = ("--timeout", "0.2", f"127.0.0.1:{port}")
        outcome = await self.command("send", *arguments, stdin=LONG * 4)
        complaint = f"socketd send: 127.0.0.1:{port}: no answer within 0.2 s\n"
        self.assertEqual(outcome, (b"", complaint.encode(), 1))

    async def test_reset(self) -> None:
        """A connection reset is an error."""
        port = self.listen(Reset)
        _, err, status = await self.command("send", f"127.0.0.1:{port}", "x")
        complaint = f"socketd send: 127.0.0.1:{port}: connection reset or lost\n"
        self.assertEqual((err, status), (complaint.encode(), 1))

    async def test_nothing(self) -> None:
        """A peer that ends without a word may speak TLS; an alert of TLS is a failure."""
        for protocol, outcome in (
            (Closing, (b"the peer has answered nothing; if it speaks TLS, use --tls\n", 0)),
            (Alert, (b"socketd send: ADDRESS: the peer speaks TLS; use --tls\n", 1)),
        ):
            address = f"127.0.0.1:{self.listen(protocol)}"
            out, err, status = await self.command("send", address, "x")
            told = err.replace(address.encode(), b"ADDRESS")
            self.assertEqual((out, (told, status)), (b"", outcome))

    async def test_interrupt(self) -> None:
        """Ctrl-C ends it quietly."""
        port = self.listen(Mute)
        ended = Ended()
        arguments = [sys.executable, "-m", "socketd", "send", f"127.0.0.1:{port}", "x"]
        process = self.reactor.spawnProcess(ended, sys.executable, arguments, env=environment())
        either: list[Deferred[Any]] = [Mute.came, ended.done]
        await DeferredList(either, fireOnOneCallback=True)
        process.signalProcess("INT")
        self.assertEqual(await ended.done, (b"", 128 + signal.SIGINT))


class DatagramCommandTests(CommandTestCase):
    """Tests for C{socketd send} with datagrams as a process."""

    async def test_udp(self) -> None:
        """The input is one datagram; the first answer is printed."""
        port = self.listen_datagrams(UpperDatagrams())
        outcome = await self.command("send", f"udp:127.0.0.1:{port}", stdin=b"a\nb\n")
        self.assertEqual(outcome, (b"A\nB\n", b"", 0))

    async def test_empty(self) -> None:
        """An empty text is an empty datagram, and an empty answer is one too."""
        port = self.listen_datagrams(UpperDatagrams())
        outcome = await self.command("send", f"udp:127.0.0.1:{port}", "")
        self.assertEqual(outcome, (b"", b"", 0))

    async def test_unix(self) -> None:
        """A UNIX datagram is answered without a socket file of ours."""
        path = Path(self.mktemp()).name
        upper = UpperDatagrams()
        upper.noisy = False
        port = self.reactor.listenUNIXDatagram(path, upper)
        self.addCleanup(os.unlink, path)
        self.addCleanup(port.stopListening)
        outcome = await self.command("send", f"unixgram:{os.path.abspath(path)}", "hello")
        self.assertEqual(outcome, (b"HELLO", b"", 0))


class Ended(ProcessProtocol):
    """A process whose end can be awaited."""

    def __init__(self) -> None:
        self.done: Deferred[tuple[bytes, int | None]] = Deferred()
        self._errors = b""

    def errReceived(self, data: bytes) -> None:
        self._errors += data

    def processEnded(self, reason: Failure) -> None:
        value: Any = reason.value
        self.done.callback((self._errors, value.exitCode))
