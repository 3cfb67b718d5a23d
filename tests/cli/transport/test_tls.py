"""Tests for L{socketd.cli.transport.tls}, against servers in this process."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import sys
import threading
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions
from twisted.internet.utils import getProcessOutputAndValue
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.cli.common.address import parse
from socketd.cli.transport import tls
from socketd.cli.transport.connect import connect
from socketd.cli.transport.error_text import explain
from socketd.cli.transport.stream import StreamTransport
from socketd.cli.transport.tls import SHOWN_NAMES, ClientTls, days_left, load, peer_names
from socketd.cli.transport.tls_options import ClientTlsOptions
from socketd.common.errors import CommandError
from tests.support.certificates import (
    Made,
    authority,
    days_from_now,
    issued,
    issued_for,
    of_unknown_version,
    rsa_key,
    self_signed,
    write_pems,
)
from tests.support.client_fakes import CommandTestCase, MemoryReceiver, environment
from tests.support.tls_servers import (
    ClosingServer,
    EchoServer,
    LongReplyServer,
    PlainTextServer,
    SilentServer,
    TrackedFactory,
    TrackedProtocol,
    TruncatingServer,
    server_options,
)

NAMES = ("localhost", "127.0.0.1", "*.example.com")


@cache
def server() -> Made:
    """Make a certificate for L{NAMES} that is valid for 30 days."""
    return issued(*NAMES, end=days_from_now(30))


def client(issuer: str = "authority") -> Made:
    """Make a certificate that is for clients only."""
    return issued("client.example", issuer=issuer, purpose=ExtendedKeyUsageOID.CLIENT_AUTH)


class TlsTestCase(CommandTestCase):
    """A test with TLS servers."""

    def setUp(self) -> None:
        self.paths = write_pems(
            Path(self.mktemp()),
            ca=authority().pem(),
            mine=client().pem(),
            key=client().key_pem(),
            strange=client("stranger").pem() + client("stranger").key_pem(),
        )

    def serve(
        self, options: CertificateOptions | None, kind: type[TrackedProtocol] = EchoServer
    ) -> int:
        """Serve on the loopback interface for the length of the test."""
        connections = TrackedFactory(kind)
        self.addCleanup(connections.abort)
        if options is None:
            return self.until_the_end(self.reactor.listenTCP, connections)
        return self.until_the_end(self.reactor.listenSSL, connections, options)

    async def dial(
        self, port: int, options: ClientTlsOptions, seconds: float = 5
    ) -> StreamTransport:
        """Connect, including the handshake."""
        receiver = MemoryReceiver()
        address = parse(f"tls:127.0.0.1:{port}")
        await connect(self.reactor, address, receiver, seconds, load(options))
        self.addCleanup(receiver.transport.abortConnection)
        transport: StreamTransport = receiver.transport
        return transport

    async def complaint(self, port: int, options: ClientTlsOptions, seconds: float = 5) -> str:
        """Fail to connect."""
        try:
            await self.dial(port, options, seconds)
        except Exception as error:
            return explain(error)
        raise AssertionError("there is a connection")

    def trusting(self, name: str = "localhost", **options: Any) -> ClientTlsOptions:
        """Trust the authority of the tests."""
        return ClientTlsOptions(name, authorities=self.paths["ca"], **options)


class VerifyTests(TlsTestCase):
    """Tests for the verification of the server."""

    async def test_good(self) -> None:
        """A server is trusted under each of its names, with a wildcard and by its address."""
        port = self.serve(server_options(server()))
        for name in ("localhost", "127.0.0.1", "www.example.com"):
            stream = await self.dial(port, self.trusting(name))
            self.assertFalse(stream.can_half_close)

    async def test_wrong_name(self) -> None:
        """A certificate for other names is refused; the error lists them."""
        port = self.serve(server_options(server()))
        for name in ("other", "example.com", "a.b.example.com", "127.0.0.2", "::1"):
            line = await self.complaint(port, self.trusting(name))
            names = "localhost, 127.0.0.1, *.example.com"
            self.assertEqual(line, f"TLS: the certificate is for {names}, not for {name}")

    async def test_no_name(self) -> None:
        """A certificate without names is valid for no server, even if its issuer is trusted."""
        port = self.serve(server_options(issued()))
        for name in ("localhost", "127.0.0.1"):
            line = await self.complaint(port, self.trusting(name))
            self.assertIn("TLS: the certificate cannot be verified: ", line)
            self.assertIn("subjectAltName", line)

    async def test_time(self) -> None:
        """A certificate that expired, or is not valid yet, is refused; the error has the date."""
        cases = {
            "the certificate expired on ": issued(*NAMES, end=days_from_now(-10)),
            "the certificate is not valid before ": issued(*NAMES, begin=days_from_now(2)),
        }
        for words, made in cases.items():
            port = self.serve(server_options(made))
            line = await self.complaint(port, self.trusting())
            self.assertIn(f"TLS: {words}", line)
            self.assertTrue(line.endswith(" UTC"), line)

    async def test_authority(self) -> None:
        """A self-signed certificate, or one of an unknown issuer, is refused."""
        alone = self_signed()
        unknown = issued(*NAMES, issuer="stranger")
        cases = {
            "TLS: the certificate is self-signed and not trusted": alone,
            "TLS: the certificate is of an authority that is not trusted": unknown,
            "TLS: the certificate is not for a server": client(),
        }
        for expected, made in cases.items():
            port = self.serve(server_options(made))
            self.assertEqual(await self.complaint(port, self.trusting()), expected)

    async def test_authority_of_the_system(self) -> None:
        """Without a file of authorities those of the system count, which do not know ours."""
        port = self.serve(server_options(server()))
        line = await self.complaint(port, ClientTlsOptions("localhost"))
        self.assertEqual(line, "TLS: the certificate is of an authority that is not trusted")

    async def test_insecure(self) -> None:
        """C{--insecure} verifies nothing, and warns once."""
        notes: list[str] = []
        self.patch(tls, "note", notes.append)
        expired = issued(*NAMES, end=days_from_now(-10))
        for made in (self_signed(), expired, client("stranger")):
            port = self.serve(server_options(made))
            await self.dial(port, ClientTlsOptions("other", is_verified=False))
        self.assertEqual(notes, [tls.INSECURE] * 3)

    async def test_server_name(self) -> None:
        """SNI has the verified name, but no address."""
        told: list[bytes | None] = []

        def choose(connection: SSL.Connection) -> None:
            told.append(connection.get_servername())

        options = server_options(server())
        options.getContext().set_tlsext_servername_callback(choose)
        port = self.serve(options)
        for name in ("localhost", "127.0.0.1"):
            await self.dial(port, self.trusting(name))
        self.assertEqual(told, [b"localhost", None])


class PeerTests(TlsTestCase):
    """Tests for peers that do not speak TLS, or not with every client."""

    async def test_no_tls(self) -> None:
        """A peer that sends plain text, echoes or closes is reported as what it is."""
        cases: dict[type[TrackedProtocol], str] = {
            PlainTextServer: "TLS: the peer speaks something else (wrong version number)",
            EchoServer: "TLS: the peer speaks something else (unexpected message)",
            ClosingServer: "TLS: the peer ended the handshake; does it speak TLS?",
        }
        for kind, expected in cases.items():
            port = self.serve(None, kind)
            self.assertEqual(await self.complaint(port, self.trusting()), expected)

    async def test_silent(self) -> None:
        """A peer that says nothing to the handshake is given up in time."""
        port = self.serve(None, SilentServer)
        line = await self.complaint(port, self.trusting(), 0.1)
        self.assertEqual(line, "no TLS handshake within 0.1 s")

    async def test_refused(self) -> None:
        """A refused connection is no TLS error."""
        line = await self.complaint(self.refusing_port(), self.trusting())
        self.assertEqual(line, "connection refused")

    async def test_protocols(self) -> None:
        """ALPN selects a common protocol; without one, the server's alert is the error."""
        port = self.serve(server_options(server(), protocols=[b"one", b"two"]))
        stream = await self.dial(port, self.trusting(protocols=(b"three", b"two")))
        self.assertEqual(stream.transport.negotiatedProtocol, b"two")
        line = await self.complaint(port, self.trusting(protocols=(b"three",)))
        # Twisted's server sends another alert than RFC 7301 has for this.
        self.assertTrue(line.startswith("TLS: the peer refused: "), line)

    async def test_unix(self) -> None:
        """TLS goes over a UNIX socket too."""
        path = self.mktemp()[-40:].replace("/", "-")
        connections = TrackedFactory(EchoServer)
        self.addCleanup(connections.abort)
        factory = TLSMemoryBIOFactory(server_options(server()), False, connections)
        factory.noisy = False
        port = self.reactor.listenUNIX(path, factory)
        self.addCleanup(port.stopListening)
        receiver = MemoryReceiver()
        options = self.trusting("www.example.com")
        await connect(self.reactor, parse(f"./{path}"), receiver, 5, load(options))
        self.addCleanup(receiver.transport.abortConnection)
        self.assertFalse(receiver.transport.can_half_close)


