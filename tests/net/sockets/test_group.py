"""Tests for L{socketd.net.sockets.group}."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from socketd.access.addresses import make_source_key
from socketd.net.sockets import group
from socketd.net.sockets.group import (
    SINGLE,
    Instruction,
    Sharing,
    Spread,
    begin,
    bind_group,
    program,
    steer,
    why_not_steered,
)
from socketd.protocols.registry import installed
from socketd.settings.listener_syntax import parse_listener
from socketd.settings.load import parse
from socketd.settings.model import SocketOptions
from socketd.settings.networks import Prefixes
from tests.settings.refusals import parsed

WORKERS = 3
#: So many sources that each of three workers has some, but once in 10 ** 9 hashes.
SOURCES = [f"127.0.0.{number}" for number in range(1, 55)]

_BYTES: Any = lambda size: some.binary(min_size=size, max_size=size)

#: Where the source is in the header of each family.
START = {socket.AF_INET: 12, socket.AF_INET6: 8}


def index_of(instructions: Sequence[Instruction], family: int, address: bytes) -> int:
    """Run a program as bpf(4) describes it on a packet of a source."""
    packet = bytes(START[socket.AddressFamily(family)]) + address
    a = x = at = 0
    while True:
        code, jump_true, jump_false, k = instructions[at]
        at += 1
        if code == 0x20:
            (a,) = struct.unpack_from("!I", packet, k - (-0x100000 & 0xFFFFFFFF))
        elif code == 0x00:
            a = k
        elif code == 0x54:
            a &= k
        elif code == 0xAC:
            a ^= x
        elif code == 0x24:
            a = a * k & 0xFFFFFFFF
        elif code == 0x74:
            a >>= k
        elif code == 0x94:
            a %= k
        elif code == 0x07:
            x = a
        elif code == 0x15:
            at += jump_true if a == k else jump_false
        elif code == 0x16:
            return a
        else:
            raise AssertionError(f"unknown instruction {code:#x}")


class ProgramTests(SynchronousTestCase):
    """Tests for L{program}: it has the access policy's view of a source."""

    @given(_BYTES(4), _BYTES(4), some.integers(0, 32))
    @settings(max_examples=50, deadline=None)
    def test_ipv4(self, one: bytes, other: bytes, bits: int) -> None:
        """Addresses of one source have one index."""
        self._check(socket.AF_INET, one, other, bits, Prefixes(ipv4=bits))

    @given(_BYTES(16), _BYTES(16), some.integers(0, 128))
    @settings(max_examples=50, deadline=None)
    def test_ipv6(self, one: bytes, other: bytes, bits: int) -> None:
        """So it is with IPv6, also where the prefix ends within a word."""
        for found in (other, one[:8] + other[8:], b"\xfe\x80" + one[2:]):
            self._check(socket.AF_INET6, one, found, bits, Prefixes(ipv6=bits))

    def _check(
        self, family: int, one: bytes, other: bytes, bits: int, prefixes: Prefixes
    ) -> None:
        key = make_source_key(prefixes)
        found = program(family, bits, WORKERS)
        indexes = [index_of(found, family, address) for address in (one, other, key(one))]
        self.assertTrue(all(0 <= index < WORKERS for index in indexes))
        self.assertEqual(indexes[0], indexes[2])
        if key(one) == key(other):
            self.assertEqual(indexes[0], indexes[1])

    def test_spread(self) -> None:
        """Neighbouring sources are spread evenly, whole networks too."""
        for bits, step in ((32, 1), (24, 256), (16, 65536)):
            found = program(socket.AF_INET, bits, 4)
            addresses = (ip_address("10.0.0.0") + step * n for n in range(200))
            counts = Counter(index_of(found, socket.AF_INET, one.packed) for one in addresses)
            self.assertEqual(len(counts), 4)
            self.assertTrue(all(30 <= count <= 70 for count in counts.values()), counts)

    def test_link_local(self) -> None:
        """Each host of a link is a source of its own; those of another /64 together are one."""
        found = program(socket.AF_INET6, 64, 4)
        for net, sources in (("fe80::", 4), ("2001:db8::", 1)):
            hosts = (ip_address(net) + n for n in range(1, 100))
            indexes = {index_of(found, socket.AF_INET6, host.packed) for host in hosts}
            self.assertEqual(len(indexes), sources)


