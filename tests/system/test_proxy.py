"""PROXY headers from a balancer."""

from __future__ import annotations

import contextlib
import socket
import time
from contextlib import ExitStack

from tests.support.polling import BUSY, DEADLINE
from tests.support.processes import Daemon
from tests.support.proxy import LOCAL, TLVS, UNSPECIFIED, v1, v2, v2_tcp
from tests.support.sockets import (
    address_of,
    connect_is_reset,
    read_exactly,
    read_to_end,
    was_reset,
)
from tests.support.tls import TlsCase, connect_raw, start_tls

LISTEN = "haproxy:tcp:0:interface=127.0.0.1"
BELIEVED = "proxy_from = 127.0.0.1"
DEBUG = "[socketd]\nlog_level = debug\n"

#: Any address of loopback may be a client's own, and only one is the balancer's.
STRANGER = "127.0.0.2"


def ini(*lines: str, listen: str = LISTEN, service: str = "echo") -> str:
    """Write a configuration of one service that believes 127.0.0.1."""
    return "\n".join([f"[{service}]", f"listen = {listen}", BELIEVED, *lines, ""])


def ask(daemon: Daemon, header: bytes, message: bytes = b"hello") -> bytes:
    """
    Send a header with a message behind it.

    @return: the answer; nothing from a connection that was reset.
    """
    with connect_raw(daemon, "echo", "tcp") as sock:
        try:
            sock.sendall(header + message)
            return read_exactly(sock, len(message))
        except ConnectionError:
            return b""


class HeaderTests(TlsCase):
    """Tests for the source that the daemon takes from a header."""

    def test_log(self) -> None:
        """
        The log has the real source of each connection and message, whatever the header's
        version, and the balancer where that asks for itself.
        """
        cases = {
            v1(): r"192\.0\.2\.7:4711",
            v1("2001:db8::7"): r"\[2001:db8::7\]:4711",
            v2_tcp("198.51.100.9", 99): r"198\.51\.100\.9:99",
            v2_tcp("198.51.100.10", 99, TLVS): r"198\.51\.100\.10:99",
            v2_tcp("2001:db8::8", 99): r"\[2001:db8::8\]:99",
        }
        with self.daemon(ini("log_messages = text")) as daemon:
            for header, peer in cases.items():
                self.assertEqual(ask(daemon, header), b"hello")
                host = peer.rpartition(":")[0].replace(r"\[", "").replace(r"\]", "")
                daemon.output.wait_for(rf"connection from {peer} \(echo \d+\)$")
                daemon.output.wait_for(rf"\[?{host}\]?:hello$")
                daemon.output.wait_for(rf"connection from {peer} \(echo \d+\) closed: ")
            for header in (v2(LOCAL, UNSPECIFIED, b""), b"PROXY UNKNOWN\r\n"):
                with connect_raw(daemon, "echo", "tcp") as sock:
                    sock.sendall(header + b"hello")
                    self.assertEqual(read_exactly(sock, 5), b"hello")
                    daemon.output.wait_for(rf"connection from {address_of(sock)} \(echo \d+\)$")

    def test_pieces(self) -> None:
        """
        A header may come byte by byte, and a client that shuts down writing behind its
        message has the whole answer.
        """
        with self.daemon(ini()) as daemon:
            for header in (v1(), v2_tcp(tlvs=TLVS)):
                with connect_raw(daemon, "echo", "tcp") as sock:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    for index in range(len(header)):
                        sock.sendall(header[index : index + 1])
                    sock.sendall(b"hello")
                    sock.shutdown(socket.SHUT_WR)
                    self.assertEqual(read_to_end(sock), b"hello")

    def test_tls(self) -> None:
        """TLS comes behind the header, and is told of with the real source."""
        certificate = f"tls_certificate = {self.directory}/server.pem"
        text = DEBUG + ini(certificate, listen="haproxy:tls:0:interface=127.0.0.1")
        with self.daemon(text) as daemon:
            for header in (v1(), v2_tcp()):
                sock = connect_raw(daemon, "echo")
                sock.sendall(header)
                with start_tls(sock) as client:
                    self.check_echo(client)
                    daemon.output.wait_for(r"TLS established with 192\.0\.2\.7:4711 .* TLSv1\.3 ")

    def test_unix(self) -> None:
        """A balancer at a UNIX socket is believed: the mode of the file admits it."""
        path = self.directory / "echo.sock"
        with self.daemon(ini(listen=f"haproxy:unix:{path}")) as daemon:
            with daemon.connect("echo", "unix") as sock:
                sock.sendall(v1() + b"hello")
                self.assertEqual(read_exactly(sock, 5), b"hello")
                daemon.output.wait_for(r"connection from 192\.0\.2\.7:4711 ")


