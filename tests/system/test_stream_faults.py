"""The real daemon with fault profiles, as the peers of its streams see them."""

from __future__ import annotations

import signal
import socket
import ssl
import time

from tests.support.polling import BUSY
from tests.support.processes import Daemon
from tests.support.sockets import connect_is_reset, fill, is_silent, read_exactly, read_to_end
from tests.support.tls import TlsCase, connect_raw, connect_tls, start_tls

TCP = "tcp:0:interface=127.0.0.1"

#: How long a peer that waits for nothing waits (seconds).
SILENCE = 0.3

#: The profile of each service, by its name.
PROFILES = {
    "reset": "reset = after 100B",
    "close": "close = after 1KiB",
    "half": "half-close = after 10B",
    "refuse": "accept = refuse",
    "first": "accept = refuse\nfirst = 1",
    "silent": "accept = silent",
    "never": "accept = never-read",
    "slow": "accept = slow 500ms",
    "late": "latency = 200ms",
    "dribble": "slice = 1..3 every 5ms",
}

INI = "".join(
    f"[fault:{name}]\n{text}\n[{name}]\nprotocol = echo\nlisten = {TCP}\nfault = {name}\n"
    for name, text in PROFILES.items()
)


class StreamTests(TlsCase):
    """What a client of TCP meets with, from a profile in the file."""

    def test_all(self) -> None:
        """Each profile does what it says, exactly."""
        with self.daemon(INI) as daemon:
            for name in PROFILES:
                with self.subTest(name):
                    check = getattr(self, f"check_{name}")
                    check(daemon.address(name))

    def ask(self, address: tuple[str, int], data: bytes) -> socket.socket:
        """Connect and send."""
        client = socket.create_connection(address, BUSY)
        self.addCleanup(client.close)
        client.sendall(data)
        return client

    def check_reset(self, address: tuple[str, int]) -> None:
        """The peer reads 100 bytes, and ECONNRESET then; sooner or later, and each time."""
        for wait in (0.0, SILENCE, 0.0):
            client = self.ask(address, b"x" * 300)
            time.sleep(wait)
            self.assertEqual(read_exactly(client, 100), b"x" * 100)
            self.assertRaises(ConnectionResetError, client.recv, 1)

    def check_close(self, address: tuple[str, int]) -> None:
        """The peer reads 1024 bytes, and the end."""
        self.assertEqual(read_to_end(self.ask(address, b"x" * 5000)), b"x" * 1024)

    def check_half(self, address: tuple[str, int]) -> None:
        """The peer reads the end after 10 bytes, and may go on sending."""
        client = self.ask(address, b"x" * 30)
        self.assertEqual(read_to_end(client), b"x" * 10)
        for _ in range(3):
            client.sendall(b"more")

    def check_refuse(self, address: tuple[str, int]) -> None:
        """connect(2) fails."""
        self.assertRaises(ConnectionRefusedError, socket.create_connection, address)

    def check_first(self, address: tuple[str, int]) -> None:
        """One connection is reset, and the next one is served."""
        self.assertTrue(connect_is_reset(lambda: socket.create_connection(address, BUSY)))
        self.assertEqual(read_exactly(self.ask(address, b"hello"), 5), b"hello")

    def check_silent(self, address: tuple[str, int]) -> None:
        """There is no answer, and no end but the peer's own."""
        client = self.ask(address, b"hello")
        self.assertTrue(is_silent(client, SILENCE))
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(client.recv(10), b"")

    def check_never(self, address: tuple[str, int]) -> None:
        """The peer's window fills."""
        client = self.ask(address, b"")
        fill(client)
        client.setblocking(True)
        client.settimeout(SILENCE)
        self.assertRaises(TimeoutError, client.sendall, b"x" * 1024 * 1024)
        self.assertRaises(TimeoutError, client.recv, 1)

    def check_slow(self, address: tuple[str, int]) -> None:
        """There is an answer when the time is over, not before."""
        began = time.monotonic()
        self.assertEqual(read_exactly(self.ask(address, b"hello"), 5), b"hello")
        self.assertGreaterEqual(time.monotonic() - began, 0.5)

    def check_late(self, address: tuple[str, int]) -> None:
        """No answer comes before its time; the delays of two run side by side."""
        began = time.monotonic()
        client = self.ask(address, b"one")
        other = self.ask(address, b"two")
        self.assertEqual(read_exactly(client, 3), b"one")
        self.assertGreaterEqual(time.monotonic() - began, 0.2)
        self.assertEqual(read_exactly(other, 3), b"two")

    def check_dribble(self, address: tuple[str, int]) -> None:
        """The answer comes in many pieces."""
        client = self.ask(address, bytes(range(100)))
        pieces: list[bytes] = []
        while sum(map(len, pieces)) < 100:
            pieces.append(client.recv(100))
        self.assertEqual(b"".join(pieces), bytes(range(100)))
        self.assertGreater(len(pieces), 3)

    def test_live(self) -> None:
        """
        An operator switches profiles: the next connection meets with it, open ones when that is
        said; what was held comes at once, and the port that refused listens again.
        """
        ini = f"[socketd]\ncontrol = {self.directory}/control\n[echo]\nlisten = {TCP}\n"
        ini += "[fault:late]\nlatency = 1h\n[fault:none]\naccept = refuse\n"
        with self.daemon(ini) as daemon:
            address = daemon.address("echo")

            def switch(*words: str) -> None:
                place = ("--control", f"{self.directory}/control")
                self.output_of("fault", *place, "echo", *words)

            old = self.ask(address, b"before")
            self.assertEqual(read_exactly(old, 6), b"before")
            switch("late")
            new = self.ask(address, b"held")
            old.sendall(b"again")
            self.assertEqual(read_exactly(old, 5), b"again")
            self.assertTrue(is_silent(new, SILENCE))
            switch("none")
            self.check_refuse(address)
            switch("off", "now")
            self.assertEqual(read_exactly(new, 4), b"held")
            self.assertEqual(read_exactly(self.ask(address, b"back"), 4), b"back")

    def test_reload(self) -> None:
        """
        A port that refuses does so after a reload that changes its backlog, too, and serves
        once the file has the profile no longer.
        """
        ini = f"[fault:none]\naccept = refuse\n[echo]\nfault = {{}}\nlisten = {TCP}{{}}\n"
        with self.daemon(ini.format("none", "")) as daemon:
            address = daemon.address("echo")
            port = f"tcp:{address[1]}:interface=127.0.0.1"
            self.check_refuse(address)
            for profile, backlog in (("none", ""), ("none", ":backlog=7"), ("off", "")):
                self.write("socketd.ini", ini.format(profile, backlog).replace(TCP, port))
                daemon.signal(signal.SIGHUP)
                daemon.output.wait_for("reloaded")
                if profile == "none":
                    self.check_refuse(address)
            self.assertEqual(read_exactly(self.ask(address, b"back"), 4), b"back")


class TlsTests(TlsCase):
    """What a client of TLS meets with."""

    def misbehaving(self, profile: str) -> Daemon:
        """Start a daemon with a profile."""
        return self.daemon(self.ini("fault = flaky") + f"[fault:flaky]\n{profile}\n")

    def test_reset_in_handshake(self) -> None:
        """On the wire, the client is reset in the middle of the server's first flight."""
        with self.misbehaving("reset = after 100B") as daemon:
            client = connect_raw(daemon, "echo")
            self.addCleanup(client.close)
            with self.assertRaises((ConnectionResetError, ssl.SSLError)) as caught:
                start_tls(client)
            self.assertIsInstance(caught.exception, ConnectionResetError)

    def test_above(self) -> None:
        """Above TLS, the handshake is as ever; the client decrypts so many bytes."""
        with self.misbehaving("close = after 1KiB\nat = protocol") as daemon:
            with connect_tls(daemon, "echo") as client:
                client.sendall(b"x" * 3000)
                self.assertEqual(read_to_end(client), b"x" * 1024)
