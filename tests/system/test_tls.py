"""TLS, from the real daemon to the clients of Python's C{ssl}."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import struct
import time
from pathlib import Path

from tests.support.certificates import FUTURE, PAST, Made, issued, of_unknown_version
from tests.support.polling import BUSY, wait_until
from tests.support.processes import Daemon
from tests.support.sockets import address_of, read_exactly, read_to_end, was_reset
from tests.support.tls import (
    LOOPBACK,
    NAME,
    TlsCase,
    client_hello,
    connect_raw,
    connect_tls,
    der,
    peer_certificate,
    start_tls,
    trusting_context,
    unverifying_context,
)

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)

#: The longest record of TLS (bytes), which is decrypted whole.
RECORD = 16 * 1024

#: What a service with four protocols says over TLS.
FOUR = f"""
[defaults]
tls_certificate = {{directory}}/server.pem
tls_key = {{directory}}/server.key
[echo]
listen = {LOOPBACK}, tcp:0:interface=127.0.0.1
[ack]
listen = {LOOPBACK}
[chargen]
listen = {LOOPBACK}
[time]
listen = {LOOPBACK}
"""

#: How many clients come and go, and what the daemon may have grown by then (KiB): a
#: connection that stays has its buffers, more than 40 KiB each.
RECONNECTS = 300
MAX_GROWTH = 4 * 1024

#: How many of the last ones the daemon may just be closing.
CLOSING = 10

#: How much of a stream without end fills all buffers on its way (bytes).
ENOUGH = 100 * 1024


def trusting_version(version: ssl.TLSVersion) -> ssl.SSLContext:
    """Make a client that speaks one version only."""
    context = trusting_context()
    context.minimum_version = context.maximum_version = version
    return context


class ServiceTests(TlsCase):
    """Tests for what is served over TLS."""

    def make_certificates(self, *options: str) -> None:
        """Run C{socketd certificate}."""
        place = ("--directory", str(self.directory))
        self.output_of("certificate", *place, "--force", *options)

    def test_own_certificates(self) -> None:
        """
        With what C{socketd certificate} makes, and no more, a client that verifies is
        served: echo, the time, a stream without end, and the word of ack; plain TCP beside
        it is as ever.
        """
        os.unlink(self.directory / "ca.pem")
        self.make_certificates("localhost", "127.0.0.1")
        context = trusting_context(self.directory / "ca.pem")
        with self.daemon(FOUR.format(directory=self.directory)) as daemon:
            for name in ("localhost", "127.0.0.1"):
                with connect_tls(daemon, "echo", context, name) as client:
                    self.check_echo(client)
                    self.assertEqual(client.version(), "TLSv1.3")
            with connect_tls(daemon, "time", context, "localhost") as client:
                (told,) = struct.unpack("!I", read_exactly(client, 4))
                self.assertEqual(client.recv(1), b"")
            self.assertLess(abs((told - int(time.time())) % 2208988800), BUSY)
            with connect_tls(daemon, "chargen", context, "localhost") as client:
                self.assertEqual(len(read_exactly(client, ENOUGH)), ENOUGH)
            with connect_tls(daemon, "ack", context, "localhost") as client:
                self.check_echo(client, b"hello", b"hello\nI get it!\n")
            with connect_raw(daemon, "echo", "tcp") as plain:
                self.check_echo(plain)

    def test_stranger(self) -> None:
        """
        A client that trusts others refuses the daemon; one that is not for TLS is closed;
        both are counted, none is logged as an error, and the next one is served.
        """
        ini = "[socketd]\nlog_level = debug\n" + self.ini()
        with self.daemon(ini) as daemon:
            stranger = ssl.create_default_context()
            with self.assertRaises(ssl.SSLError):
                connect_tls(daemon, "echo", stranger)
            daemon.output.wait_for(r"handshake with 127\.0\.0\.1:\d+ failed \(echo\): tls_hand")
            with connect_raw(daemon, "echo") as plain:
                plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
                was_reset(plain)
            daemon.output.wait_for(r"handshake with 127\.0\.0\.1:\d+ failed \(echo\): tls_hand")
            with connect_tls(daemon, "echo") as client:
                self.check_echo(client)

    def test_long(self) -> None:
        """A megabyte comes back unchanged, with both directions busy."""
        sent = os.urandom(1024 * 1024)
        with self.daemon(self.ini()) as daemon, connect_tls(daemon, "echo") as client:
            received = b""
            for start in range(0, len(sent), RECORD):
                client.sendall(sent[start : start + RECORD])
                received += read_exactly(client, RECORD)
            self.assertEqual(received, sent)

    def test_messages(self) -> None:
        """The log shows messages in plain, without the handshake before them."""
        with self.daemon(self.ini("log_messages = text")) as daemon:
            with connect_tls(daemon, "echo") as client:
                client.sendall(b"in plain")
                daemon.output.wait_for(r"127\.0\.0\.1:in plain$")
                self.assertEqual(read_exactly(client, 8), b"in plain")
        shown = re.findall(r"\] (127\.0\.0\.1:.*)$", daemon.output.text, re.MULTILINE)
        self.assertEqual(shown, ["127.0.0.1:in plain"])

    def test_operator(self) -> None:
        """The operator's answer, and what comes by C{reply}, reach the client over TLS."""
        with self.daemon(self.ini(service="ack"), "--console", terminal=True) as daemon:
            with connect_tls(daemon, "ack") as client:
                client.sendall(b"anybody?")
                daemon.output.wait_for("^input the word:")
                daemon.type("here\n")
                expected = b"anybody?\nI get it!\nhere"
                self.assertEqual(read_exactly(client, len(expected)), expected)
                daemon.type("connections\n")
                number = daemon.output.wait_for(rf"^(\d+) +ack +{address_of(client)}")[1]
                daemon.type(f"reply {number} one more thing\n")
                self.assertEqual(read_exactly(client, 14), b"one more thing")
                daemon.type(f"close {number}\n")
                self.assertEqual(client.recv(1), b"")


