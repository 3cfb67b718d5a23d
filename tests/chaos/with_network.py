"""The real daemon across a badly impaired network."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor

from tests.chaos import figures
from tests.chaos.exchanges import KIB, PATIENCE, ExchangeCase
from tests.chaos.netem import Impairment
from tests.support.proxy import v1
from tests.support.sockets import exchange, read_exactly
from tests.support.tls import client_hello, start_tls

#: What a busy machine, and the coarse checks of a deadline, may add to one (seconds).
SLACK = 3.0

#: Each service has room for one, and one deadline only: at its port, when it is over
#: after a peer has vanished (seconds), and how its end is called.
VANISHED = {
    "idle": (7001, 1.0, "idle_timeout"),
    "owed": (7002, 1.0, "stall_timeout"),
    "handshaking": (7003, 1.0, "handshake_timeout"),
    "awaiting_header": (7004, 1.0, "handshake_timeout"),
    "unacknowledged": (7005, 1.0, ""),
    "probed": (7006, 3.0, ""),
}
CUT_INI = """
[socketd]
http = tcp:9155:interface=127.0.0.1
drain_timeout = 1s
[defaults]
max_connections = 1
first_byte_timeout = 0s
idle_timeout = 0s
stall_timeout = 0s
lifetime = 0s
handshake_timeout = 1s
tls_certificate = {directory}/server.pem
[idle]
protocol = echo
listen = tcp:7001
idle_timeout = 1s
[owed]
protocol = chargen
listen = tcp:7002
stall_timeout = 1s
[handshaking]
protocol = echo
listen = tls:7003
[awaiting_header]
protocol = echo
listen = haproxy:tcp:7004
proxy_from = any
[unacknowledged]
protocol = chargen
listen = tcp:7005
tcp_user_timeout = 1s
[probed]
protocol = echo
listen = tcp:7006
so_keepalive = yes
tcp_keepidle = 1s
tcp_keepintvl = 1s
tcp_keepcnt = 2
[other]
protocol = upper
listen = tcp:7007
max_connections = 100
"""

#: How often others ask while the peers are gone.
OTHERS = 500


class ImpairedNetworkTests(ExchangeCase):
    """
    Streams are complete and end well, datagrams are answered as often as they can be, and
    the daemon counts what came through.
    """

    def test_loss_10(self) -> None:
        """Where every tenth packet is lost in each direction."""
        self.check_exchanges(Impairment(loss=0.1))

    def test_loss_33(self) -> None:
        """Where every third one is."""
        self.check_exchanges(Impairment(loss=0.33), length=25 * KIB)

    def test_delay(self) -> None:
        """Where each takes 300 ms."""
        self.check_exchanges(Impairment(delay=0.3))

    def test_corrupt(self) -> None:
        """
        Where in every tenth one a bit is another: the kernel drops that one, so that
        nothing wrong ever comes through.
        """
        self.check_exchanges(Impairment(corrupt=0.1))


class CutTests(ExchangeCase):
    """Peers that vanish: the network is cut."""

    def vanish(self) -> dict[str, socket.socket]:
        """Have one client at each service, in the middle of what it does, and cut the network."""
        clients = {name: self.client(VANISHED[name][0]) for name in ("idle", "probed")}
        for sock in clients.values():
            self.assertEqual(exchange(sock, b"hello"), b"hello")
            # Probes are sent where no acknowledgement is due; packets stay in order here.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        for name in VANISHED.keys() - clients.keys():
            clients[name] = self.client(VANISHED[name][0])
        for name in ("owed", "unacknowledged"):
            self.assertEqual(len(read_exactly(clients[name], 10 * KIB)), 10 * KIB)
        clients["handshaking"].sendall(client_hello()[:100])
        clients["awaiting_header"].sendall(v1()[:10])
        self.wait_until(lambda: self.open() == len(VANISHED))
        self.network.change(Impairment(cut=True))
        return clients

    def open(self) -> float:
        """Count the live connections."""
        found = self.metrics().items()
        return sum(n for name, n in found if name.startswith("socketd_connections_open{"))

    def beside(self, port: int) -> socket.socket:
        """Connect to a port of the daemon from its own machine."""
        sock = self.namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.addCleanup(sock.close)
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", port))
        return sock

    def served(self, name: str, sock: socket.socket, began: float) -> float:
        """Wait until the next client gets the slot of one that vanished; return the seconds."""
        if name == "handshaking":
            sock = start_tls(sock)
            self.addCleanup(sock.close)
        if name == "awaiting_header":
            sock.sendall(v1())
        if name in ("owed", "unacknowledged"):
            self.assertEqual(len(read_exactly(sock, 1)), 1)
        else:
            self.assertEqual(exchange(sock, b"next"), b"next")
        spent = time.monotonic() - began
        # A client of a stream without end is not waited for at the stop.
        sock.close()
        return spent

    def test_deadlines(self) -> None:
        """
        Each is ended by the deadline that is there for it, the next one has its place
        then, and others do not notice.
        """
        with self.daemon_inside(CUT_INI.format(directory=self.directory)) as daemon:
            daemon.address("other")
            began = time.monotonic()
            self.vanish()
            next_ones = {name: self.beside(port) for name, (port, _, _) in VANISHED.items()}
            other = self.beside(7007)
            with ThreadPoolExecutor(len(next_ones)) as pool:
                waiting = {
                    name: pool.submit(self.served, name, sock, began)
                    for name, sock in next_ones.items()
                }
                for _ in range(OTHERS):
                    self.assertEqual(exchange(other, b"here"), b"HERE")
                spent = {name: found.result() for name, found in waiting.items()}
            self.check_ends(spent)
        told = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in spent.items())
        figures.note(self, f"slot free after: {told}")

    def check_ends(self, spent: dict[str, float]) -> None:
        """Check which deadline ended each connection, and when."""
        overdue = "socketd_connections_overdue_total"
        expected = {
            f'{overdue}{{reason="{reason}",service="{name}"}}': 1
            for name, (_, _, reason) in VANISHED.items()
            if reason
        }
        self.wait_until(
            lambda: expected == {
                name: n for name, n in self.metrics().items() if name.startswith(overdue) and n
            }
        )
        for name, (_, seconds, _) in VANISHED.items():
            self.assertLess(spent[name], seconds + SLACK, name)
            self.assertGreater(spent[name], seconds - 0.1, name)

    def test_stop(self) -> None:
        """A daemon that is stopped then ends when its drain_timeout is over, and well."""
        ini = CUT_INI.replace("= 1s\n[defaults]", "= 500ms\n[defaults]")
        with self.daemon_inside(ini.format(directory=self.directory)) as daemon:
            daemon.address("other")
            self.vanish()
            began = time.monotonic()
            daemon.ask_to_stop()
            daemon.output.wait_for(r"\d+ connections did not finish and are reset")
            self.assertEqual(daemon.wait(), 0)
            spent = time.monotonic() - began
        self.assertLess(spent, 0.5 + SLACK)
        figures.note(self, f"stopped after {spent:.1f} s of 0.5 s")