class ClientTlsTests(SynchronousTestCase):
    """Tests for L{ClientTls} and L{load} without a peer."""

    def test_interface(self) -> None:
        """It is what Twisted asks for a connection of OpenSSL."""
        made = ClientTls(CertificateOptions(), ClientTlsOptions("a"))
        verifyObject(IOpenSSLClientConnectionCreator, made)

    def test_files(self) -> None:
        """A bad file is an error before anything is connected."""
        path = write_pems(Path(self.mktemp()), file=b"text")["file"]
        for options in (
            ClientTlsOptions("a", authorities=path),
            ClientTlsOptions("a", certificate=path),
        ):
            error = self.assertRaises(CommandError, load, options)
            self.assertEqual(str(error), f"{path}: no valid PEM certificate in it")

    def test_refused_by_openssl(self) -> None:
        """So is one that OpenSSL does not take."""
        made = issued_for(rsa_key(1024), "a.example")
        path = write_pems(Path(self.mktemp()), file=made.pem() + made.key_pem())["file"]
        error = self.assertRaises(CommandError, load, ClientTlsOptions("a", "", path, path))
        self.assertEqual(str(error), f"{path}: TLS: ee key too small")

    def test_unconnected(self) -> None:
        """What fails before there is a connection is passed on."""
        made = ClientTls(CertificateOptions(), ClientTlsOptions("a"))
        error = ConnectionRefusedError()
        self.assertIs(made.explained(error, False), error)


