"""Tests for L{socketd.protocols.registry} and what it finds."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import attrs
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.registry import GROUP, OURS, Registry, installed
from socketd.settings.model import (
    AccessOptions,
    NoOptions,
    ProtocolSpec,
    ServiceOptions,
    SocketOptions,
)
from socketd.settings.options import REQUIRED, declared
from tests.protocols.fakes import context

#: The forms of some of ours: name, stream form, datagram form.
FORMS = {
    "ack": (True, False),
    "chargen": (True, True),
    "daytime": (True, True),
    "discard": (True, True),
    "echo": (True, True),
    "ntp": (False, True),
    "qotd": (True, True),
    "reply": (True, True),
    "stamp": (False, True),
    "time": (True, True),
    "upper": (True, True),
    "whoami": (True, True),
}


def registry(**values: str) -> Registry:
    """Make a registry of entry points, by name and value."""
    return Registry(
        lambda: {name: EntryPoint(name, value, GROUP) for name, value in values.items()}
    )


class RegistryTests(SynchronousTestCase):
    """Tests for L{Registry}."""

    def test_lookup(self) -> None:
        """A protocol is imported when it is looked up, and not before."""
        echo = "socketd.protocols.measure.echo:declaration"
        found = registry(theirs=echo, other="no.such.module:x")
        self.assertIsInstance(found["theirs"], ProtocolSpec)
        self.assertEqual(sorted(found), sorted([*OURS, "other", "theirs"]))
        self.assertEqual(len(found), len(OURS) + 2)
        self.assertTrue("other" in found)
        self.assertFalse("third" in found)

    def test_only_ours(self) -> None:
        """Other packages are asked only for a name that is not ours; one of ours stays ours."""
        asked: list[str] = []

        def find() -> dict[str, EntryPoint]:
            asked.append("asked")
            return {}

        found = Registry(find)
        self.assertTrue("echo" in found)
        self.assertIsInstance(found["echo"], ProtocolSpec)
        self.assertEqual(asked, [])
        self.assertFalse("mine" in found)
        self.assertEqual(asked, ["asked"])

    def test_unknown(self) -> None:
        """What is not installed is not found."""
        self.assertRaises(KeyError, registry().__getitem__, "nothing")

    def test_no_module(self) -> None:
        """A protocol whose module is not there cannot be imported."""
        self.assertRaises(ImportError, registry(a="no.such.module:x").__getitem__, "a")

    def test_no_attribute(self) -> None:
        """Nor can one whose module does not have it."""
        found = registry(a="socketd.protocols.measure.echo:nothing")
        self.assertRaises(ImportError, found.__getitem__, "a")

    def test_no_declaration(self) -> None:
        """Nor can what is no declaration."""
        error = self.assertRaises(
            ImportError, registry(a="socketd.protocols.measure.echo:Echo").__getitem__, "a"
        )
        self.assertEqual(str(error), "socketd.protocols.measure.echo:Echo is no ProtocolSpec")


class InstalledTests(SynchronousTestCase):
    """Tests for L{installed}, and rules that every installed protocol keeps."""

    def setUp(self) -> None:
        self.installed = installed()

    def test_ours(self) -> None:
        """Our own protocols are found, with their transports."""
        found = {name: self.installed[name] for name in FORMS}
        forms = {
            name: (one.stream is not None, one.datagram is not None) for name, one in found.items()
        }
        self.assertEqual(forms, FORMS)

    def test_made(self) -> None:
        """Each form makes a protocol of Twisted's from its options."""
        for name in FORMS:
            declaration = self.installed[name]
            given: Any = {"reply": {"reply": b"x"}, "qotd": {"texts": (b"x\r\n",)}}.get(name, {})
            options, around = declaration.options(**given), context()
            if declaration.stream is not None:
                protocol = declaration.stream(options, around)
                self.assertTrue(IProtocol.providedBy(protocol), name)
                self.assertIsNot(protocol, declaration.stream(options, around))
            if declaration.datagram is not None:
                self.assertIsInstance(declaration.datagram(options, around), DatagramProtocol)

    def test_options(self) -> None:
        """A protocol's options are frozen, have help, and no name of a common option."""
        groups = (ServiceOptions, AccessOptions, SocketOptions)
        common = {option for group in groups for option in declared(group)}
        for name in OURS:
            options = self.installed[name].options
            self.assertTrue(attrs.has(options), name)
            self.assertEqual(declared(options).keys() & common, set(), name)
            for found in declared(options).values():
                self.assertTrue(found.help.endswith("."), f"{name}: {found.name}")

    def test_defaults(self) -> None:
        """Each default is a value that the option could have been given."""
        for name in OURS:
            for found in declared(self.installed[name].options).values():
                if found.default is not REQUIRED and isinstance(found.default, str):
                    self.assertEqual(found.type.parse(found.default), found.default)

    def test_nothing_of_its_own(self) -> None:
        """A declaration may leave everything out."""
        self.assertEqual(ProtocolSpec(), ProtocolSpec(NoOptions, None, None))

    def test_no_daemon(self) -> None:
        """Where no daemon is around a protocol, no further port can be opened."""
        self.assertRaises(OSError, context().open_port, DatagramProtocol(), "127.0.0.1", 50000)