class ClientTests(TlsCase):
    """Tests for clients that need a certificate."""

    def outcome(self, daemon: Daemon, client: str | Path = "") -> bytes:
        """Say something as a client, and return the answer; nothing if it was refused."""
        try:
            with connect_tls(daemon, "echo", trusting_context(client=client)) as sock:
                sock.sendall(b"hello")
                return read_exactly(sock, 5)
        except (ConnectionError, ssl.SSLError):
            return b""

    def test_names(self) -> None:
        """
        Only clients with one of the names are served; another name, no certificate and a
        stranger's are not, and the log says which.
        """
        stranger = issued("good.example.org", issuer="another")
        forged = self.replace(stranger.pem() + stranger.key_pem(), "forged.pem")
        ini = "[socketd]\nlog_level = debug\n" + self.ini(
            f"tls_client_ca = {self.directory}/ca.pem",
            "tls_client_names = good.example.org, spiffe://example.org/good",
        )
        with self.daemon(ini) as daemon:
            for name in ("good.example.org", "spiffe://example.org/good"):
                made = issued(name)
                file = self.replace(made.pem() + made.key_pem(), "client.pem")
                self.assertEqual(self.outcome(daemon, file), b"hello")
                daemon.output.wait_for(rf"TLS established with .*: TLSv1\.3 .* {name}$")
            bad = self.client_file("bad.example.org")
            self.assertEqual(self.outcome(daemon, bad), b"")
            daemon.output.wait_for(r"TLS handshake with .*: tls_client_name: bad\.example\.org$")
            for unknown in ("", forged):
                self.assertEqual(self.outcome(daemon, unknown), b"")
                daemon.output.wait_for(r"TLS handshake with .*: tls_handshake: ")


