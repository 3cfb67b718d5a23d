"""Tests for C{etc/faults.ini}: each of its ports misbehaves as its comment says."""

from __future__ import annotations

import contextlib
import socket

from socketd.common.counters import Counters
from socketd.configuration import configure
from socketd.faults.service_faults import ServiceFaults
from socketd.settings.faults.profile import FaultProfile
from tests.support.certificates import issued
from tests.support.daemons import DaemonCase
from tests.support.fakes import read_all
from tests.support.faults_ini import FILE, FLAKY, at_free_ports, with_certificate
from tests.support.tls import client_hello

#: Turns in which anything comes that would come.
SOME = 50


def draws(profile: FaultProfile) -> bool:
    """Whether chance decides anything of a profile."""
    return "%" in profile.describe().replace("100%", "") or bool(
        profile.options.share < 1 or (profile.options.latency and profile.options.latency.jitter)
    )


def read_to_any_end(case: DaemonCase, sock: socket.socket) -> tuple[int, str]:
    """
    Read from a connection as far as it goes.

    @return: the number of bytes, and C{closed} or C{reset}.
    """
    count = 0
    for _ in case.turns():
        try:
            while data := sock.recv(100):
                count += len(data)
            return count, "closed"
        except BlockingIOError:
            continue
        except ConnectionResetError:
            break
    return count, "reset"


class FileTests(DaemonCase):
    """Tests for the file itself."""

    def test_loopback(self) -> None:
        """It is good, reaches no further than loopback, and has each port once."""
        settings = configure(str(FILE), "/run/socketd").settings
        listeners = [one for service in settings.services for one in service.listeners]
        self.assertEqual({one.interface for one in listeners}, {"127.0.0.1"})
        places = [(one.kind, one.port) for one in listeners]
        self.assertEqual(len(set(places)), len(places))
        for port in {port for _, port in places}:
            self.assertRaises(OSError, socket.getservbyport, port)

    def test_profiles(self) -> None:
        """Each profile has a service, and each that draws has a seed, so that runs repeat."""
        settings = configure(str(FILE), "/run/socketd").settings
        self.assertEqual(
            {one.common.fault for one in settings.services} - {""}, {*settings.faults}
        )
        drawing = [one.name for one in settings.faults.values() if draws(one)]
        self.assertEqual(len(drawing), 6)
        self.assertEqual(
            [name for name in drawing if settings.faults[name].options.seed is None], []
        )

    def test_commented(self) -> None:
        """The service that needs a certificate is good once there is one."""
        text = with_certificate(self.certify(issued("localhost")))
        self.assertEqual(text.count("\n[reset-in-server-hello]\n"), 1)
        self.start(at_free_ports(text))
        client = self.connect(self.address("reset-in-server-hello", "tls"))
        client.send(client_hello())
        self.assertEqual(read_to_any_end(self, client), (100, "reset"))


