"""Peers that misuse TLS, while a well-behaved client is served."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from random import Random

from OpenSSL import SSL

from tests.chaos import figures
from tests.chaos.handshakes import (
    HandshakeClient,
    dribble,
    fragmented,
    handshake,
    take_over_writing,
)
from tests.chaos.tls_faults import TlsFaultCase
from tests.support.certificates import client_context
from tests.support.polling import DEADLINE
from tests.support.processes import Daemon
from tests.support.sockets import was_reset
from tests.support.tls import NAME, client_hello, connect_raw, connect_tls, trusting_context
from tests.support.tls_records import ALERT, DATA, RecordWriter

SEED = 20361

#: The deadline of handshakes (seconds), and how late the end may be on a busy machine.
LIMIT = 0.25
LATE = 5.0

#: How often a slow peer sends a byte (seconds).
PAUSE = 0.02

#: What a connection may take of memory (KiB), and the whole daemon beside (KiB).
PER_CONNECTION = 256
MAX_GROWTH = 4 * 1024

#: Changes of keys in a flood (27 bytes each, as their answers), how many are sent at once,
#: and how long the server may take none (seconds): then it waits for the answers to be read.
UPDATES = 16000
AT_ONCE = 100
STUCK = 0.5

#: Small buffers of the kernel, so that the server's own show.
SMALL = 4096

#: Names of protocols that make a hello longer than a record.
MANY_PROTOCOLS = [f"{number:0250}" for number in range(100)]


class HelloTests(TlsFaultCase):
    """What comes in place of a hello, and hellos of odd form."""

    def garbage(self) -> Iterator[bytes]:
        """List what is no hello."""
        hello = client_hello()
        yield b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n"
        yield b"SSH-2.0-OpenSSH_9.2\r\n"
        yield Random(SEED).randbytes(100000)
        yield bytes(100000)
        # An alert, and data, before anything is agreed on.
        yield b"\x15\x03\x03\x00\x02\x02\x28"
        yield b"\x17\x03\x03\x00\x20" + bytes(32)
        # A record and a message that are longer than may be.
        yield b"\x16\x03\x01\xff\xff" + bytes(65535)
        yield (b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(16380)) * 10
        yield hello[:5] + b"\x02" + hello[6:]
        yield hello + hello

    def test_garbage(self) -> None:
        """
        A peer that sends something else than a client hello is closed at once, counted once,
        and has one line in the log at most.
        """
        garbage = list(self.garbage())
        with self.under_attack() as daemon:
            for data in garbage:
                with connect_raw(daemon, "echo") as sock:
                    began = time.monotonic()
                    try:
                        sock.sendall(data)
                    except ConnectionError:
                        pass
                    was_reset(sock)
                    self.assertLess(time.monotonic() - began, LATE)
            self.wait_for_counts(daemon, tls_handshake=len(garbage))
            self.check_lines(daemon, "tls_handshake", len(garbage))

    def test_offers(self) -> None:
        """
        A client without a protocol of ours, and one that asks for another server, are told
        why in TLS, and each is counted by its reason.
        """
        other = trusting_context()
        other.set_alpn_protocols(["h2"])
        with self.under_attack("tls_alpn = echo/1", "tls_unknown_name = refuse") as daemon:
            with self.assertRaisesRegex(ssl.SSLError, "no application protocol"):
                connect_tls(daemon, "echo", other)
            with self.assertRaisesRegex(ssl.SSLError, "unrecognized name"):
                connect_tls(daemon, "echo", name="unknown.example.org")
            self.wait_for_counts(daemon, tls_handshake=1, tls_server_name=1)

    def test_forms(self) -> None:
        """A hello longer than a record is served, and so is one with a byte in each record."""
        offering = trusting_context()
        offering.set_alpn_protocols(MANY_PROTOCOLS)
        with self.under_attack() as daemon:
            with connect_raw(daemon, "echo") as sock:
                large = HandshakeClient(sock, offering)
                flights = list(self.send_all(large))
                self.assertGreater(len(flights[0]), 16 * 1024)
                self.assertEqual(large.exchange(b"large"), b"large")
            with connect_raw(daemon, "echo") as sock:
                tiny = HandshakeClient(sock)
                flights = list(self.send_all(tiny, fragmented))
                self.assertEqual(len(flights), 2)
                self.assertEqual(tiny.exchange(b"tiny"), b"tiny")
            self.assertEqual(self.counts(daemon), {})

    def send_all(
        self, client: HandshakeClient, cut: Callable[[bytes], bytes] = bytes
    ) -> Iterator[bytes]:
        """
        Do the handshake, and give each flight once it is sent.

        @param cut: rewrites the client hello; what follows is encrypted, and stays.
        """
        for flight in client.flights():
            client.sock.sendall(cut(flight))
            cut = bytes
            yield flight


class StallTests(TlsFaultCase):
    """Handshakes that never end."""

    def half_way(self, daemon: Daemon, version: ssl.TLSVersion, count: int) -> HandshakeClient:
        """Do the handshake up to a flight: return a client that has sent so many."""
        context = trusting_context()
        context.maximum_version = version
        client = HandshakeClient(connect_raw(daemon, "echo"), context)
        self.addCleanup(client.sock.close)
        flights = client.flights()
        for _ in range(count):
            client.sock.sendall(next(flights))
        self.unsent = next(flights)
        return client

    def test_flights(self) -> None:
        """
        At each flight of either version, a client that sends a byte now and then is
        reset when the deadline of the whole handshake is over, which bytes do not prolong.
        """
        with self.under_attack(f"handshake_timeout = {LIMIT * 1000:.0f}ms") as daemon:
            rest = {}
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                for count in range(2):
                    client = self.half_way(daemon, version, count)
                    self.assertGreater(len(self.unsent), 2 * LIMIT / PAUSE)
                    rest[client.sock] = self.unsent
            lasted = dribble(rest, PAUSE)
            self.wait_for_counts(daemon, handshake_timeout=len(rest))
            self.assertEqual(daemon.output.text.count("TLS handshake with"), 0)
        self.assertLess(max(lasted), LIMIT + LATE)
        figures.note(self, f"{LIMIT} s ended after {max(lasted):.2f} s")


class DropTests(TlsFaultCase):
    """Handshakes that are dropped."""

    dropped = 100

    def drop(self, daemon: Daemon, count: int) -> None:
        """Begin handshakes, and drop each at another byte of its hello, at none, or behind it."""
        hello = client_hello()
        for number in range(count):
            with connect_raw(daemon, "echo") as sock:
                sock.sendall(hello[: number * 7 % (len(hello) + 1)])

    def test_dropped(self) -> None:
        """
        Handshakes that are begun and dropped are counted, and leave no descriptor and no
        memory.
        """
        count = self.dropped
        with self.under_attack() as daemon:
            self.drop(daemon, count)
            self.wait_for_counts(daemon, tls_handshake=count)
            before = daemon.resident()
            self.drop(daemon, count)
            self.wait_for_counts(daemon, tls_handshake=2 * count)
            growth = daemon.resident() - before
            found = daemon.output.text.count("TLS handshake with")
        self.assertLess(growth, MAX_GROWTH)
        self.assertLessEqual(found, 2 * count)
        figures.note(self, f"{count} more grew it by {growth} KiB")


class AfterTests(TlsFaultCase):
    """What peers do to TLS once it is agreed on."""

    def take_over(self, daemon: Daemon) -> tuple[HandshakeClient, RecordWriter]:
        """Do a handshake in TLS 1.3, and write the records from then on."""
        sock = connect_raw(daemon, "echo")
        self.addCleanup(sock.close)
        for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, buffer, SMALL)
        return take_over_writing(sock, self.directory)

    def test_renegotiation(self) -> None:
        """
        A client of TLS 1.2 that asks for another handshake does not get one; no other
        peer notices.
        """
        with self.under_attack() as daemon:
            for _ in range(5):
                with connect_raw(daemon, "echo") as sock:
                    self.assertIn("renegotiation", self.renegotiate(sock))
            self.assertEqual(self.counts(daemon), {})

    def renegotiate(self, sock: socket.socket) -> str:
        """Do a handshake, ask for another one, and return what that failed with."""
        client = SSL.Connection(client_context(newest=SSL.TLS1_2_VERSION))
        client.set_tlsext_host_name(NAME.encode())
        client.set_connect_state()
        handshake(client, sock)
        self.assertTrue(client.renegotiate())
        problem = self.assertRaises(SSL.Error, handshake, client, sock)
        return str(problem)

    def test_key_updates(self) -> None:
        """
        A client of TLS 1.3 may change its keys, and ask for others, now and then. One that
        never ends to, and does not read the answers, is given no more memory than any peer
        that does not read, and others are served.
        """
        with self.under_attack(f"so_sndbuf = {SMALL}", f"so_rcvbuf = {SMALL}") as daemon:
            client, writer = self.take_over(daemon)
            for number in range(10):
                client.sock.sendall(writer.update(number % 2 > 0) + writer.record(DATA, b"hello"))
                self.assertEqual(client.receive(5), b"hello")
                before = daemon.resident()
            sent = self.flood(client.sock, writer)
            growth = daemon.resident() - before
            client.sock.close()
        self.assertLess(sent, UPDATES)
        self.assertLess(growth, PER_CONNECTION)
        figures.note(self, f"{sent} changes of keys grew it by {growth} KiB")

    def flood(self, sock: socket.socket, writer: RecordWriter) -> int:
        """Change keys while the server takes it and no answer is read; return how often."""
        sock.settimeout(STUCK)
        for number in range(0, UPDATES, AT_ONCE):
            try:
                sock.sendall(b"".join(writer.update(True) for _ in range(AT_ONCE)))
            except TimeoutError:
                return number
        return UPDATES

    def test_ends(self) -> None:
        """
        A fatal alert in mid-stream, and an end without C{close_notify}, end the connection
        alone, with the line that every connection has at its end.
        """
        with self.under_attack() as daemon:
            client, writer = self.take_over(daemon)
            client.sock.sendall(writer.record(DATA, b"hello"))
            self.assertEqual(client.receive(5), b"hello")
            client.sock.sendall(writer.record(ALERT, b"\x02\x50"))
            self.assertFalse(was_reset(client.sock))
            client.sock.close()
            daemon.output.wait_for(r"\(echo \d+\) closed: ")
            with connect_tls(daemon, "echo") as truncated:
                self.check_echo(truncated)
                with socket.socket(fileno=truncated.detach()) as raw:
                    raw.settimeout(DEADLINE)
                    raw.shutdown(socket.SHUT_WR)
                    self.assertFalse(was_reset(raw))
            daemon.output.wait_for(r"\(echo \d+\) closed: ")
            self.assertEqual(self.counts(daemon), {})