class DeadlineTests(TlsCase):
    """Tests for peers that waste time."""

    def test_handshake(self) -> None:
        """
        A client that sends nothing, or half of a client hello, is reset in time; meanwhile
        others are served.
        """
        hello = client_hello()
        with self.daemon(self.ini("handshake_timeout = 1s")) as daemon:
            for data in (b"", hello[: len(hello) // 2], hello):
                began = time.monotonic()
                with connect_raw(daemon, "echo") as sock:
                    sock.sendall(data)
                    with connect_tls(daemon, "echo") as client:
                        self.check_echo(client)
                    self.assertTrue(was_reset(sock))
                    self.assertTrue(1 <= time.monotonic() - began < BUSY)

    def test_first_byte(self) -> None:
        """
        The handshake is no first byte: a client that sends nothing behind it is closed, one that
        has sent something is not.
        """
        with self.daemon(self.ini("first_byte_timeout = 1s")) as daemon:
            with connect_tls(daemon, "echo") as lively, connect_tls(daemon, "echo") as silent:
                self.check_echo(lively)
                self.assertEqual(read_to_end(silent), b"")
                daemon.output.wait_for("first_byte_timeout")
                self.check_echo(lively, b"again")

    def test_idle(self) -> None:
        """A client that is idle is told of the end in TLS."""
        with self.daemon(self.ini("idle_timeout = 1s")) as daemon:
            with connect_tls(daemon, "echo") as client:
                client.sendall(b"hello")
                self.assertEqual(read_to_end(client), b"hello")
                daemon.output.wait_for("idle_timeout")

    def test_stall(self) -> None:
        """A client that takes nothing is reset."""
        ini = self.ini("stall_timeout = 1s", service="chargen")
        with self.daemon(ini) as daemon, connect_tls(daemon, "chargen") as client:
            daemon.output.wait_for("stall_timeout")
            # What is encrypted still waits here; behind it the reset shows.
            with socket.socket(fileno=client.detach()) as raw:
                self.assertTrue(was_reset(raw))


class RenewalTests(TlsCase):
    """Tests for certificate files that change under the daemon."""

    def test_renewal(self) -> None:
        """
        New connections have the new certificate, and old ones live on with theirs.  A file
        that cannot be used is said once, and changes nothing, nor does half of a good one;
        it is taken when it is whole.
        """
        renewed, last = issued(NAME, end=FUTURE), issued(NAME, number=2)
        with self.daemon(self.ini()) as daemon, connect_tls(daemon, "echo") as old:
            self.assertEqual(peer_certificate(old), der(self.made))
            self.replace(renewed.pem() + renewed.key_pem())
            daemon.output.wait_for(r"echo loaded new certificates, valid until 2048-01-01 00:00")
            self.check_kept(daemon, renewed)
            strange = of_unknown_version(renewed) + renewed.key_pem()
            self.replace(strange)
            daemon.output.wait_for(r"echo keeps its old certificates; tls_certificate: .*damaged")
            self.check_kept(daemon, renewed)
            whole = last.pem() + last.key_pem()
            path = self.replace(whole[:-70])
            daemon.output.wait_for(r"echo keeps its old certificates; tls_\w+: .*cut off")
            self.check_kept(daemon, renewed)
            with path.open("ab") as file:
                file.write(whole[-70:])
            daemon.output.wait_for(r"echo loaded new certificates, valid until 2049-01-01 00:00")
            self.check_kept(daemon, last)
            self.check_echo(old, b"still here")
        self.assertEqual(daemon.output.text.count("keeps its old certificates"), 2)

    def test_resumed(self) -> None:
        """
        A client that comes again resumes its session, over TLS 1.2 and 1.3, and still
        does when a reload has changed other things.
        """
        with self.daemon(self.ini()) as daemon:
            found = [self.visit(daemon, trusting_version(version)) for version in VERSIONS]
            self.write("socketd.ini", self.ini("idle_timeout = 7s"))
            daemon.signal(signal.SIGHUP)
            daemon.output.wait_for("reloaded: .*idle_timeout")
            for context, session in found:
                for _ in range(2):
                    with start_tls(connect_raw(daemon, "echo"), context, session=session) as again:
                        self.assertTrue(again.session_reused)

    def visit(
        self, daemon: Daemon, context: ssl.SSLContext
    ) -> tuple[ssl.SSLContext, ssl.SSLSession | None]:
        """Be answered once; what the client may bring the next time comes with it."""
        with start_tls(connect_raw(daemon, "echo"), context) as client:
            self.check_echo(client)
            self.assertFalse(client.session_reused)
            return context, client.session

    def check_kept(self, daemon: Daemon, made: Made) -> None:
        """Wait until new connections are shown a certificate, and check that they are served."""
        wait_until(lambda: self.shown(daemon) == der(made), "it is not shown")

    def shown(self, daemon: Daemon) -> bytes:
        """Say which certificate a new connection is shown."""
        with connect_tls(daemon, "echo") as client:
            self.check_echo(client)
            return peer_certificate(client)


class EndTests(TlsCase):
    """Tests for how connections end, and what they leave."""

    def test_drain(self) -> None:
        """
        A daemon that is stopped sends what it owes, and tells each client of the end in
        TLS; a handshake that is not done does not delay it.
        """
        sent = os.urandom(RECORD)
        with self.daemon(self.ini()) as daemon:
            idle, busy = connect_tls(daemon, "echo"), connect_tls(daemon, "echo")
            silent = connect_raw(daemon, "echo")
            with idle, busy, silent:
                busy.sendall(sent)
                received = read_exactly(busy, 1)
                daemon.ask_to_stop(signal.SIGTERM)
                daemon.output.wait_for("stopping; ")
                self.assertEqual(received + read_to_end(busy), sent)
                self.assertEqual(read_to_end(idle), b"")
                self.assertFalse(was_reset(silent))

    def test_reconnects(self) -> None:
        """
        Clients that come and go quickly, some without a word and some in the middle of
        their handshake, leave no descriptor and no memory.
        """
        with self.daemon(self.ini("log_connections = no")) as daemon:
            self.come_and_go(daemon, RECONNECTS // 3)
            before = (daemon.descriptors(), daemon.resident())
            self.come_and_go(daemon, RECONNECTS)
            after = (daemon.descriptors(), daemon.resident())
        self.assertLess(after[0] - before[0], CLOSING)
        self.assertLess(after[1] - before[1], MAX_GROWTH)

    def come_and_go(self, daemon: Daemon, times: int) -> None:
        """Connect one client after the other; the last one is seen to its end."""
        context, hello = trusting_context(), client_hello()
        for number in range(times):
            if number % 4 == 3:
                with connect_raw(daemon, "echo") as sock:
                    sock.sendall(hello[: number % len(hello)])
                continue
            with connect_tls(daemon, "echo", context) as client:
                self.check_echo(client)
        with connect_tls(daemon, "echo", context) as client:
            client.unwrap().close()


class CheckTests(TlsCase):
    """C{socketd check} and the daemon say alike what is wrong."""

    def check(self, ini: str, *lines: str) -> None:
        """Compare the complaints about a file, each by how it begins."""
        file = self.write("wrong.ini", ini)
        for ended in self.run_both(file):
            self.assertEqual(ended.status, 78, ended)
            found = ended.errors.splitlines()
            self.assertEqual(len(found), len(lines), ended)
            for text, expected in zip(found, lines):
                self.assertTrue(text.startswith(f"{file}{expected}"), text)

    def test_files(self) -> None:
        """Certificates that cannot be used are named with line, option and path."""
        path = self.replace(of_unknown_version(self.made) + self.made.key_pem(), "old.pem")
        ini = f"[echo]\nlisten = tls:0\n\ntls_certificate = {path}\ntls_client_ca = /none.pem\n"
        self.check(
            ini,
            f":4: [echo] tls_certificate: {path} is damaged: ",
            ":5: [echo] tls_client_ca: /none.pem cannot be read: No such file or directory",
        )

    def test_expired(self) -> None:
        """
        One that has expired is warned of by C{check} and in the log of the start; it is
        served, and so are the other services.
        """
        expired = issued(NAME, end=PAST)
        path = self.replace(expired.pem() + expired.key_pem(), "old.pem")
        ini = f"[echo]\nlisten = tls:0:interface=127.0.0.1\ntls_certificate = {path}\n"
        ini += "[upper]\nlisten = tcp:0:interface=127.0.0.1\n"
        words = f"certificate 1 of {path} expired at 2021-01-01 00:00 UTC; renew it"
        file = self.write("old.ini", ini)
        ended = self.run_check(file)
        self.assertEqual(ended.status, 0)
        expected = f"warning: {file}:3: [echo] tls_certificate: {words}\n"
        self.assertEqual(ended.errors, expected)
        with self.daemon(ini) as daemon:
            daemon.output.wait_for(f"echo continues .*; tls_certificate: {words}")
            with connect_tls(daemon, "echo", unverifying_context()) as client:
                self.assertEqual(peer_certificate(client), der(expired))
            with connect_raw(daemon, "upper", "tcp") as plain:
                self.check_echo(plain, b"hello", b"HELLO")

    def test_options(self) -> None:
        """
        So are TLS without a certificate, its options without TLS, and a listener for PROXY
        headers without C{proxy_from}.
        """
        ini = """
[echo]
listen = tls:0
[upper]
listen = tcp:0
tls_minimum = 1.3
[reply]
listen = haproxy:tcp:0
reply = hello
"""
        self.check(
            ini,
            ":3: [echo]: has a listener for TLS, and no certificate",
            ":6: [upper] tls_minimum: is for TLS, which no listener here uses",
            ":8: [reply]: has a haproxy: listener that trusts no proxy",
        )

    def test_good(self) -> None:
        """A good file is said to be good."""
        ended = self.run_check(self.write("good.ini", self.ini()))
        self.assertEqual((ended.status, ended.errors), (0, ""))
