"""Tests for L{socketd.net.datagram.cmsg}."""

from __future__ import annotations

import socket
import struct
import time

from twisted.trial.unittest import SynchronousTestCase

from socketd.access.addresses import packed
from socketd.net.datagram.cmsg import (
    IP_PKTINFO,
    IPV4,
    IPV6,
    SO_TIMESTAMPNS,
    IpHeader,
    arrival,
    ask_for_arrival,
    ask_for_destination,
    ask_for_ip_header,
    control_messages,
    ip_header,
)
from tests.net.datagram.controls import ROOM, written

IPV4_INFO = (socket.IPPROTO_IP, IP_PKTINFO)
IPV6_INFO = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
TIME = (socket.SOL_SOCKET, SO_TIMESTAMPNS)

#: What the two clocks of one machine may differ by in a test (nanoseconds).
TOLERANCE = 10 * 10**9


def ipv4_info(interface: int, local: str, asked: str) -> bytes:
    """Write a C{struct in_pktinfo} (ip(7))."""
    return struct.pack("@i", interface) + packed(local) + packed(asked)


def ipv6_info(asked: str, interface: int) -> bytes:
    """Write a C{struct in6_pktinfo} (RFC 3542, section 6)."""
    return socket.inet_pton(socket.AF_INET6, asked) + struct.pack("@i", interface)


class ParseTests(SynchronousTestCase):
    """Tests for L{control_messages} and for what is found in them."""

    def test_none(self) -> None:
        """Where the kernel says nothing, nothing is found."""
        for buffer in (b"", bytes(8), bytes(15)):
            view = memoryview(buffer)
            self.assertEqual(list(control_messages(view)), [])
            self.assertIsNone(arrival(view))
            self.assertIsNone(IPV4.find(view))
            self.assertEqual(ip_header(view), IpHeader(None, None))

    def test_several(self) -> None:
        """Each message is found with its own bytes, whatever stands between two."""
        parts = [((1, 2), b"abc"), ((3, 4), b""), ((5, 6), b"12345678"), ((7, 8), b"x")]
        found = [((m.level, m.type), bytes(m.data)) for m in control_messages(written(*parts))]
        self.assertEqual(found, parts)

    def test_impossible_length(self) -> None:
        """
        A length that is shorter than a header ends the search instead of repeating it
        endlessly, and one that is too long takes what is there.
        """
        for length, expected in ((0, []), (15, []), (16, [b""]), (10_000, [b"data"])):
            view = memoryview(struct.pack("@Nii", length, 1, 2) + b"data")
            self.assertEqual([bytes(found.data) for found in control_messages(view)], expected)

    def test_order(self) -> None:
        """Time and destination are found in either order, and neither is taken for the other."""
        moment = (TIME, struct.pack("@ll", 5, 7))
        asked = (IPV4_INFO, ipv4_info(3, "192.0.2.1", "192.0.2.255"))
        for parts in ((moment, asked), (asked, moment)):
            view = written(*parts)
            self.assertEqual(arrival(view), 5_000_000_007)
            found = IPV4.find(view)
            assert found is not None
            self.assertEqual(IPV4.destination(found), packed("192.0.2.255"))
            self.assertIsNone(IPV6.find(view))
        self.assertIsNone(arrival(written(asked)))
        self.assertIsNone(IPV4.find(written(moment)))

    def test_truncated(self) -> None:
        """A structure that the kernel cut is not taken for one."""
        data = ipv4_info(3, "192.0.2.1", "192.0.2.255")
        self.assertIsNone(IPV4.find(written((IPV4_INFO, data[:-1]))))

    def test_arrival_is_exact(self) -> None:
        """Not one nanosecond is lost, as a float would lose."""
        view = written((TIME, struct.pack("@ll", 1_795_000_000, 999_999_999)))
        self.assertEqual(arrival(view), 1_795_000_000_999_999_999)

    def test_ipv6_destination(self) -> None:
        """The destination of an IPv6 datagram is its 16 bytes."""
        info = IPV6.find(written((IPV6_INFO, ipv6_info("2001:db8::7", 2))))
        assert info is not None
        self.assertEqual(IPV6.destination(info), packed("2001:db8::7"))

    def test_ip_header(self) -> None:
        """TTL and TOS are found in any order; the TOS of IPv4 is one byte, that of IPv6 an int."""
        number = struct.pack("@i", 77)
        for ttl, tos, data in (
            ((socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IP, socket.IP_TOS), b"\xb9"),
            (
                (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT),
                (socket.IPPROTO_IPV6, socket.IPV6_TCLASS),
                struct.pack("@i", 0xB9),
            ),
        ):
            moment = (TIME, struct.pack("@ll", 5, 7))
            for parts in (((ttl, number), moment, (tos, data)), ((tos, data), (ttl, number))):
                self.assertEqual(ip_header(written(*parts)), IpHeader(77, 0xB9))
            self.assertEqual(ip_header(written((ttl, number))), IpHeader(77, None))
        for cut in (b"", b"\1", b"\1\0\0"):
            self.assertIsNone(ip_header(written((ttl, cut))).ttl)


