"""Tests for L{socketd.cli.system.socket_options}."""

from __future__ import annotations

import json
import socket
import struct

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.system.socket_options import (
    DECODERS,
    LEVELS,
    MEANINGS,
    NOT_OPTIONS,
    SystemOption,
    decode,
    level_of,
    meaning_of,
    option_names,
    read_default,
    read_option,
    render_json,
    render_table,
)
from tests.support.client_fakes import CommandTestCase

VALUES = [
    # name, bytes, value
    ("SO_SNDBUF", struct.pack("i", 65536), 65536),
    ("SO_SNDBUF", struct.pack("i", -1), -1),
    ("SO_SNDBUF", b"\x40", 64),
    ("SO_SNDBUF", b"", "0 bytes"),
    ("SO_SNDBUF", bytes(232), "232 bytes"),
    ("TCP_CONGESTION", b"cubic\0\0\0", "cubic"),
    ("TCP_CONGESTION", b"", ""),
    ("TCP_CONGESTION", b"\x1b\xff", "\\x1b\\xff"),
    ("SO_LINGER", struct.pack("ii", 0, 5), "off"),
    ("SO_LINGER", struct.pack("ii", 1, 5), "5 s"),
    ("SO_LINGER", b"\0", "1 bytes"),
    ("SO_RCVTIMEO", struct.pack("ll", 0, 0), "none"),
    ("SO_RCVTIMEO", struct.pack("ll", 2, 500000), "2.5 s"),
    ("SO_PEERCRED", struct.pack("iii", 0, -1, -1), "none"),
    ("SO_PEERCRED", struct.pack("iii", 7, 8, 9), "pid 7 uid 8 gid 9"),
    ("IP_MULTICAST_IF", bytes([192, 0, 2, 1]), "192.0.2.1"),
]


class OptionTableTests(SynchronousTestCase):
    """Tests for the table of what is known."""

    def test_names(self) -> None:
        """Every constant of the module that looks like an option is listed, once."""
        names = option_names()
        expected = {name for name in dir(socket) if name.startswith(tuple(LEVELS))}
        self.assertEqual(set(names), expected)
        self.assertEqual(len(names), len(expected))
        self.assertLess(names.index("SO_TYPE"), names.index("TCP_NODELAY"))

    def test_levels(self) -> None:
        """The level follows the name, but not for constants that are no options here."""
        self.assertEqual(level_of("SO_LINGER"), "SOL_SOCKET")
        self.assertEqual(level_of("TCP_NODELAY"), "IPPROTO_TCP")
        self.assertEqual(level_of("IP_TTL"), "IPPROTO_IP")
        self.assertEqual(level_of("IPV6_V6ONLY"), "IPPROTO_IPV6")
        for name in ("SO_VM_SOCKETS_BUFFER_SIZE", "SO_J1939_FILTER", "IP_MAX_MEMBERSHIPS"):
            self.assertIsNone(level_of(name))
            self.assertNotEqual(meaning_of(name), "")

    def test_table_has_no_strangers(self) -> None:
        """The tables have names of options only, and no name twice."""
        for name in [*DECODERS, *MEANINGS, *NOT_OPTIONS]:
            self.assertTrue(name.startswith(tuple(LEVELS)), name)
        self.assertFalse(set(MEANINGS) & set(NOT_OPTIONS))
        self.assertGreaterEqual(len(MEANINGS), 40)

    def test_unknown(self) -> None:
        """An option of a newer Python has a level, and no meaning."""
        self.assertEqual(level_of("TCP_NEW_THING"), "IPPROTO_TCP")
        self.assertEqual(meaning_of("TCP_NEW_THING"), "")


class DefaultTests(SynchronousTestCase):
    """Tests for reading defaults."""

    def test_decode(self) -> None:
        """Numbers, structures and texts are decoded; of anything else the size is told."""
        for name, raw, value in VALUES:
            self.assertEqual(decode(name, raw), value)

    def test_fresh_sockets(self) -> None:
        """The default is what a fresh socket has, each of its kind."""
        option = read_option("SO_TYPE")
        self.assertEqual(option.tcp, int(socket.SOCK_STREAM))
        self.assertEqual(option.udp, int(socket.SOCK_DGRAM))
        with socket.socket() as fresh:
            size = fresh.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.assertEqual(read_option("SO_RCVBUF").tcp, size)

    def test_unreadable(self) -> None:
        """What cannot be read has no default, and does no harm."""
        self.assertIsNone(read_option("TCP_NODELAY").udp)
        self.assertIsNone(read_option("IP_MAX_MEMBERSHIPS").tcp)
        self.assertIsNone(read_default("SO_NONE", "SOL_SOCKET", 99999, socket.SOCK_STREAM))


class RenderTests(SynchronousTestCase):
    """Tests for L{render_table} and L{render_json}."""

    def setUp(self) -> None:
        self.options = [
            SystemOption("SO_A", "SOL_SOCKET", 1, 0, None, "what it does"),
            SystemOption("SO_B", None, 22, "", "off", ""),
        ]

    def test_table(self) -> None:
        """A person sees a dash for what cannot be read, and quotes for an empty text."""
        expected = (
            "NAME  NUMBER  TCP  UDP  MEANING\n"
            "SO_A  1       0    -    what it does\n"
            'SO_B  22      ""   off\n'
        )
        self.assertEqual(render_table(self.options), expected)

    def test_json(self) -> None:
        """A program sees the values as they are."""
        first, second = json.loads(render_json(self.options))
        self.assertEqual((first["tcp"], first["udp"], first["level"]), (0, None, "SOL_SOCKET"))
        self.assertEqual((second["tcp"], second["udp"], second["level"]), ("", "off", None))


class CommandTests(CommandTestCase):
    """Tests for C{socketd options} as a process."""

    async def test_table(self) -> None:
        """Every option has its line."""
        out, err, status = await self.command("options")
        self.assertEqual((err, status), (b"", 0))
        lines = out.decode().splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["NAME", *option_names()])
