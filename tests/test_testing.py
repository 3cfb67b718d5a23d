"""Tests of how a service under test is reached."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.testing import Service, read_listener

ECHO = Service(
    "echo",
    (
        ("tcp", ("127.0.0.1", 4001)),
        ("tcp", ("127.0.0.1", 4002)),
        ("udp6", ("::1", 4003)),
        ("unix", "/run/echo.sock"),
    ),
)


class ReadTests(SynchronousTestCase):
    """L{read_listener} reads what C{socketd listeners} shows."""

    def test_addresses(self) -> None:
        """An address of one interface stays as it is."""
        self.assertEqual(read_listener("tcp 192.0.2.1:7"), ("tcp", ("192.0.2.1", 7)))
        self.assertEqual(read_listener("udp6 [2001:db8::1]:7"), ("udp6", ("2001:db8::1", 7)))
        self.assertEqual(read_listener("unix /run/a b.sock"), ("unix", "/run/a b.sock"))

    def test_wildcards(self) -> None:
        """All interfaces are reached at loopback."""
        self.assertEqual(read_listener("tls 0.0.0.0:7"), ("tls", ("127.0.0.1", 7)))
        self.assertEqual(read_listener("tcp6 [::]:7"), ("tcp6", ("::1", 7)))


class ServiceTests(SynchronousTestCase):
    """A L{Service} has its addresses as attributes."""

    def test_first(self) -> None:
        """A kind is the address of its first listener, and its port."""
        self.assertEqual(ECHO.tcp, ("127.0.0.1", 4001))
        self.assertEqual(ECHO.tcp_port, 4001)
        self.assertEqual(ECHO.udp6_port, 4003)
        self.assertEqual(ECHO.unix, "/run/echo.sock")

    def test_missing(self) -> None:
        """What is not there is told with what is."""
        with self.assertRaises(AttributeError) as raised:
            ECHO.udp_port  # noqa: B018
        expected = "[echo] has no listener udp; it listens at tcp, udp6, unix"
        self.assertEqual(str(raised.exception), expected)
        self.assertFalse(hasattr(ECHO, "_repr_html_"))