class AnswerTests(SynchronousTestCase):
    """Tests for L{Pktinfo.answer_from}."""

    def test_ipv4(self) -> None:
        """The interface is left to the routing table, and the address stays."""
        # The bytes of 0x80FE look like those of a link-local IPv6 address.
        for index in (3, 0x80FE):
            info = memoryview(bytearray(ipv4_info(index, "192.0.2.1", "192.0.2.1")))
            IPV4.answer_from(info)
            self.assertEqual(bytes(info), ipv4_info(0, "192.0.2.1", "192.0.2.1"))

    def test_ipv6(self) -> None:
        """So it is for IPv6, but a link-local address means nothing without its interface."""
        table = {"2001:db8::1": 0, "::1": 0, "fec0::1": 0, "fe80::1": 3, "febf::1": 3}
        for host, kept in table.items():
            for at in (0, 16):
                info = memoryview(bytearray(bytes(at) + ipv6_info(host, 3)))
                IPV6.answer_from(info, at)
                self.assertEqual(bytes(info), bytes(at) + ipv6_info(host, kept), host)

    def test_scope(self) -> None:
        """A link-local destination has an interface, and no other."""
        table = {"2001:db8::1": 0, "::1": 0, "fec0::1": 0, "fe80::1": 3, "febf::1": 3}
        for host, index in table.items():
            self.assertEqual(IPV6.scope(memoryview(ipv6_info(host, 3))), index, host)
        info = memoryview(ipv4_info(0x80FE, "192.0.2.1", "192.0.2.1"))
        self.assertEqual(IPV4.scope(info), 0)


class SocketTests(SynchronousTestCase):
    """Tests for what the kernel is asked for."""

    def bound(self, host: str, family: int = socket.AF_INET) -> socket.socket:
        """Bind a datagram socket."""
        sock = socket.socket(family, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        sock.settimeout(5)
        sock.bind((host, 0))
        return sock

    def controls(self, sock: socket.socket, host: str) -> memoryview:
        """Send a datagram to a socket, and take what the kernel says of it."""
        with socket.socket(sock.family, socket.SOCK_DGRAM) as client:
            client.sendto(b"?", (host, sock.getsockname()[1]))
        _, ancillary, _, _ = sock.recvmsg(16, ROOM)
        return written(*(((level, kind), data) for level, kind, data in ancillary))

    def test_wildcard(self) -> None:
        """A socket bound to all addresses says which one was asked."""
        table = ((socket.AF_INET, "0.0.0.0", "127.1.2.3"), (socket.AF_INET6, "::", "::1"))
        for family, wildcard, host in table:
            sock = self.bound(wildcard, family)
            pktinfo = ask_for_destination(sock)
            assert pktinfo is not None
            found = pktinfo.find(self.controls(sock, host))
            assert found is not None
            self.assertEqual(pktinfo.destination(found), packed(host))

    def test_specific(self) -> None:
        """One that is bound to a single address is not asked."""
        for pktinfo, family, host in (
            (IPV4, socket.AF_INET, "127.0.0.1"),
            (IPV6, socket.AF_INET6, "::1"),
        ):
            sock = self.bound(host, family)
            self.assertIsNone(ask_for_destination(sock))
            self.assertEqual(sock.getsockopt(pktinfo.level, pktinfo.option), 0)
            self.assertIsNone(pktinfo.find(self.controls(sock, host)))

    def test_unix(self) -> None:
        """A UNIX socket has no destination to tell."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            self.assertIsNone(ask_for_destination(sock))

    def test_arrival(self) -> None:
        """The kernel says when a datagram came, by the clock of the time of day."""
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            sock = self.bound(host, family)
            ask_for_arrival(sock)
            before = time.time_ns()
            found = arrival(self.controls(sock, host))
            assert found is not None
            self.assertTrue(before - TOLERANCE < found < time.time_ns() + TOLERANCE)

    def test_ip_header(self) -> None:
        """The kernel says TTL and TOS of each datagram once it is asked, and not before."""
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            sock = self.bound(host, family)
            self.assertEqual(ip_header(self.controls(sock, host)), IpHeader(None, None))
            ask_for_ip_header(sock)
            self.assertEqual(ip_header(self.controls(sock, host)), IpHeader(64, 0))
            ask_for_ip_header(sock, False)
            self.assertEqual(ip_header(self.controls(sock, host)), IpHeader(None, None))
