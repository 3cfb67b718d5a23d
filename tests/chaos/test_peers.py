"""What peers and networks may do to the real daemon: what takes seconds to show."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from tests.chaos import figures
from tests.chaos.exchanges import ExchangeCase, MetricsCase
from tests.chaos.netem import Impairment
from tests.chaos.peers import HonestClient, PeersCase
from tests.support.namespaces import Namespace
from tests.support.polling import DEADLINE, wait_until
from tests.support.processes import Daemon
from tests.support.sockets import close_with_reset, exchange, is_silent, read_exactly

#: Both ends of a veth pair.
HERE, THERE = "192.168.77.1", "192.168.77.2"

VETH_INI = """
[socketd]
http = tcp:9155:interface=127.0.0.1
[defaults]
max_per_source = 10000
udp_rate = 100000/s
udp_burst = 100000
[echo]
listen =
    tcp:7007:interface=192.168.77.1
    udp:7007:interface=192.168.77.1
    tcp:7007:interface=127.0.0.1
    udp:7007:interface=127.0.0.1
[all]
protocol = echo
listen = udp:7008
"""

#: How soon an address that is back is served again; a new link may lose the first
#: packet, and the kernel sends it again after a second (seconds).
BACK = 5.0

#: Senders without a way back: how many of each kind, and what is odd about them.
SENDERS = 100
NO_ROUTE, UNREACHABLE, NO_NEIGHBOUR = "10.99.0.{}", "10.98.0.{}", "192.168.77.{}"

#: Connections of one state that are open at once.
BATCH = 50

#: What each of them sends, where it sends anything.
HALF = b"whole\nhalf"
LINES = b"line upon line\n" * 40

FLOOD_INI = """
[socketd]
http = tcp:0
[upper]
listen = tcp:0:interface=127.0.0.1
framing = line
log_connections = no
"""


class ImpairedNetworkTests(ExchangeCase):
    """
    Streams are complete and end well, datagrams are answered as often as they can be, and
    the daemon counts what came through.
    """

    def test_loss_1(self) -> None:
        """Where every hundredth packet is lost in each direction."""
        self.check_exchanges(Impairment(loss=0.01))

    def test_order(self) -> None:
        """Where packets overtake one another, and every tenth one comes twice."""
        self.check_exchanges(Impairment(delay=0.001, jitter=0.01, duplicate=0.1))

    def test_small_packets(self) -> None:
        """Where no packet may be longer than 576 bytes, and datagrams are."""
        for space in (self.namespace, self.outside):
            space.run("ip", "link", "set", "air", "mtu", "576")
        self.check_exchanges(Impairment(), size=2000)


class ResetTests(PeersCase):
    """A storm of resets, of connections in every state."""

    resets = 500

    def test_flood(self) -> None:
        """
        Each of the connections is counted, none leaves anything behind, and no other peer
        notices; nothing is logged.
        """
        count = self.resets
        with self.daemon(FLOOD_INI) as daemon, daemon.connect("upper") as sock:
            honest = HonestClient(sock)
            honest.ask()
            # Counted now: a request for a figure is a connection, too.
            descriptors, text = daemon.descriptors(), daemon.output.text
            began = time.monotonic()
            with honest:
                received = sum(self.reset_in_each_state(daemon, count))
                seconds = time.monotonic() - began
                self.wait_for_figure(daemon, "connections_open", 1, service="upper")
            received += sum(len(b"%d?\n" % number) for number in range(len(honest.taken)))
            self.wait_for_figure(daemon, "connections_total", count + 1, service="upper")
            self.wait_for_figure(daemon, "received_bytes_total", received, service="upper")
            wait_until(
                lambda: daemon.descriptors() == descriptors,
                lambda: f"{daemon.descriptors()} descriptors, not {descriptors}",
            )
            self.assertEqual(daemon.output.text, text)
        figures.note(
            self,
            f"{count} resets in {seconds:.1f} s; meanwhile {len(honest.taken)} answers, one in"
            f" {1e6 * honest.median():.0f} us",
        )

    def reset_in_each_state(self, daemon: Daemon, count: int) -> Iterator[int]:
        """Reset in each of four states in turn; give how many bytes each batch has sent."""
        states = (self.reset_waiting, self.reset_accepted, self.reset_amid, self.reset_unread)
        for start in range(0, count, len(states) * BATCH):
            size = min(BATCH, (count - start) // len(states))
            for state in states:
                with ExitStack() as stack:
                    yield state(daemon, stack, size)

    def reset_waiting(self, daemon: Daemon, stack: ExitStack, size: int) -> int:
        """Reset connections that the daemon has not accepted yet: it is stopped."""
        daemon.signal(signal.SIGSTOP)
        try:
            _reset(self.connect_many(daemon, stack, size))
        finally:
            daemon.signal(signal.SIGCONT)
        return 0

    def reset_accepted(self, daemon: Daemon, stack: ExitStack, size: int) -> int:
        """Reset connections that were just accepted."""
        for sock in self.connect_many(daemon, stack, size):
            close_with_reset(sock)
        return 0

    def reset_amid(self, daemon: Daemon, stack: ExitStack, size: int) -> int:
        """Reset in the middle of a message, of which the daemon has the first half."""
        socks = self.connect_many(daemon, stack, size)
        for sock in socks:
            sock.sendall(HALF)
        for sock in socks:
            self.assertEqual(read_exactly(sock, 6), b"WHOLE\n")
        _reset(socks)
        return size * len(HALF)

    def reset_unread(self, daemon: Daemon, stack: ExitStack, size: int) -> int:
        """Reset when answers have come, and were not read."""
        socks = self.connect_many(daemon, stack, size)
        for sock in socks:
            sock.sendall(LINES)
        for sock in socks:
            self.assertFalse(is_silent(sock, DEADLINE))
        _reset(socks)
        return size * len(LINES)

    def connect_many(self, daemon: Daemon, stack: ExitStack, size: int) -> list[socket.socket]:
        return [stack.enter_context(daemon.connect("upper")) for _ in range(size)]


class VethCase(MetricsCase):
    """A daemon that serves an interface which may go."""

    def setUp(self) -> None:
        super().setUp()
        self.outside = Namespace(self.namespace)
        self.addCleanup(self.outside.close)
        self.veth = self.connect_namespaces()

    def connect_namespaces(self) -> str:
        """Connect them, and return the name of the interfaces."""
        return self.namespace.connect(self.outside, f"{HERE}/24", f"{THERE}/24")

    def socket(self, space: Namespace, host: str, kind: int, port: int = 7007) -> socket.socket:
        """Connect within a namespace."""
        sock = space.socket(socket.AF_INET, kind)
        self.addCleanup(sock.close)
        sock.connect((host, port))
        return sock

    def check_served(self, space: Namespace, host: str) -> None:
        """Check that streams and datagrams are."""
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with self.socket(space, host, kind) as sock:
                self.assertEqual(exchange(sock, b"hello"), b"hello")


class InterfaceTests(VethCase):
    """An address goes and comes back while it is served."""

    def check_back(self, daemon: Daemon, old: socket.socket) -> None:
        """Check that all is as before, with nothing in the log."""
        began = time.monotonic()
        self.check_served(self.outside, HERE)
        spent = time.monotonic() - began
        self.assertLess(spent, BACK)
        with old:
            self.assertEqual(exchange(old, b"still the same"), b"still the same")
        self.assertNotRegex(daemon.output.text, "#(warn|error|critical)")
        figures.note(self, f"served again after {spent:.2f} s")

    def test_address(self) -> None:
        """
        Without its address the daemon serves the others; when it is back, it answers there,
        and connections continue.
        """
        with self.daemon_inside(VETH_INI) as daemon:
            daemon.address("all", "udp")
            old = self.socket(self.outside, HERE, socket.SOCK_STREAM)
            self.check_served(self.outside, HERE)
            self.namespace.run("ip", "address", "del", f"{HERE}/24", "dev", self.veth)
            self.check_served(self.namespace, "127.0.0.1")
            self.namespace.run("ip", "address", "add", f"{HERE}/24", "dev", self.veth)
            self.check_back(daemon, old)

    def test_interface(self) -> None:
        """So it is when the whole interface goes, and another one has the address."""
        with self.daemon_inside(VETH_INI) as daemon:
            daemon.address("all", "udp")
            old = self.socket(self.outside, HERE, socket.SOCK_STREAM)
            self.check_served(self.outside, HERE)
            self.namespace.run("ip", "link", "delete", self.veth)
            self.check_served(self.namespace, "127.0.0.1")
            self.connect_namespaces()
            self.check_back(daemon, old)


class UnreachableTests(VethCase):
    """Datagrams from where no answer can go."""

    def setUp(self) -> None:
        super().setUp()
        for name in ("all", self.veth):
            file = f"/proc/sys/net/ipv4/conf/{name}/rp_filter"
            self.namespace.run("sh", "-c", f"echo 0 >{file}")
        self.namespace.run("ip", "route", "add", "unreachable", "10.98.0.0/24")

    def senders(self) -> Iterator[tuple[bytes, int]]:
        """Make up senders that no answer reaches."""
        for number in range(SENDERS):
            for network in (NO_ROUTE, UNREACHABLE, NO_NEIGHBOUR):
                yield socket.inet_aton(network.format(100 + number)), 40000

    def test_counted(self) -> None:
        """
        An answer that the kernel does not send (ENETUNREACH, EHOSTUNREACH) is counted, one
        to a closed port (ECONNREFUSED) or a missing host is not; nothing is raised or logged,
        and a reachable client is answered all the time.
        """
        forger = self.forger(self.outside)
        with self.daemon_inside(VETH_INI) as daemon:
            daemon.address("all", "udp")
            honest = self.socket(self.outside, HERE, socket.SOCK_DGRAM, 7008)
            text = daemon.output.text
            for sender in self.senders():
                forger.send(sender, (socket.inet_aton(HERE), 7008), b"%d" % forger.count)
                with self.outside.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
                    gone.sendto(b"gone already", (HERE, 7008))
                question = b"here: %d" % forger.count
                self.assertEqual(exchange(honest, question), question)
            self.wait_until(lambda: self.sum("datagrams_received") == 9 * SENDERS)
            self.wait_until(lambda: self.sum("datagrams_unsent") == 2 * SENDERS)
            self.assertEqual(self.sum("datagrams_sent"), 7 * SENDERS)
            self.assertEqual(daemon.output.text, text)


def _reset(socks: Iterable[socket.socket]) -> None:
    for sock in socks:
        close_with_reset(sock)