class Case(DaemonCase):
    """The services of the file, at other ports."""

    def setUp(self) -> None:
        super().setUp()
        self.start(at_free_ports())

    def silent(self, sock: socket.socket) -> bool:
        """Whether nothing comes, and no end."""
        self.turn(SOME)
        return read_all(sock) == (b"", False)

    def answers(self, name: str, count: int) -> list[bytes]:
        """Send numbers to a service one after the other, and list what comes back."""
        sock = self.peer(kind=socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        for number in range(count):
            sock.sendto(b"%04d" % number, self.address(name, "udp"))
            self.until(lambda: self.counted(name).datagrams_received == number + 1)
        self.turn(SOME)
        self.reactor.advance(10.0)
        self.turn(SOME)
        found = []
        while True:
            try:
                found.append(sock.recv(100))
            except BlockingIOError:
                return found

    def counted(self, name: str) -> Counters:
        """Take the counters of a service."""
        return self.service(name).service_state.counters


class StreamTests(Case):
    """Tests for what connections meet."""

    def test_refused(self) -> None:
        """Nothing listens."""
        self.assertRaises(ConnectionRefusedError, self.connect, self.address("refused"))

    def test_silent(self) -> None:
        """Nothing comes."""
        sock = self.enter("silent")
        sock.send(b"hello")
        self.assertTrue(self.silent(sock))
        self.assertIsNone(self.ask_datagram(self.address("silent", "udp")))

    def test_never_read(self) -> None:
        """What is sent stays in the kernel until its buffers are full."""
        sock = self.enter("never-read")
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += sock.send(b"x" * 65536)
                self.turn()
        self.assertTrue(self.silent(sock))
        (connection,) = self.daemon.connection_table
        self.assertEqual(connection.bytes_received, 0)

    def test_slow_start(self) -> None:
        """A connection is served after five seconds."""
        sock = self.enter("slow-start")
        sock.send(b"hello")
        self.assertTrue(self.silent(sock))
        self.reactor.advance(5.0)
        self.assertEqual(self.receive(sock, 5), b"hello")

    def test_reset(self) -> None:
        """It is reset at once."""
        self.assertEqual(self.ended(self.connect(self.address("reset"))), "reset")

    def test_reset_in_handshake(self) -> None:
        """A ClientHello is taken, and then comes a reset."""
        sock = self.enter("reset-in-handshake")
        sock.send(client_hello())
        self.assertTrue(self.silent(sock))
        self.reactor.advance(0.2)
        self.assertEqual(self.ended(sock), "reset")

    def test_ends(self) -> None:
        """Answers end where they should not: after no byte, or after 100."""
        expected = {"empty": (0, "closed"), "cut": (100, "reset"), "short": (100, "closed")}
        for name, found in expected.items():
            sock = self.connect(self.address(name))
            self.assertEqual(read_to_any_end(self, sock), found, name)

    def test_half_closed(self) -> None:
        """The answer ends after 100 bytes, and the connection stays."""
        sock = self.enter("half-closed")
        self.assertEqual(len(self.receive(sock, 101)), 100)
        sock.send(b"hello")
        (connection,) = self.daemon.connection_table
        self.until(lambda: connection.bytes_received == 5)

    def test_dribble(self) -> None:
        """A byte comes every second."""
        sock = self.enter("dribble")
        sock.send(b"hello")
        self.assertEqual(self.receive(sock, 1), b"I")
        for byte in (b" ", b"a"):
            self.assertTrue(self.silent(sock))
            self.reactor.advance(1.0)
            self.assertEqual(self.receive(sock, 1), byte)

    def test_answers(self) -> None:
        """Answers without end, twice, and none that is one."""
        sock = self.enter("endless")
        self.assertGreaterEqual(len(self.receive(sock, 1_000_000)), 1_000_000)
        self.assertEqual(self.ask(self.enter("twice"), b"x" * 12), b"hello\nhello\n")
        self.assertTrue(self.ask(self.enter("garbage")).startswith(b"\x00\xff\xfe\x80"))

    def test_late(self) -> None:
        """What is asked is answered about two seconds later."""
        sock = self.enter("late")
        sock.send(b"hello")
        self.assertTrue(self.silent(sock))
        self.reactor.advance(5.0)
        self.assertEqual(self.receive(sock, 5), b"hello")
        self.assertEqual(self.answers("late", 1), [b"0000"])

    def test_narrow(self) -> None:
        """No more than a KiB comes in a second."""
        sock = self.enter("narrow")
        self.turn(SOME)
        read_all(sock)
        received = 0
        for _ in range(100):
            self.reactor.advance(0.1)
            self.turn()
            received += len(read_all(sock)[0])
        self.assertTrue(9 * 1024 <= received <= 11 * 1024, received)

    def fates(self, name: str, count: int) -> str:
        """Tell of connections one after the other which are served, reset, or hear nothing."""
        found = ""
        for _ in range(count):
            sock = self.connect(self.address(name))
            with contextlib.suppress(OSError):
                sock.send(b"hello")
            try:
                self.turn(SOME)
                found += "s" if read_all(sock)[0] else "-"
            except ConnectionResetError:
                found += "r"
        return found

    def test_again(self) -> None:
        """
        Half of the connections is reset, the same ones in each run; or the first three are;
        or all but these hear nothing.
        """
        self.assertEqual(self.fates("recovering", 5), "rrrss")
        self.assertEqual(self.fates("failing", 5), "sss--")
        self.assertEqual(self.fates("flaky", 12), FLAKY)

    def test_forgotten(self) -> None:
        """A connection is served for ten seconds."""
        sock = self.enter("forgotten")
        self.assertEqual(self.ask(sock), b"hello")
        self.reactor.advance(10.0)
        self.assertEqual(self.ended(sock), "reset")


class DatagramTests(Case):
    """Tests for what datagrams meet."""

    def test_lost(self) -> None:
        """Some are lost, the same ones in each run, alone or in bursts."""
        sent = [b"%04d" % number for number in range(100)]
        for name in ("lossy", "bursts"):
            faults = ServiceFaults(self.daemon.settings.faults[name], name)
            drawn = [faults.draw_datagram("127.0.0.1") for _ in sent]
            kept = [data for data, one in zip(sent, drawn) if one is None]
            self.assertEqual(self.answers(name, 100), kept, name)
            self.assertTrue(70 < len(kept) < 100, name)

    def test_duplicated(self) -> None:
        """Each comes twice."""
        self.assertEqual(self.answers("duplicated", 2), [b"0000"] * 2 + [b"0001"] * 2)

    def test_reordered(self) -> None:
        """All come, in another order."""
        found = self.answers("reordered", 50)
        sent = [b"%04d" % number for number in range(50)]
        self.assertEqual(sorted(found), sent)
        self.assertNotEqual(found, sent)

    def test_damaged(self) -> None:
        """Each has an answer, of which some are short and some have one wrong bit."""
        found = self.answers("damaged", 40)
        self.assertEqual(len(found), 40)
        short = sum(len(one) < 4 for one in found)
        wrong = sum(len(one) == 4 and one != b"%04d" % n for n, one in enumerate(found))
        self.assertTrue(3 <= short <= 20 and 5 <= wrong <= 30, (short, wrong))