class GroupTests(SynchronousTestCase):
    """Tests for L{bind_group} with the kernel's sockets."""

    options = SocketOptions()

    def bind(self, text: str, spread: Spread, beside: Sequence[socket.socket] = ()) -> Any:
        """Bind a listener string."""
        socks = bind_group(parse_listener(text, "/run/x"), self.options, beside, spread)
        for sock in socks:
            self.addCleanup(sock.close)
        return socks

    def sources(self, socks: Sequence[socket.socket]) -> dict[str, int]:
        """Send from many sources, and tell by which socket each was met."""
        found = {}
        for source in SOURCES:
            with socket.socket(socks[0].family, socks[0].type) as client:
                client.bind((source, 0))
                client.connect(socks[0].getsockname())
                if socks[0].type == socket.SOCK_DGRAM:
                    client.send(b"?")
                (found[source],) = (n for n, sock in enumerate(socks) if self._took(sock))
        return found

    def _took(self, sock: socket.socket) -> bool:
        try:
            if sock.type == socket.SOCK_DGRAM:
                sock.recv(1)
            else:
                sock.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def test_one_worker(self) -> None:
        """A source meets the same worker over TCP and over UDP, every time."""
        spread = Spread(WORKERS, Prefixes())
        stream = self.bind("tcp:0:interface=127.0.0.1", spread)
        datagram = self.bind("udp:0:interface=127.0.0.1", spread)
        found = self.sources(stream)
        for socks in (stream, datagram, datagram):
            self.assertEqual(self.sources(socks), found)
        code = program(socket.AF_INET, 32, WORKERS)
        for source, index in found.items():
            self.assertEqual(index_of(code, socket.AF_INET, socket.inet_aton(source)), index)
        self.assertEqual(set(found.values()), set(range(WORKERS)))

    def test_not_reused(self) -> None:
        """So it does where addresses are not reused."""
        self.options = SocketOptions(so_reuseaddr=False)
        self.test_one_worker()

    def test_prefix(self) -> None:
        """Sources of one prefix meet one worker."""
        socks = self.bind("udp:0:interface=127.0.0.1", Spread(WORKERS, Prefixes(ipv4=24)))
        self.assertEqual(len(set(self.sources(socks).values())), 1)

    def test_changed(self) -> None:
        """The prefix of bound sockets can be changed, and given up."""
        for kind in ("tcp", "udp"):
            socks = self.bind(f"{kind}:0:interface=127.0.0.1", Spread(WORKERS, Prefixes()))
            steer(socks, Prefixes(ipv4=24))
            self.assertEqual(len(set(self.sources(socks).values())), 1)
            steer(socks, None)
            steer(socks, None)
            self.assertEqual(set(self.sources(socks).values()), set(range(WORKERS)))

    def test_wildcard(self) -> None:
        """Sockets at all addresses share these."""
        for kind in ("tcp", "tcp6", "udp", "udp6"):
            socks = self.bind(f"{kind}:0", Spread(WORKERS, Prefixes()))
            self.assertEqual(len({sock.getsockname() for sock in socks}), 1)

    def test_taken(self) -> None:
        """Another group, of another daemon, does not get the address; nothing stays bound."""
        for kind in ("tcp", "udp"):
            spread = Spread(WORKERS, Prefixes())
            socks = self.bind(f"{kind}:0:interface=127.0.0.1", spread)
            port = socks[0].getsockname()[1]
            for other in (spread, SINGLE):
                problem = self.assertRaises(
                    OSError, self.bind, f"{kind}:{port}:interface=127.0.0.1", other
                )
                self.assertEqual(problem.errno, errno.EADDRINUSE)

    def test_beside(self) -> None:
        """A group of streams is bound beside another socket, and listens later."""
        (held,) = self.bind("tcp:0", SINGLE)
        port = held.getsockname()[1]
        spread = Spread(WORKERS, Prefixes())
        text = f"tcp:{port}:interface=127.0.0.1"
        socks = self.bind(text, spread, [held])
        self.assertFalse(any(map(_listens, socks)))
        held.close()
        begin(socks, parse_listener(text, ""), spread)
        self.assertTrue(all(map(_listens, socks)))
        self.assertEqual(set(self.sources(socks).values()), set(range(WORKERS)))

    def test_trial(self) -> None:
        """This system steers; one that does not says why."""
        self.assertEqual(why_not_steered(), "")
        self.patch(group, "_SO_ATTACH_REUSEPORT_CBPF", 9999)
        self.assertEqual(why_not_steered(), os.strerror(errno.ENOPROTOOPT))

    def test_not_steered(self) -> None:
        """A system that loses what it should steer does not steer."""
        self.patch(group, "_attach", lambda sock, instructions: sock.close())
        self.assertNotEqual(why_not_steered(), "")


class SharingTests(SynchronousTestCase):
    """Tests for L{Sharing}."""

    def test_asked(self) -> None:
        """A configuration says how many, or as many as there are cores, within a limit."""
        for text, cores, expected in (
            ("", 9, Sharing()),
            ("workers = 3\n", 9, Sharing(3)),
            ("workers = auto\nbalance = flow\n", 9, Sharing(9, by_source=False)),
            ("workers = auto\n", 1000, Sharing(64)),
        ):
            found = Sharing.asked(parsed(f"[socketd]\n{text}[echo]\nlisten = tcp:7\n"), cores)
            self.assertEqual(found, expected)

    def test_spread(self) -> None:
        """
        TCP and UDP have a socket for each worker; UNIX and inherited sockets are one, and so are
        those of a protocol that opens ports.
        """
        text = "[echo]\nlisten = tcp:7, udp:7, haproxy:tcp:8, unix:/run/x/s, systemd:a\n"
        text += "source_prefix = 24:48\nproxy_from = loopback\n[ipsla]\nlisten = udp:1967\n"
        echo, ipsla = parse(text, "FILE", installed(), "/run/x").services
        prefixes = Prefixes(24, 48)
        steered = [Sharing(4).spread(echo, listener) for listener in echo.listeners]
        four = Spread(4, prefixes)
        self.assertEqual(steered, [four, four, Spread(4), SINGLE, SINGLE])
        hashed = [Sharing(4, False).spread(echo, one) for one in echo.listeners[:2]]
        self.assertEqual(hashed, [Spread(4)] * 2)
        self.assertEqual(Sharing().spread(echo, echo.listeners[0]), SINGLE)
        self.assertEqual(Sharing(4).spread(ipsla, ipsla.listeners[0]), SINGLE)

    def test_refusals(self) -> None:
        """Ports that other processes share cannot be steered."""
        for text, count in (
            ("", 0),
            ("workers = 1\n", 0),
            ("workers = auto\n", 1),
            ("workers = 2\nbalance = flow\n", 0),
        ):
            found = parsed(f"[socketd]\n{text}[echo]\nlisten = tcp:7\nso_reuseport = yes\n")
            complaints = list(Sharing.asked(found).refusals(found.services))
            self.assertEqual(len(complaints), count)


def _listens(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
