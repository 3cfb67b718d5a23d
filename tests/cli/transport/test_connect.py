"""Tests for L{socketd.cli.transport.connect}."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError, DNSLookupError
from twisted.internet.interfaces import IHostnameResolver, IResolutionReceiver
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from socketd.cli.common.address import parse
from socketd.cli.transport import connect as connecting
from socketd.cli.transport.connect import CONNECT_SECONDS, Resolution, connect
from socketd.common.errors import CommandError
from tests.support.client_fakes import HalfCloseTransport, MemoryReceiver

NAMES = {
    "both.example": ["2001:db8::1", "192.0.2.1"],
    "old.example": ["192.0.2.2"],
    "new.example": ["2001:db8::2"],
}

ANYWHERE = IPv4Address("TCP", "192.0.2.9", 80)


@implementer(IHostnameResolver)
class MemoryResolver:
    """Resolves L{NAMES}."""

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        resolution = HostnameAddress(hostName.encode(), portNumber)
        resolutionReceiver.resolutionBegan(resolution)
        for host in NAMES.get(hostName, []):
            kind = IPv6Address if ":" in host else IPv4Address
            if addressTypes is None or kind in addressTypes:
                resolutionReceiver.addressResolved(kind("TCP", host, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution


class DialingReactor(MemoryReactorClock):
    """A reactor that connects nothing, with a resolver."""

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver: Any = MemoryResolver()


class StreamTests(SynchronousTestCase):
    """Tests for L{connect} over streams."""

    def setUp(self) -> None:
        self.reactor = DialingReactor()
        self.receiver = MemoryReceiver()

    def dial(self, text: str, seconds: float = 0) -> Deferred[None]:
        return Deferred.fromCoroutine(connect(self.reactor, parse(text), self.receiver, seconds))

    def test_hosts(self) -> None:
        """IP addresses are dialed as they are, names are looked up."""
        cases = {
            "192.0.2.9:80": "192.0.2.9",
            "[2001:db8::9]:80": "2001:db8::9",
            "tcp6:[2001:db8::9]:80": "2001:db8::9",
            "tcp6:both.example:80": "2001:db8::1",
            "tls6:both.example:80": "2001:db8::1",
            "old.example:80": "192.0.2.2",
            "tcp:new.example:80": "2001:db8::2",
            "tcp:host=192.0.2.9:port=80:timeout=3": "192.0.2.9",
        }
        for text, dialed in cases.items():
            self.setUp()
            self.assertNoResult(self.dial(text))
            self.assertEqual(self.reactor.tcpClients[0][:2], (dialed, 80))

    def test_path(self) -> None:
        """A path is dialed as a UNIX socket."""
        self.assertNoResult(self.dial("/run/a.sock"))
        self.assertEqual(self.reactor.unixClients[0][0], "/run/a.sock")

    def test_connected(self) -> None:
        """It is done when the stream is ready; then the receiver is connected."""
        dialed = self.dial("192.0.2.9:80")
        protocol: Any = self.reactor.tcpClients[0][2].buildProtocol(ANYWHERE)
        protocol.makeConnection(HalfCloseTransport())
        self.successResultOf(dialed)
        self.assertTrue(self.receiver.connected)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_refused(self) -> None:
        """A refusal is passed on."""
        dialed = self.dial("192.0.2.9:80")
        factory: Any = self.reactor.tcpClients[0][2]
        factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.failureResultOf(dialed, ConnectionRefusedError)

    def test_too_slow(self) -> None:
        """It takes as long as is asked for at most, or else what is usual."""
        for asked, limit in ((2, 2), (0, CONNECT_SECONDS)):
            dialed = self.dial("192.0.2.9:80", asked)
            self.reactor.advance(limit - 1)
            self.assertNoResult(dialed)
            self.reactor.advance(1)
            failure = self.failureResultOf(dialed, CommandError)
            self.assertEqual(str(failure.value), f"no connection within {limit} s")

    def test_unknown_host(self) -> None:
        """A name without address, or without one of the family asked for, is a failure."""
        for text in ("no.example:80", "tcp6:old.example:80"):
            self.failureResultOf(self.dial(text), DNSLookupError)

    def test_bad_zone(self) -> None:
        """A link-local address needs an interface that there is."""
        for text, words in (
            ("[fe80::1%nope]:80", "no network interface nope"),
            ("tls:[fe80::1]:80", "needs its interface"),
        ):
            failure = self.failureResultOf(self.dial(text), CommandError)
            self.assertIn(words, str(failure.value))
        self.assertNoResult(self.dial("[fe80::1%lo]:80"))
        self.assertEqual(self.reactor.tcpClients[0][:2], ("fe80::1%lo", 80))

    def test_bad_description(self) -> None:
        """What Twisted does not take for a client endpoint is a failure in one line."""
        for text in ("nothing:like=this", "tcp:host=localhost", "tls:a:1:trustRoots=/nowhere/"):
            failure = self.failureResultOf(self.dial(text), CommandError)
            self.assertIn("no such client endpoint: ", str(failure.value))


class DatagramsTests(SynchronousTestCase):
    """Tests for L{connect} over UDP."""

    def setUp(self) -> None:
        self.reactor = DialingReactor()
        self.opened: list[tuple[int, Any]] = []
        self.patch(connecting, "open_socket", self.open_socket)

    def open_socket(self, family: int, peer: Any) -> socket.socket:
        """Note where a socket is connected to, and connect another one."""
        self.opened.append((family, peer))
        ours, other = socket.socketpair(type=socket.SOCK_DGRAM)
        self.addCleanup(ours.close)
        other.close()
        return ours

    def dial(self, text: str) -> Deferred[None]:
        return Deferred.fromCoroutine(connect(self.reactor, parse(text), MemoryReceiver()))

    def test_hosts(self) -> None:
        """The socket is of the family of the peer; of a name, the IPv4 address comes first."""
        cases = {
            "udp:192.0.2.9:53": "192.0.2.9",
            "udp:[2001:db8::9]:53": "2001:db8::9",
            "udp:both.example:53": "192.0.2.1",
            "udp:new.example:53": "2001:db8::2",
            "udp6:both.example:53": "2001:db8::1",
        }
        for text, host in cases.items():
            self.successResultOf(self.dial(text))
            expected: tuple[int, Any] = (socket.AF_INET, (host, 53))
            if ":" in host:
                expected = (socket.AF_INET6, (host, 53, 0, 0))
            self.assertEqual(self.opened.pop(), expected)

    def test_unknown_host(self) -> None:
        """A name without address fails, and so does an IPv4 address where IPv6 is asked for."""
        for text in ("udp:no.example:53", "udp6:old.example:53", "udp6:192.0.2.9:53"):
            self.failureResultOf(self.dial(text), DNSLookupError)

    def test_zone(self) -> None:
        """The interface of a link-local address, by name or number, goes to the kernel."""
        index = socket.if_nametoindex("lo")
        for zone in ("lo", index):
            self.successResultOf(self.dial(f"udp:[fe80::1%{zone}]:53"))
            self.assertEqual(self.opened.pop(), (socket.AF_INET6, ("fe80::1", 53, 0, index)))

    def test_bad_zone(self) -> None:
        """An interface that there is not, or that is not named, is a failure in words."""
        for zone in ("nope", "4294967000", "9" * 30):
            failure = self.failureResultOf(self.dial(f"udp:[fe80::1%{zone}]:53"), CommandError)
            self.assertEqual(str(failure.value), f"no network interface {zone}")
        failure = self.failureResultOf(self.dial("udp:[fe80::1]:53"), CommandError)
        self.assertIn("needs its interface, as in [fe80::1%eth0]:53", str(failure.value))


class OpenSocketTests(SynchronousTestCase):
    """Tests for L{connect} over UNIX datagrams, and L{open_socket}."""

    def test_nobody_there(self) -> None:
        """A path at which nothing listens is a failure."""
        address = parse(f"unixgram:./{self.id()[-20:]}")
        dialed = Deferred.fromCoroutine(connect(DialingReactor(), address, MemoryReceiver()))
        self.failureResultOf(dialed, FileNotFoundError)

    def test_can_be_answered(self) -> None:
        """A UNIX socket has an address of its own, which a server can answer."""
        path = self.id()[-20:]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(path)
            self.addCleanup(os.unlink, path)
            receiver = MemoryReceiver()
            address = parse(f"unixgram:./{path}")
            self.successResultOf(
                Deferred.fromCoroutine(connect(DialingReactor(), address, receiver))
            )
            receiver.transport.write(b"x")
            _, client = server.recvfrom(9)
            server.sendto(b"y", client)
        receiver.transport.doRead()
        self.assertEqual(receiver.received, [b"y"])
        receiver.transport.connectionLost(Failure(ConnectionDone()))


class ResolutionTests(SynchronousTestCase):
    """Tests for L{Resolution}."""

    def test_interface(self) -> None:
        """It is what Twisted's resolvers talk to, and the double of one here is like them."""
        verifyObject(IResolutionReceiver, Resolution())
        verifyObject(IHostnameResolver, MemoryResolver())
