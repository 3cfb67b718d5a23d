"""Tests for L{socketd.cli.transport.connect}."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.interfaces import IHostnameResolver, IResolutionReceiver
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from socketd.cli.common.address import parse
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


class MemorySocket:
    """A socket that notes where it is connected to."""

    peer: Any = None

    def connect(self, peer: Any) -> None:
        """
        Note it.

        @param peer: the address.
        """
        self.peer = peer


class MemoryUDPPort:
    """A UDP port that notes where it is connected to."""

    def __init__(self) -> None:
        """Begin unconnected."""
        self.handle = MemorySocket()

    def getHandle(self) -> MemorySocket:
        return self.handle

    def connect(self, host: str, port: int) -> None:
        """
        Note it.

        @param host: the host.
        @param port: the port.
        """
        self.peer = (host, port)


class DialingReactor(MemoryReactorClock):
    """A reactor that connects nothing, with a resolver and UDP."""

    def __init__(self) -> None:
        """Begin with nothing dialed."""
        super().__init__()
        self.nameResolver: Any = MemoryResolver()
        self.udp: list[tuple[str, MemoryUDPPort]] = []

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
    ) -> MemoryUDPPort:
        memory = MemoryUDPPort()
        self.udp.append((interface, memory))
        return memory


class StreamTests(SynchronousTestCase):
    """Tests for L{connect} over streams."""

    def setUp(self) -> None:
        self.reactor = DialingReactor()
        self.receiver = MemoryReceiver()

    def dial(self, text: str, seconds: float = 0) -> Deferred[None]:
        """Begin to connect."""
        return Deferred.fromCoroutine(
            connect(self.reactor, parse(text), self.receiver, seconds)
        )

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
    """Tests for L{connect} with UDP."""

    def setUp(self) -> None:
        self.reactor = DialingReactor()

    def dial(self, text: str) -> Deferred[None]:
        """Open a socket."""
        return Deferred.fromCoroutine(connect(self.reactor, parse(text), MemoryReceiver()))

    def test_hosts(self) -> None:
        """The socket is of the family of the peer; of a name, the IPv4 address comes first."""
        cases = {
            "udp:192.0.2.9:53": ("0.0.0.0", "192.0.2.9"),
            "udp:[2001:db8::9]:53": ("::", "2001:db8::9"),
            "udp:both.example:53": ("0.0.0.0", "192.0.2.1"),
            "udp:new.example:53": ("::", "2001:db8::2"),
            "udp6:both.example:53": ("::", "2001:db8::1"),
        }
        for text, (interface, host) in cases.items():
            self.successResultOf(self.dial(text))
            bound, port = self.reactor.udp.pop()
            self.assertEqual((bound, port.peer), (interface, (host, 53)))

    def test_unknown_host(self) -> None:
        """
        A name without address is a failure, and so is an IPv4 address where IPv6 is asked for.
        """
        for text in ("udp:no.example:53", "udp6:old.example:53", "udp6:192.0.2.9:53"):
            self.failureResultOf(self.dial(text), DNSLookupError)

    def test_zone(self) -> None:
        """The interface of a link-local address, by name or number, goes to the kernel."""
        index = socket.if_nametoindex("lo")
        for zone in ("lo", index):
            self.successResultOf(self.dial(f"udp:[fe80::1%{zone}]:53"))
            _, port = self.reactor.udp.pop()
            self.assertEqual(port.handle.peer, ("fe80::1", 53, 0, index))
            self.assertEqual(port.peer, ("fe80::1", 53))

    def test_bad_zone(self) -> None:
        """An interface that there is not, or that is not named, is a failure in words."""
        for zone in ("nope", "4294967000", "9" * 30):
            failure = self.failureResultOf(self.dial(f"udp:[fe80::1%{zone}]:53"), CommandError)
            self.assertEqual(str(failure.value), f"no network interface {zone}")
        failure = self.failureResultOf(self.dial("udp:[fe80::1]:53"), CommandError)
        self.assertIn("needs its interface, as in [fe80::1%eth0]:53", str(failure.value))


class UnixDatagramsTests(TestCase):
    """Tests for L{connect} with UNIX sockets."""

    async def test_nobody_there(self) -> None:
        """A path at which nobody listens is a failure."""
        from twisted.internet import reactor

        address = parse(f"unixgram:./{self.id()[-20:]}")
        with self.assertRaises(FileNotFoundError):
            await connect(reactor, address, MemoryReceiver())


class ResolutionTests(SynchronousTestCase):
    """Tests for L{Resolution}."""

    def test_interface(self) -> None:
        """It is what Twisted's resolvers talk to, and the double of one here is like them."""
        verifyObject(IResolutionReceiver, Resolution())
        verifyObject(IHostnameResolver, MemoryResolver())
