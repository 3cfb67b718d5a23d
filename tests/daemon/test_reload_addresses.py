"""Tests for L{socketd.daemon.reload}: listeners in the way of those that are there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from socketd.net.sockets import bind
from tests.support.daemons import PATIENCE, DaemonCase, descriptors
from tests.support.ports import free_port

#: Reloads back and forth, each of which would lose a peer or a descriptor if one did.
OFTEN = 50


@contextmanager
def not_shared(*socks: socket.socket) -> Iterator[None]:
    """Let sockets be in each other's way, as a system would that knows no SO_REUSEPORT."""
    yield


class AddressCase(DaemonCase):
    """A service that is at one address, and at all."""

    kind = "tcp"

    def setUp(self) -> None:
        super().setUp()
        self.port = free_port()

    def at(self, interface: str = "", section: str = "echo") -> str:
        """Write the configuration with the service at an address, or at all."""
        where = f":interface={interface}" if interface else ""
        return f"[{section}]\nlisten = {self.kind}:{self.port}{where}\n"

    def sockets(self) -> list[Any]:
        """List where the daemon is bound, with the number of each socket."""
        bound = self.daemon.services[0].bound
        return [(one.sock.getsockname()[0], one.sock.fileno()) for one in bound]


class StreamAddressTests(AddressCase):
    """Tests for TCP."""

    def reach(self, host: str) -> socket.socket:
        return self.connect((host, self.port))

    def test_wider(self) -> None:
        """From one address to all: the socket of the one stays, so there is no gap."""
        self.start(self.at("127.0.0.1"))
        (before,) = self.sockets()
        peer, waiting = self.enter(), self.reach("127.0.0.1")
        self.assertEqual(self.reloaded(self.at()), ("[echo] listen changed",))
        self.assertEqual([host for host, _ in self.sockets()], ["0.0.0.0", "127.0.0.1"])
        self.assertIn(before, self.sockets())
        for sock in (waiting, peer, self.reach("127.0.0.1"), self.reach("127.0.0.2")):
            self.assertEqual(self.ask(sock), b"hello")
        self.assertEqual(self.daemon.snapshot().health, "serving")

    def test_narrower(self) -> None:
        """
        From all to one: who has connected is served, wherever that was, and the other
        addresses are closed.
        """
        self.start(self.at())
        peer = self.enter()
        waiting = [self.reach(host) for host in ("127.0.0.1", "127.0.0.2")]
        self.until_waiting(2)
        self.reload(self.at("127.0.0.1"))
        late = self.reach("127.0.0.1")
        for sock in (*waiting, peer, late):
            self.assertEqual(self.ask(sock), b"hello")
        self.assertEqual([host for host, _ in self.sockets()], ["127.0.0.1"])
        self.assertRaises(ConnectionRefusedError, self.reach, "127.0.0.2")

    def test_several(self) -> None:
        """From all to two addresses of two services, and back to all."""
        self.start(self.at())
        both = self.at("127.0.0.1") + self.at("127.0.0.2", "upper")
        waiting = self.reach("127.0.0.1")
        self.until_waiting(1)
        self.reloaded(both)
        self.assertEqual(self.ask(waiting), b"hello")
        self.assertEqual(self.ask(self.reach("127.0.0.1")), b"hello")
        self.assertEqual(self.ask(self.reach("127.0.0.2")), b"HELLO")
        self.assertRaises(ConnectionRefusedError, self.reach, "127.0.0.3")
        self.reloaded(self.at(section="upper"))
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            self.assertEqual(self.ask(self.reach(host)), b"HELLO")

    def test_changed_at_all(self) -> None:
        """What was one address before stays where something else changes."""
        self.start(self.at("127.0.0.1"))
        self.reloaded(self.at())
        before = self.sockets()
        self.reloaded(self.at() + "protocol = upper\n")
        self.assertEqual(self.sockets(), before)
        self.assertEqual(self.ask(self.reach("127.0.0.1")), b"HELLO")

    def test_shared(self) -> None:
        """
        With so_reuseport two services may be at all addresses and at one; each keeps its
        socket when both change.
        """
        share = "so_reuseport = yes\n"
        text = self.at() + share + self.at("127.0.0.1", "upper") + share
        self.start(text)
        before = self.sockets()
        self.reloaded(text.replace(share, share + "max_connections = 9\n"))
        self.assertEqual(self.sockets(), before)
        self.assertEqual(self.ask(self.reach("127.0.0.1")), b"HELLO")

    def test_refused(self) -> None:
        """
        A refused reload leaves all as it was: no peer goes to a socket that is closed
        then, and no option stays.
        """
        for before, after in (("127.0.0.1", ""), ("", "127.0.0.1")):
            self.start(self.at(before))
            sockets = self.sockets()
            waiting = self.reach("127.0.0.1")
            more = f"[upper]\nlisten = {self.taken()}\n"
            (complaint,) = self.refused(self.at(after) + more)
            self.assertIn("[upper] cannot listen", complaint)
            self.assertEqual(self.sockets(), sockets)
            for sock in (waiting, self.reach("127.0.0.1")):
                self.assertEqual(self.ask(sock), b"hello")
            self.end(self.daemon)

    def test_options(self) -> None:
        """No socket can be shared afterwards."""
        self.start(self.at("127.0.0.1"))
        for interface in ("", "127.0.0.1"):
            self.reloaded(self.at(interface))
            for one in self.service().bound:
                option = one.sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
                self.assertEqual(option, 0)

    def test_in_the_way(self) -> None:
        """
        Where the system does not let two be bound the daemon says that it is itself in
        the way, and what to do.
        """
        self.patch(bind, "sharing", not_shared)
        self.start(self.at())
        (complaint,) = self.refused(self.at("127.0.0.1"))
        place = f"127.0.0.1:{self.port}"
        self.assertEqual(
            complaint,
            f"[echo] cannot listen at tcp {place}: this daemon itself holds"
            f" tcp 0.0.0.0:{self.port}, and the system lets no other socket be bound beside it;"
            " reload without that listener first, then with this one",
        )

    def test_spelt_otherwise(self) -> None:
        """The same address in another spelling is the same socket."""
        for spellings in (("127.0.0.1", "localhost", "127.1"), ("", "0.0.0.0", "0")):
            self.start(self.at(spellings[0]))
            before = self.sockets()
            for spelling in spellings:
                self.reloaded(self.at(spelling))
                self.assertEqual(self.sockets(), before)
            self.end(self.daemon)

    def test_host_name(self) -> None:
        """So is a host name that resolves to it."""

        def look_up(host: str | None, *kinds: Any, **more: Any) -> Any:
            return found("127.0.0.1" if host == "this.example" else host, *kinds, **more)

        found = socket.getaddrinfo
        self.patch(socket, "getaddrinfo", look_up)
        self.start(self.at("127.0.0.1"))
        before = self.sockets()
        for interface in ("this.example", "127.0.0.1"):
            self.reloaded(self.at(interface))
            self.assertEqual(self.sockets(), before)

    def test_again_and_again(self) -> None:
        """While that goes back and forth each peer is served, and nothing stays open."""
        self.start(self.at("127.0.0.1"))
        before, socks = len(descriptors()), []
        for _ in range(OFTEN):
            for interface in ("", "127.0.0.1"):
                socks.append(self.reach("127.0.0.1"))
                self.reload(self.at(interface))
        self.assertEqual([self.ask(sock) for sock in socks], [b"hello"] * 2 * OFTEN)
        for sock in socks:
            sock.close()
        self.until(lambda: not self.daemon.connection_table)
        self.assertEqual(len(descriptors()), before)


