"""
Tests for C{etc/socketd.ini}: the default configuration is right, and serves what
the socket tutorials expect.
"""

from __future__ import annotations

import re
import socket

from twisted.trial.unittest import SynchronousTestCase

from socketd.configuration import configure
from socketd.protocols.registry import installed
from socketd.settings.faults.profile import FAULT, FaultOptions
from socketd.settings.ini import read, read_file
from socketd.settings.load import parse
from socketd.settings.model import (
    DAEMON,
    DEFAULTS,
    AccessOptions,
    DaemonOptions,
    ServiceSettings,
    ServiceOptions,
    SocketOptions,
)
from socketd.settings.options import declared
from tests.support.source_tree import ROOT

FILE = ROOT / "etc" / "socketd.ini"
RUNTIME = "/run/socketd"

#: Each service of the tutorials: its protocol, and where it listens.
SEEDS = {
    "ack": ("ack", {"tcp 127.0.0.1:12345"}),
    "time": ("time", {"udp 127.0.0.1:12345"}),
    "upper": ("upper", {"tcp 127.0.0.1:8080", "tcp6 [::1]:8080", f"unix {RUNTIME}/upper.sock"}),
    "talk": ("reply", {"tcp 127.0.0.1:6789"}),
    "server": ("reply", {"tcp 127.0.0.1:9999"}),
}


class ExampleTests(SynchronousTestCase):
    """Tests for the default configuration."""

    def setUp(self) -> None:
        self.settings = parse(read_file(str(FILE)), str(FILE), installed(), RUNTIME)
        self.services = {service.name: service for service in self.settings.services}

    def service(self, address: str) -> ServiceSettings:
        """Find who serves an address."""
        (found,) = (
            service
            for service in self.settings.services
            if address in map(str, service.listeners)
        )
        return found

    def test_this_machine(self) -> None:
        """The machine has all socket options that the file asks for."""
        self.assertEqual(configure(str(FILE), RUNTIME).settings, self.settings)

    def test_options_exist(self) -> None:
        """Every option in the file is one of its section's."""
        sections, diagnostics = read(FILE.read_text(encoding="utf-8"), str(FILE))
        self.assertEqual(diagnostics, [])
        common = declared(ServiceOptions) | declared(AccessOptions) | declared(SocketOptions)
        for section in sections:
            if section.name.startswith(FAULT):
                known = declared(FaultOptions)
            elif section.name == DAEMON:
                known = declared(DaemonOptions)
            elif section.name == DEFAULTS:
                known = common
            else:
                own = self.services[section.name].declared.options
                known = common | declared(own)
            self.assertEqual(section.entries.keys() - known.keys(), set(), section.name)

    def test_comments(self) -> None:
        """A comment that is an option, ready to be uncommented, is one that exists."""
        names = declared(DaemonOptions) | declared(ServiceOptions) | declared(AccessOptions)
        names |= declared(SocketOptions) | declared(FaultOptions)
        for protocol in installed().values():
            names |= declared(protocol.options)
        text = FILE.read_text(encoding="utf-8")
        written = re.findall(r"^; ?([a-z_-]+) = ", text, re.MULTILINE)
        self.assertEqual(set(written) - names.keys(), set())

    def test_seeds(self) -> None:
        """Each server of the tutorials is there, at its address."""
        for name, (protocol, addresses) in SEEDS.items():
            service = self.services[name]
            self.assertEqual(service.protocol, protocol)
            self.assertEqual(set(map(str, service.listeners)), addresses)

    def test_ports(self) -> None:
        """
        Beside those of the tutorials no port is one that other programs have as a habit, or
        that the kernel gives to connections.
        """
        own = {
            (service.protocol, listener.port)
            for service in self.settings.services
            if service.name not in SEEDS
            for listener in service.listeners
        }
        assigned = {"echo": 7, "discard": 9, "daytime": 13, "chargen": 19, "time": 37, "ntp": 123}
        # That of whois.
        assigned["whoami"] = 43
        self.assertEqual(own, {(name, port + 23000) for name, port in assigned.items()})
        for _, port in own:
            for kind in ("tcp", "udp"):
                # It is not assigned, as far as this machine knows.
                self.assertRaises(OSError, socket.getservbyport, port, kind)

    def test_safe(self) -> None:
        """Strangers are served nothing, and no privileges are needed."""
        for service in self.settings.services:
            for listener in service.listeners:
                if listener.path:
                    self.assertEqual(listener.mode & 0o007, 0, str(listener))
                else:
                    self.assertIn(listener.interface, ("127.0.0.1", "::1"), str(listener))
                    self.assertTrue(listener.port >= 1024, str(listener))

    def test_without_ipv6(self) -> None:
        """A machine without IPv6 can start it."""
        for service in self.settings.services:
            for listener in service.listeners:
                if listener.kind in ("tcp6", "udp6"):
                    self.assertTrue(listener.optional, str(listener))

    def test_acknowledgement(self) -> None:
        """
        The first tutorial's server acknowledges, asks an operator who is there,
        and logs what is said.
        """
        service = self.service("tcp 127.0.0.1:12345")
        self.assertEqual(service.options.reply, b"\nI get it!\n")
        self.assertEqual(service.options.operator, "auto")
        self.assertEqual(service.common.log_messages, "text")
        self.assertTrue(service.common.log_connections)

    def test_time(self) -> None:
        """Its time is that of unix."""
        self.assertEqual(self.service("udp 127.0.0.1:12345").options.epoch, "unix")

    def test_replies(self) -> None:
        """One server closes after its answer and takes up to 1000 bytes, the other does not."""
        talk = self.service("tcp 127.0.0.1:6789").options
        self.assertEqual(talk.reply, b"Are you want to talk to me")
        self.assertEqual((talk.close, talk.max_message), (True, 1000))
        server = self.service("tcp 127.0.0.1:9999").options
        self.assertEqual((server.reply, server.close), (b"I am a server", False))

    def test_chunks(self) -> None:
        """All of them take what one receive brings, as the tutorials do."""
        for name in ("ack", "upper", "talk", "server"):
            self.assertEqual(self.services[name].options.framing, "chunk", name)