class RefusedTests(TlsCase):
    """Tests for connections that are refused."""

    def test_not_believed(self) -> None:
        """A header from elsewhere resets the connection, without a line in the log."""
        with self.daemon(ini()) as daemon:
            address = daemon.address("echo")
            for data in (b"", v1()):

                def say(data: bytes = data) -> socket.socket:
                    sock = socket.create_connection(address, DEADLINE, (STRANGER, 0))
                    with contextlib.suppress(ConnectionError):
                        sock.sendall(data)
                    return sock

                self.assertTrue(connect_is_reset(say))
            self.assertEqual(ask(daemon, v1()), b"hello")
        self.assertNotIn(STRANGER, daemon.output.text)

    def test_malformed(self) -> None:
        """What is no header resets the connection; a line for debugging says why."""
        cases = {
            b"hello": "no PROXY protocol header",
            b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 x\r\n": "bad port",
            b"PROXY TCP4 192.0.2.7\r\n": "not two addresses and two ports",
            v2(0x21, 0x11, b"\0" * 11): "too short for its addresses",
            b"PROXY " + b"x" * 200: "line too long",
        }
        with self.daemon(DEBUG + ini()) as daemon:
            for data, words in cases.items():
                self.assertEqual(ask(daemon, data), b"")
                line = rf"echo rejected the PROXY header of 127\.0\.0\.1:\d+: {words}$"
                daemon.output.wait_for(line)
            self.assertEqual(ask(daemon, v1()), b"hello")

    def test_deadline(self) -> None:
        """A header that is never complete resets the connection in time."""
        with self.daemon(ini("handshake_timeout = 1s")) as daemon:
            for data in (b"", v1()[:-1], v2_tcp()[:20]):
                began = time.monotonic()
                with connect_raw(daemon, "echo", "tcp") as sock:
                    sock.sendall(data)
                    self.assertTrue(was_reset(sock))
                    self.assertTrue(1 <= time.monotonic() - began < BUSY)

    def test_first_byte(self) -> None:
        """
        The header is no first byte: a client that sends nothing behind it is closed; one that
        sends something with it or later is not.
        """
        with self.daemon(ini("first_byte_timeout = 1s")) as daemon, ExitStack() as opened:
            lively, late, silent = (
                opened.enter_context(connect_raw(daemon, "echo", "tcp")) for _ in range(3)
            )
            for sock, message in ((lively, b"hello"), (late, b""), (silent, b"")):
                sock.sendall(v1() + message)
            late.sendall(b"hello")
            for sock in (lively, late):
                self.assertEqual(read_exactly(sock, 5), b"hello")
            self.assertEqual(silent.recv(1), b"")
            daemon.output.wait_for("first_byte_timeout")
            for sock in (lively, late):
                self.check_echo(sock, b"again")

    def test_access_policy(self) -> None:
        """
        The lists and limits are for the real source: two of its connections at once, none
        from a denied network, and the balancer itself has no limit.
        """
        lines = ("deny = 192.0.2.128/25", "max_per_source = 2")
        with self.daemon(ini(*lines)) as daemon, ExitStack() as opened:
            self.assertEqual(ask(daemon, v1("192.0.2.200")), b"")
            socks = [opened.enter_context(connect_raw(daemon, "echo", "tcp")) for _ in range(3)]
            for sock in socks[:2]:
                sock.sendall(v1() + b"hello")
                self.assertEqual(read_exactly(sock, 5), b"hello")
            socks[2].sendall(v1() + b"hello")
            self.assertTrue(was_reset(socks[2]))
            for host in range(10, 15):
                sock = opened.enter_context(connect_raw(daemon, "echo", "tcp"))
                sock.sendall(v2_tcp(f"192.0.2.{host}") + b"hello")
                self.assertEqual(read_exactly(sock, 5), b"hello")
