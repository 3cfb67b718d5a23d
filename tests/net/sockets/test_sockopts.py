"""Tests of C{socketd.net.sockets.sockopts}."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any
from unittest import mock

import attrs
from twisted.trial.unittest import SynchronousTestCase

from socketd.net.sockets.sockopts import TABLE, Refused, validate, wanted
from socketd.protocols.measure import echo
from socketd.settings.listener_syntax import parse_listener
from socketd.settings.load import parse
from socketd.settings.model import ServiceSettings, SocketOptions

#: A value that differs from the default, and what the kernel then says.
VALUES: dict[str, tuple[Any, Any]] = {
    "so_reuseaddr": (True, 1),
    "so_reuseport": (True, 1),
    "so_keepalive": (True, 1),
    "so_broadcast": (True, 1),
    "so_dontroute": (True, 1),
    "so_oobinline": (True, 1),
    "so_bindtodevice": ("lo", b"lo\0"),
    "so_rcvbuf": (8192, 16384),
    "so_sndbuf": (8192, 16384),
    "so_linger": (True, struct.pack("ii", 1, 0)),
    "tcp_nodelay": (True, 1),
    "tcp_keepidle": (61.0, 61),
    "tcp_keepintvl": (11.0, 11),
    "tcp_keepcnt": (4, 4),
    "tcp_user_timeout": (30.0, 30000),
}


def service(text: str) -> ServiceSettings:
    """Read one service from the lines of its section."""
    settings = parse(f"[echo]\n{text}", "x.ini", {"echo": echo.declaration}, "/run")
    return settings.services[0]


class OptionTests(SynchronousTestCase):
    """Each option is set and read back."""

    def test_table_is_complete(self) -> None:
        """Every option that a service can have is in the table, and in this test."""
        names = [field.name for field in attrs.fields(SocketOptions)]
        self.assertEqual(names, list(TABLE))
        self.assertEqual(names, list(VALUES))

    def test_set_and_read_back(self) -> None:
        """The kernel has the value afterwards."""
        for name, (value, expected) in VALUES.items():
            option = TABLE[name]
            with socket.socket() as sock:
                option.apply(sock, value)
                size = (16,) if isinstance(expected, bytes) else ()
                found = sock.getsockopt(*option.name, *size)
            self.assertTrue(found == expected or found == bool(expected), (name, found))

    def test_inherited_by_connections(self) -> None:
        """A connection has the options of the socket that accepted it."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            for name in ("so_keepalive", "so_oobinline", "so_dontroute", "tcp_nodelay"):
                TABLE[name].apply(listener, True)
            TABLE["tcp_user_timeout"].apply(listener, 30.0)
            with socket.create_connection(listener.getsockname()):
                ours, _ = listener.accept()
                with ours:
                    for name in ("SO_KEEPALIVE", "SO_OOBINLINE", "SO_DONTROUTE"):
                        self.assertTrue(
                            ours.getsockopt(socket.SOL_SOCKET, getattr(socket, name)), name
                        )
                    self.assertTrue(ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
                    timeout = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
                    self.assertEqual(timeout, 30000)

    def test_capped_by_the_system(self) -> None:
        """A buffer that the system makes smaller is refused."""
        with socket.socket() as sock:
            problem = self.assertRaises(Refused, TABLE["so_rcvbuf"].apply, sock, 1 << 30)
        self.assertIn("this system makes", str(problem))


class WantedTests(SynchronousTestCase):
    """A listener gets the options that its sockets have."""

    def names(self, listener: str, **options: Any) -> dict[str, Any]:
        """Give what is set on a listener's socket."""
        return dict(wanted(SocketOptions(**options), parse_listener(listener, "/run")))

    def test_defaults(self) -> None:
        """TCP alone has defaults, and they can be switched off."""
        expected = {
            "so_reuseaddr": True,
            "so_keepalive": True,
            "tcp_nodelay": True,
            "tcp_keepidle": 60.0,
            "tcp_keepintvl": 10.0,
            "tcp_keepcnt": 4,
            "tcp_user_timeout": 30.0,
        }
        self.assertEqual(self.names("tcp:7"), expected)
        self.assertEqual(self.names("udp:7"), {})
        self.assertEqual(self.names("unix:/s"), {})
        self.assertFalse(self.names("tcp:7", tcp_nodelay=False)["tcp_nodelay"])

    def test_count_of_probes(self) -> None:
        """
        Where probes are counted there is no tcp_user_timeout but one that is given: the
        kernel would not count.
        """
        self.assertNotIn("tcp_user_timeout", self.names("tcp:7", tcp_keepcnt=2))
        both = self.names("tcp:7", tcp_keepcnt=2, tcp_user_timeout=9.0)
        self.assertEqual((both["tcp_keepcnt"], both["tcp_user_timeout"]), (2, 9.0))

    def test_fitting(self) -> None:
        """TCP options stay away from datagrams, network options from UNIX sockets."""
        options = {name: value for name, (value, _) in VALUES.items()}
        self.assertEqual(set(self.names("tcp:7", **options)), set(VALUES))
        udp = {name for name in VALUES if name.startswith("so_")}
        self.assertEqual(set(self.names("udp:7", **options)), udp)
        self.assertEqual(set(self.names("unix:/s", **options)), {"so_rcvbuf", "so_sndbuf"})


class TryOutTests(SynchronousTestCase):
    """Options are tried before anything is bound."""

    def test_good(self) -> None:
        """What the system takes is not complained of."""
        self.assertEqual(list(validate(service("listen = tcp:7\nso_keepalive = yes"))), [])

    def test_refused(self) -> None:
        """What it refuses is, with the reason."""
        found = list(validate(service("listen = tcp:7\nso_bindtodevice = nosuch0")))
        reason = f"this system refuses it: {os.strerror(19)}"
        self.assertEqual(found, [("so_bindtodevice", reason)])

    def test_useless(self) -> None:
        """An option that fits no listener of its service is complained of."""
        found = list(validate(service("listen = udp:7\ntcp_nodelay = yes")))
        self.assertEqual(found, [("tcp_nodelay", "fits none of the service's listeners")])

    def test_useless_default(self) -> None:
        """One that is inherited is not: other services may have use for it."""
        text = "[defaults]\ntcp_nodelay = yes\n[echo]\nlisten = udp:7"
        settings = parse(text, "x.ini", {"echo": echo.declaration}, "/run")
        self.assertEqual(list(validate(settings.services[0])), [])

    def test_family_missing(self) -> None:
        """A family that the machine lacks is no trouble of the option's."""
        made = "socketd.net.sockets.sockopts.socket.socket"
        with mock.patch(made, side_effect=OSError(97, "no")):
            found = list(validate(service("listen = tcp6:7\nso_keepalive = yes")))
        self.assertEqual(found, [])