class DescribeTests(SynchronousTestCase):
    """Tests for L{peer_names} and L{days_left}."""

    def test_many_names(self) -> None:
        """Of many names the first are shown, and the number of the others."""
        names = [f"a{number}.example" for number in range(SHOWN_NAMES + 5)]
        made = issued(*names)
        self.assertEqual(peer_names(made.certificate), [*names[:SHOWN_NAMES], "5 more"])

    def test_bad_names(self) -> None:
        """What a peer writes there is harmless for a terminal and short, and may be missing."""
        bad = x509.SubjectAlternativeName([
            x509.UniformResourceIdentifier("x:\x1b[2J\n"), x509.DNSName("a" * 5000),
        ])
        certificate = _with_names(bad)
        self.assertEqual(peer_names(certificate), ["x:\\x1b[2J\\n", "a" * 100])
        self.assertEqual(peer_names(self_signed().certificate), [])

    def test_strange(self) -> None:
        """A certificate that only OpenSSL can parse is reported as unreadable."""
        context, theirs = (SSL.Context(SSL.TLS_METHOD) for _ in range(2))
        made = issued("a.example")
        pem = of_unknown_version(made)
        context.use_certificate(crypto.load_certificate(crypto.FILETYPE_PEM, pem))
        context.use_privatekey(made.key)
        server, client = SSL.Connection(context), SSL.Connection(theirs)
        server.set_accept_state()
        client.set_connect_state()
        for one, other in ((client, server), (server, client)) * 3:
            with contextlib.suppress(SSL.WantReadError):
                one.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(2**16))
        *_, line = tls.describe(client, 0.0)
        self.assertEqual(line, "TLS: the certificate cannot be read")

    def test_days(self) -> None:
        """The days left are whole ones, and so are those since the end."""
        certificate = server().certificate
        end = certificate.not_valid_after_utc
        cases = {
            timedelta(days=-30): "30 days left",
            timedelta(days=-2, seconds=1): "1 day left",
            timedelta(seconds=0): "0 days left",
            timedelta(seconds=1): "expired 0 days ago",
            timedelta(days=1): "expired 1 day ago",
        }
        for after, words in cases.items():
            self.assertEqual(days_left(certificate, (end + after).timestamp()), words)


def _with_names(names: x509.SubjectAlternativeName) -> x509.Certificate:
    old = self_signed()
    certificate = old.certificate
    builder = x509.CertificateBuilder(
        certificate.issuer, certificate.subject, certificate.public_key(), 1,
        certificate.not_valid_before_utc, certificate.not_valid_after_utc,
    )
    return builder.add_extension(names, False).sign(old.key, hashes.SHA256())


