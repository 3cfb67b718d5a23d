"""Tests for L{Question}: answers at a later time."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import DatagramProtocol

from socketd.access.datagram_guard import REPLY_SIZE
from socketd.net.datagram.port import DatagramTerms
from tests.net.datagram.case import DatagramCase


class Asked(DatagramProtocol):
    """Keeps each question, and answers none before it is told to."""

    def __init__(self) -> None:
        self.questions: list[Any] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        transport: Any = self.transport
        self.questions.append(transport.question())
        if datagram.startswith(b"both"):
            transport.write(b"!", addr)


class QuestionTests(DatagramCase):
    """A question is answered later, from the address that was asked."""

    def ask(self, address: Any, *datagrams: bytes) -> Any:
        """Ask from a new client."""
        client = self.bound("" if isinstance(address, str) else (address[0], 0))
        for datagram in datagrams:
            client.sendto(datagram, address)
        self.reactor.turn()
        return client

    def test_size(self) -> None:
        """Its answers together are not longer than it, whatever has come since."""
        protocol = Asked()
        address = self.listen(protocol, ("127.0.0.1", 0), DatagramTerms(reply_floor=3))
        client = self.ask(address, b"?", b"much longer", b"4444")
        short, long, four = protocol.questions
        self.assertEqual(short.source, client.getsockname())
        long.answer(b"0123456789+")
        short.answer(b"0123")
        for answer in (b"0123", b"", b"0"):
            four.answer(answer)
        short.answer(b"012")
        found = [answer for answer, _ in self.replies(client)]
        self.assertEqual(found, [b"0123456789+", b"0123", b"", b"012"])
        self.assertEqual(self.service_state.counters.datagrams_dropped, {REPLY_SIZE: 2})

    def test_taken_over(self) -> None:
        """What is taken over is not answered twice: a write is too long then."""
        protocol = Asked()
        address = self.listen(protocol, ("127.0.0.1", 0), DatagramTerms())
        client = self.ask(address, b"both")
        protocol.questions[0].answer(b"once")
        self.assertEqual([answer for answer, _ in self.replies(client)], [b"once"])
        self.assertEqual(self.service_state.counters.datagrams_dropped, {REPLY_SIZE: 1})

    def test_closed(self) -> None:
        """An answer after the end of the port is counted as not sent."""
        protocol = Asked()
        address = self.listen(protocol, self.path(), DatagramTerms())
        self.ask(address, b"?")
        self.port.close()
        protocol.questions[0].answer(b"too late")
        self.assertEqual(self.service_state.counters.datagrams_unsent, 1)

    def test_order(self) -> None:
        """An answer of this kind leaves behind those that the batch has before it."""

        class Mixed(DatagramProtocol):
            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                transport: Any = self.transport
                if datagram == b"b":
                    transport.question().answer(datagram)
                else:
                    transport.write(datagram, addr)

        address = self.listen(Mixed(), ("127.0.0.1", 0), DatagramTerms())
        client = self.ask(address, b"a", b"b", b"c", b"d")
        self.assertEqual(b"".join(answer for answer, _ in self.replies(client)), b"abcd")

    def test_addresses(self) -> None:
        """On a socket for all addresses each answer leaves from the one that was asked."""
        for timestamped in (False, True):
            protocol = Asked()
            terms = DatagramTerms(timestamped=timestamped)
            number = self.listen(protocol, ("0.0.0.0", 0), terms)[1]
            client = self.bound(("127.0.0.1", 0))
            for host in ("127.0.0.2", "127.0.0.3"):
                client.sendto(b"?", (host, number))
            self.reactor.turn()
            for question in reversed(protocol.questions):
                question.answer(b"!")
            found = [source[0] for _, source in self.replies(client)]
            self.assertEqual(found, ["127.0.0.3", "127.0.0.2"])