class DatagramAddressTests(AddressCase):
    """Tests for UDP."""

    kind = "udp"

    def setUp(self) -> None:
        super().setUp()
        self.heard = ["127.0.0.1", "127.0.0.2"]

    def send(self, host: str) -> socket.socket:
        sock = self.peer(kind=socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.sendto(b"hello", (host, self.port))
        if host in self.heard:
            self.until_waiting(1, "udp")
        return sock

    def answered(self, sock: socket.socket) -> Any:
        """Wait for the answer, and return where it came from."""
        self.turn()
        sock.settimeout(PATIENCE)
        answer, source = sock.recvfrom(100)
        self.assertEqual(answer, b"hello")
        sock.close()
        return source

    def test_back_and_forth(self) -> None:
        """What has come before is answered, and what comes after."""
        self.start(self.at("127.0.0.1"))
        before = len(descriptors())
        for _ in range(OFTEN):
            for interface in ("", "127.0.0.1"):
                first = self.send("127.0.0.1")
                self.reload(self.at(interface))
                self.answered(first)
                self.answered(self.send("127.0.0.1"))
        self.assertEqual(len(descriptors()), before)

    def test_all(self) -> None:
        """At all addresses is what was at one, and is not any more."""
        self.start(self.at("127.0.0.1"))
        self.reloaded(self.at())
        self.assertEqual(self.answered(self.send("127.0.0.2")), ("127.0.0.2", self.port))
        self.reloaded(self.at("127.0.0.1"))
        self.heard.remove("127.0.0.2")
        sock = self.send("127.0.0.2")
        self.turn()
        self.assertRaises(BlockingIOError, sock.recv, 100)


class PathTests(DaemonCase):
    """Tests for UNIX sockets whose path is spelled otherwise."""

    def test_spelt_otherwise(self) -> None:
        """The file stays, and goes with the service."""
        text = "[echo]\nlisten = unix:{}\n"
        path = f"{self.runtime}/e"
        self.start(text.format("{runtime}/e"))
        (before,) = self.service().bound
        for spelling in (f"{self.runtime}//e", f"{self.runtime}/./e", path):
            self.reloaded(text.format(spelling))
            (after,) = self.service().bound
            self.assertIs(after.sock, before.sock)
            self.assertEqual(self.ask(self.connect(path)), b"hello")