class TlsCommandTests(TlsTestCase):
    """Tests for the subcommands over TLS, as processes."""

    async def test_whole_answer(self) -> None:
        """An answer is whole when the server closes, however long it is."""
        port = self.serve(server_options(server()), LongReplyServer)
        address = f"tls:localhost:{port}"
        out, err, status = await self.command("send", "--ca", self.paths["ca"], address, "x")
        self.assertEqual((err, status), (b"", 0))
        self.assertTrue(out == LongReplyServer.answer)

    async def test_pause(self) -> None:
        """The given pause ends a reply without a close; parameters go to standard error."""
        port = self.serve(server_options(server(), protocols=[b"echo"]))
        arguments = ("--tls", "--ca", self.paths["ca"], "--pause", "0.2", "--alpn", "echo", "-v")
        address = f"127.0.0.1:{port}"
        out, err, status = await self.command("send", *arguments, address, stdin=b"hello\n")
        self.assertEqual((out, status), (b"hello\n", 0))
        agreed, names = err.decode().splitlines()
        self.assertRegex(agreed, "^TLS: TLSv1.3, TLS_[A-Z0-9_]+, ALPN echo$")
        self.assertIn("TLS: the certificate is for localhost, ", names)
        self.assertRegex(names, "; (29|30) days left$")

    async def test_cut_off(self) -> None:
        """A reply that ends without close_notify may be truncated."""
        port = self.serve(server_options(server()), TruncatingServer)
        address = f"tls:localhost:{port}"
        outcome = await self.command("send", "--ca", self.paths["ca"], address, "x")
        complaint = f"socketd send: {address}: connection reset or lost\n"
        self.assertEqual(outcome, (b"half", complaint.encode(), 1))

    async def test_no_notice_of_the_server(self) -> None:
        """A server that answers our end by just going, as many do, has answered well."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        listener.settimeout(self.timeout)
        pems = write_pems(Path(self.mktemp()), both=server().pem() + server().key_pem())
        serving = (listener, pems["both"])
        thread = threading.Thread(target=_echo_once, args=serving, daemon=True)
        thread.start()
        self.addCleanup(thread.join, self.timeout)
        address = f"tls:127.0.0.1:{listener.getsockname()[1]}"
        arguments = ("--ca", self.paths["ca"], "--pause", "0.1", address, "hello")
        self.assertEqual(await self.command("send", *arguments), (b"hello", b"", 0))

    async def test_client_certificate(self) -> None:
        """A server that wants a certificate of ours gets it."""
        port = self.serve(server_options(server(), clients_of=authority()), LongReplyServer)
        own = ("--cert", self.paths["mine"], "--key", self.paths["key"])
        arguments = ("send", "--ca", self.paths["ca"], *own, f"tls:127.0.0.1:{port}", "x")
        out, err, status = await self.command(*arguments)
        self.assertEqual((err, status, len(out)), (b"", 0, len(LongReplyServer.answer)))

    async def test_wrong_client_certificate(self) -> None:
        """Without a trusted certificate the refusal is told, though it follows the handshake."""
        port = self.serve(server_options(server(), clients_of=authority()))
        address = f"tls:127.0.0.1:{port}"
        cases: dict[tuple[str, ...], str] = {
            (): "it wants a certificate of ours (--cert)",
            ("--cert", self.paths["strange"]):
                "our certificate is of an authority that it does not trust",
        }
        for own, words in cases.items():
            arguments = ("send", "--ca", self.paths["ca"], *own, address, "x")
            complaint = f"socketd send: {address}: TLS: the peer refused: {words}\n"
            self.assertEqual(await self.command(*arguments), (b"", complaint.encode(), 1))

    async def test_wrong_name(self) -> None:
        """A server that is not trusted gets nothing, and one line says why."""
        port = self.serve(server_options(server()))
        arguments = ("--ca", self.paths["ca"], "--server-name", "other", f"tls:127.0.0.1:{port}")
        for name in ("send", "chat", "time"):
            out, err, status = await self.command(name, *arguments)
            self.assertEqual((out, status, err.count(b"\n")), (b"", 1, 1))
            self.assertTrue(err.endswith(b", not for other\n"), err)

    async def test_insecure_chat(self) -> None:
        """A dialog works over TLS; that the server was not verified is a warning."""
        port = self.serve(server_options(self_signed()))
        arguments = ("chat", "--tls", "--insecure", "--newline", f"127.0.0.1:{port}")
        out, err, status = await self.command(*arguments, stdin=b"one\ntwo\n")
        self.assertEqual((out, err.decode(), status), (b"one\ntwo\n", f"{tls.INSECURE}\n", 0))

    async def test_time(self) -> None:
        """The time is asked over TLS too."""

        class Clock(TrackedProtocol):
            """Sends a number, and closes."""

            def connectionMade(self) -> None:
                self.transport.write(struct.pack("!I", 1_800_000_000))
                self.transport.loseConnection()

        port = self.serve(server_options(server()), Clock)
        arguments = ("time", "--ca", self.paths["ca"], f"tls:127.0.0.1:{port}")
        out, err, status = await self.command(*arguments)
        self.assertEqual((err, status), (b"", 0))
        self.assertIn(b"number      1800000000, seconds since 1970\n", out)

    async def test_authorities_of_the_system(self) -> None:
        """By default the system's authorities are trusted, here from OpenSSL's variable."""
        port = self.serve(server_options(server()), LongReplyServer)
        outcome = await getProcessOutputAndValue(
            sys.executable, ("-m", "socketd", "send", f"tls:127.0.0.1:{port}", "x"),
            env=environment() | {"SSL_CERT_FILE": os.path.abspath(self.paths["ca"])},
        )
        self.assertEqual((outcome[1], outcome[2]), (b"", 0))


def _echo_once(listener: socket.socket, pem: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    connection, _ = listener.accept()
    connection.settimeout(30)
    with context.wrap_socket(connection, server_side=True) as secured:
        while data := secured.recv(1024):
            secured.sendall(data)
