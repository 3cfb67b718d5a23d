"""Tests for L{socketd.cli.clock.nts_query}, against the answers of the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from OpenSSL.SSL import NO_OVERLAPPING_PROTOCOLS, TLS1_2_VERSION, TLS1_3_VERSION
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.clock.ntp_query import PAUSE
from socketd.cli.clock.nts_query import GRACE, NtsQuery
from socketd.cli.clock.nts_session import Session
from socketd.common.errors import CommandError
from tests.cli.clock.ntp_server import identifier_of, packet, sealed
from tests.protocols.clock.nts_client import (
    END,
    TO_CLIENT,
    TO_SERVER,
    ef,
    read_fields,
    record,
)
from tests.support.certificates import authority, issued, write_pems
from tests.support.client_fakes import CommandTestCase, MemoryTransport
from tests.support.tls_servers import (
    SilentServer,
    TrackedFactory,
    TrackedProtocol,
    server_options,
)

NOW = 1_800_000_000


class QueryTests(SynchronousTestCase):
    """Tests for L{NtsQuery} in memory."""

    def begin(self, count: int = 2, cookies: int = 2, timeout: float = 5.0) -> NtsQuery:
        """Begin to ask a server whose clock is that of the test."""
        self.clock = Clock()
        self.transport = MemoryTransport(True)
        session = Session(
            TO_SERVER, TO_CLIENT, tuple(bytes([n]) * 100 for n in range(cookies)), "192.0.2.7", 0
        )
        query = NtsQuery(self.clock, count, timeout, session, lambda: NOW + self.clock.seconds())
        self.transport.connect(query)
        return query

    def plain(self, **more: Any) -> bytes:
        """Write the answer to the last request, without a proof."""
        request = self.transport.sent[-1]
        now = NOW + self.clock.seconds()
        return packet(request[40:48], now, now, **more) + identifier_of(request)

    def answer(self, query: NtsQuery, *cookies: bytes) -> None:
        """Answer the last request."""
        query.dataReceived(sealed(self.plain(), cookies))

    def problem(self, query: NtsQuery) -> str:
        """Expect that the query is over, with an error in one line."""
        text = str(self.failureResultOf(query.done, CommandError).value)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertTrue(text.isprintable())
        return text

    def test_requests(self) -> None:
        """Each has an identifier and a cookie of its own, and a proof that can be checked."""
        query = self.begin(3)
        for cookies in ((b"n" * 100,), (), ()):
            self.answer(query, *cookies)
            self.clock.advance(PAUSE)
        self.successResultOf(query.done)
        self.assertEqual((len(query.samples), query.sent), (3, 3))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        identifiers, spent = set(), []
        for request in self.transport.sent:
            self.assertEqual((request[0], len(request)), (0x23, 48 + 36 + 104 + 40))
            (_, identifier), (_, cookie), (kind, proof) = read_fields(request[48:])
            self.assertEqual((len(identifier), kind, proof[:4]), (32, 0x0404, b"\0\x10\0\x10"))
            head = request[:-40]
            self.assertEqual(AESSIV(TO_SERVER).decrypt(proof[20:], [head, proof[4:20]]), b"")
            identifiers.add(identifier)
            spent.append(cookie)
        self.assertEqual((len(identifiers), spent), (3, [bytes(100), b"\1" * 100, b"n" * 100]))

    def test_cookies_used_up(self) -> None:
        """Without another cookie there is no other request, and what was found counts."""
        query = self.begin(4, 1)
        self.answer(query, b"", b"x" * 2000)
        self.successResultOf(query.done)
        self.assertEqual((len(query.samples), query.sent), (1, 1))

    def test_time_of_sealing(self) -> None:
        """A proof takes time, which is part of no round trip."""
        query = self.begin()
        self.answer(query)
        seal = query._request

        def seal_slowly() -> bytes:
            self.clock.advance(1.0)
            return seal()

        with mock.patch.object(query, "_request", seal_slowly):
            self.clock.advance(PAUSE)
        self.clock.advance(0.25)
        self.answer(query)
        self.assertEqual([round(one.delay, 6) for one in query.samples], [0.0, 0.25])

    def test_not_proven(self) -> None:
        """What is changed, of other keys, of another request or without a proof is not taken."""
        query = self.begin()
        good = sealed(self.plain(), ())
        other = sealed(self.plain()[:48] + ef(0x0104, bytes(32)), ())
        changed = [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in (3, 30, 60, 100)]
        bad = [self.plain(), other, sealed(self.plain(), (), TO_SERVER), self.plain()[:48]]
        bad += [good[:47], good[:-1], b"", *changed]
        for reply in bad:
            query.dataReceived(reply)
        self.assertEqual(query.samples, [])
        self.clock.advance(5.0)
        expected = f"no authentic answer within 5 s, {len(bad)} without a proof"
        self.assertEqual(self.problem(query), expected)

    def test_good_after_bad(self) -> None:
        """A forged answer, or refusal, does not keep the true one from being taken."""
        query = self.begin(1)
        query.dataReceived(self.plain())
        query.dataReceived(self.plain(leap=3, stratum=0, refid=b"NTSN"))
        self.answer(query)
        self.successResultOf(query.done)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refused(self) -> None:
        """C{NTSN} is told, soon, though time could be left for a better answer."""
        for timeout in (5.0, 0.5, 0.0):
            query = self.begin(timeout=timeout)
            for _ in range(2):
                query.dataReceived(self.plain(leap=3, stratum=0, refid=b"NTSN"))
            self.assertNoResult(query.done)
            self.clock.advance(GRACE)
            text = "kiss code NTSN (it does not know the keys of our cookie)"
            self.assertIn(text, self.problem(query))

    def test_refused_by_others(self) -> None:
        """A refusal without the identifier of the request is none."""
        query = self.begin()
        kiss = self.plain(leap=3, stratum=0, refid=b"NTSN")[:48]
        query.dataReceived(kiss + ef(0x0104, bytes(32)))
        self.clock.advance(5.0)
        self.assertIn("1 without a proof", self.problem(query))

    def test_proven_refusal(self) -> None:
        """A proven refusal needs no patience; nor does a clock that is not right."""
        for refid, text in ((b"RATE", "kiss code RATE"), (bytes(4), "not synchronised")):
            query = self.begin()
            query.dataReceived(sealed(self.plain(leap=3, stratum=0, refid=refid), ()))
            self.assertIn(text, self.problem(query))

    def test_late(self) -> None:
        """An answer counts once, and a refusal after it is nothing."""
        query = self.begin()
        again = sealed(self.plain(), ())
        query.dataReceived(again)
        query.dataReceived(again)
        query.dataReceived(self.plain(leap=3, stratum=0, refid=b"NTSN"))
        self.clock.advance(PAUSE)
        self.assertEqual((len(query.samples), query.sent), (1, 2))
        self.clock.advance(5.0)
        self.successResultOf(query.done)

    def test_silence(self) -> None:
        """Without any answer that is what is said."""
        query = self.begin()
        self.clock.advance(5.0)
        self.assertEqual(self.problem(query), "no answer within 5 s")


class KeyServer(TrackedProtocol):
    """Gives a cookie, and the port of an NTP server."""

    port = 0

    def dataReceived(self, data: bytes) -> None:
        given = record(1, b"\0\0") + record(4, b"\0\x0f") + record(5, bytes(100), False)
        self.transport.write(given + record(7, self.port.to_bytes(2)) + END)
        self.transport.loseConnection()


class CommandTests(CommandTestCase):
    """Tests for C{socketd time ntp:HOST --nts} as a process; the daemon is for tests.system."""

    def setUp(self) -> None:
        self.ca = write_pems(Path(self.mktemp()), ca=authority().pem())["ca"]

    def serve(
        self, kind: type[TrackedProtocol], version: int = TLS1_3_VERSION, has_alpn: bool = True
    ) -> str:
        """Serve keys in a wrong way; return the port."""
        connections = TrackedFactory(kind)
        self.addCleanup(connections.abort)
        options = server_options(issued("127.0.0.1"), protocols=[b"ntske/1"])
        context = options.getContext()
        context.set_max_proto_version(version)
        if not has_alpn:
            context.set_alpn_select_callback(lambda *_: NO_OVERLAPPING_PROTOCOLS)
        return str(self.until_the_end(self.reactor.listenSSL, connections, options))

    async def complaint(self, port: str, *more: str) -> str:
        """Fail to get the time: one line, behind the key server."""
        arguments = ("--nts-port", port, "--ca", self.ca, "--timeout", "2", *more)
        out, err, status = await self.command("time", "ntp:127.0.0.1", "--nts", *arguments)
        begin = "socketd time: ntp:127.0.0.1: "
        self.assertEqual((out, err.count(b"\n"), status), (b"", 1, 1), err)
        return err.decode().removeprefix(begin).rstrip().replace(port, "PORT")

    async def test_wrong_key_servers(self) -> None:
        """One that is not there, without TLS 1.3 or the protocol, or silent is told."""
        server = "key server 127.0.0.1:PORT: "
        for port, text in (
            (str(self.refusing_port()), "connection refused"),
            (self.serve(KeyServer, TLS1_2_VERSION), "TLS: the peer refused: it has no version"),
            (self.serve(KeyServer, has_alpn=False), "it does not speak ntske/1"),
            (self.serve(SilentServer), "no answer within 2 s"),
        ):
            self.assertIn(server + text, await self.complaint(port))

    async def test_wrong_name(self) -> None:
        """The certificate has to be for the host, or for the name that is given."""
        port = self.serve(KeyServer)
        text = await self.complaint(port, "--server-name", "a.example")
        self.assertIn("the certificate is for 127.0.0.1, not for a.example", text)

    async def test_silent_ntp_server(self) -> None:
        """An NTP server that does not answer is named itself."""
        KeyServer.port = self.listen_datagrams(DatagramProtocol())
        text = await self.complaint(self.serve(KeyServer))
        self.assertEqual(text, f"NTP server 127.0.0.1:{KeyServer.port}: no answer within 2 s")
