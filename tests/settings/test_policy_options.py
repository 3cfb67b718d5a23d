"""Tests for the access options: how they are read, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.spec import udp_amplify_option
from socketd.settings.model import AccessOptions
from socketd.settings.networks import ANY, Network, Prefixes, network_words, parse_networks
from socketd.settings.options import declared
from tests.settings.refusals import PROTOCOLS, Spoken, diagnostics, parsed


@frozen
class Amplifying:
    """The options of a protocol whose answers may be longer than what they answer."""

    udp_amplify: int = udp_amplify_option()


WITH_AMPLIFYING: Mapping[str, Any] = {
    **PROTOCOLS,
    "line": Spoken(Amplifying, stream=1, datagram=1),
}

#: What is written for an option, and what it becomes.
READ: list[tuple[str, str, Any]] = [
    ("allow", "any", ANY),
    ("allow", "loopback, private", network_words("loopback", "private")),
    ("allow", "192.0.2.0/24\n    2001:db8::/32", parse_networks("192.0.2.0/24, 2001:db8::/32")),
    ("allow", "::ffff:192.0.2.0/120", parse_networks("192.0.2.0/24")),
    ("allow", "", ()),
    ("deny", "192.0.2.7", parse_networks("192.0.2.7/32")),
    ("deny", "", ()),
    ("max_connections", "1", 1),
    ("max_connections", "1000000", 1_000_000),
    ("max_per_source", "20", 20),
    ("accept_rate", "600/m", 10.0),
    ("accept_rate", "0.5/s", 0.5),
    ("accept_burst", "1", 1),
    ("source_prefix", "24:56", Prefixes(24, 56)),
    ("source_prefix", "1:128", Prefixes(1, 128)),
    ("first_byte_timeout", "250ms", 0.25),
    ("idle_timeout", "0s", 0.0),
    ("stall_timeout", "5m", 300.0),
    ("lifetime", "1h", 3600.0),
    ("udp_rate", "3600/h", 1.0),
    ("udp_burst", "8", 8),
    ("udp_network_rate", "64/s", 64.0),
    ("udp_service_rate", "100/s", 100.0),
    ("proxy_from", "10.0.0.0/8", parse_networks("10.0.0.0/8")),
    ("guard_loopback", "on", True),
]

_NO_RATE = "is not a rate; write 50/s, 256/m or 10/h"
_NO_COUNT = "is out of range; write 1 to 1000000"
_NO_DURATION = "is not a duration; write 250ms, 10s, 5m or 1h"
_NO_PREFIXES = "is not a pair of prefix lengths; write 32:64"
_BAD_PREFIXES = "is out of range; write 1 to 32, a colon, and 1 to 128"

#: What is wrong with what is written.
REFUSED = [
    ("allow", "lopback", "has lopback, which is not a network; did you mean loopback?"),
    ("allow", "any, 192.0.2.0/33",
     "has 192.0.2.0/33, which is not a network; write 192.0.2.0/24 or 2001:db8::/32"),
    ("deny", "192.0.2.1/24",
     "has 192.0.2.1/24, with bits set after its prefix; write 192.0.2.0/24"),
    ("deny", "2001:db8::1/32",
     "has 2001:db8::1/32, with bits set after its prefix; write 2001:db8::/32"),
    ("deny", "fe80::1%eth0",
     "has fe80::1%eth0, which is not a network; write 192.0.2.0/24 or 2001:db8::/32"),
    ("proxy_from", "10.0.0.256",
     "has 10.0.0.256, which is not a network; write 192.0.2.0/24 or 2001:db8::/32"),
    ("max_connections", "0", _NO_COUNT),
    ("max_connections", "1000001", _NO_COUNT),
    ("max_connections", "many", "is not a whole number; write 1 to 1000000"),
    ("max_per_source", "0", _NO_COUNT),
    ("accept_burst", "0", _NO_COUNT),
    ("udp_burst", "0", _NO_COUNT),
    ("accept_rate", "10", _NO_RATE),
    ("accept_rate", "0/s", _NO_RATE),
    ("accept_rate", "0.0/s", _NO_RATE),
    ("accept_rate", "-1/s", _NO_RATE),
    ("udp_rate", "1 / s", _NO_RATE),
    ("udp_rate", "1/d", _NO_RATE),
    ("udp_rate", "inf/s", _NO_RATE),
    ("udp_network_rate", "0/s", _NO_RATE),
    ("udp_service_rate", "5k/s", _NO_RATE),
    ("source_prefix", "32,64", _NO_PREFIXES),
    ("source_prefix", "/32:/64", _NO_PREFIXES),
    ("source_prefix", "32:129", _BAD_PREFIXES),
    ("first_byte_timeout", "10", _NO_DURATION),
    ("idle_timeout", "-1s", _NO_DURATION),
    ("stall_timeout", "soon", _NO_DURATION),
    ("lifetime", "1w", _NO_DURATION),
    ("guard_loopback", "maybe", "is neither yes nor no"),
]  # fmt: skip

AMPLIFIES = (
    "has a public network, for which udp_amplify would serve attacks on others;"
    " write udp_amplify = 0, or allow = any if that is what you want"
)


def policy(text: str) -> AccessOptions:
    return parsed(f"[echo]\nlisten = udp:7\n{text}\n").services[0].policy


class ReadTests(SynchronousTestCase):
    """Tests for what is right."""

    def test_table(self) -> None:
        """Each option becomes what was written."""
        found = [(name, text, getattr(policy(f"{name} = {text}"), name)) for name, text, _ in READ]
        self.assertEqual(found, READ)

    def test_every_option(self) -> None:
        """Each access option is in the table."""
        self.assertEqual({name for name, _, _ in READ}, set(declared(AccessOptions)))

    def test_defaults(self) -> None:
        """What is not given is what the class says, and no cap where the help says so."""
        found = policy("")
        self.assertEqual(found, AccessOptions())
        for name in ("allow", "max_connections", "max_per_source", "accept_rate"):
            self.assertIsNone(getattr(found, name), name)

    def test_inherited(self) -> None:
        """A service has what stands in the defaults section, unless it says otherwise."""
        text = "[defaults]\nudp_rate = 3/s\nallow = private\nsource_prefix = 24:48\n"
        text += "[echo]\nlisten = udp:7\n[datagram]\nlisten = udp:8\nudp_rate = 9/s\nallow = any\n"
        echo, datagram = (service.policy for service in parsed(text).services)
        self.assertEqual((echo.udp_rate, echo.allow), (3.0, network_words("private")))
        self.assertEqual((datagram.udp_rate, datagram.allow), (9.0, ANY))
        self.assertEqual([echo.source_prefix, datagram.source_prefix], [Prefixes(24, 48)] * 2)

    def test_empty_is_given(self) -> None:
        """An empty C{allow} is not the same as none: it is never taken for the default."""
        text = "[defaults]\nallow = private\n[echo]\nlisten = udp:7\nallow =\n"
        networks: tuple[Network, ...] | None = parsed(text).services[0].policy.allow
        self.assertEqual(networks, ())


class RefusedTests(SynchronousTestCase):
    """Tests for what is refused."""

    def test_table(self) -> None:
        """Each mistake is named with its line, its value, and what would be right."""
        self.maxDiff = None
        found, expected = [], []
        for name, text, wrong in REFUSED:
            found += diagnostics(f"[echo]\nlisten = udp:7\n{name} = {text}\n")
            expected.append(f"FILE:3: [echo] {name} = {text}: {wrong}")
        self.assertEqual(found, expected)

    def test_at_once(self) -> None:
        """All mistakes of a service are named in one run, in the order of the file."""
        lines = [f"{name} = {text}" for name, text, _ in REFUSED[::-1]]
        once = list({line.split(" =")[0]: line for line in lines}.values())
        found = diagnostics("[echo]\nlisten = udp:7\n" + "\n".join(once) + "\n")
        expected = [f"FILE:{n}: [echo] {line}" for n, line in enumerate(once, 3)]
        self.assertEqual(len(found), len(once))
        for said, start in zip(found, expected):
            self.assertTrue(said.startswith(f"{start}: "), said)

    def test_inherited(self) -> None:
        """A mistake in the defaults section is named once, where it stands."""
        text = "[defaults]\nudp_rate = 5\n[echo]\nlisten = udp:7\n[datagram]\nlisten = udp:8\n"
        self.assertEqual(diagnostics(text), [f"FILE:2: [defaults] udp_rate = 5: {_NO_RATE}"])

    def test_not_of_the_daemon(self) -> None:
        """The daemon itself has no access option but its cap."""
        for name, text, _ in READ:
            found = diagnostics(f"[socketd]\n{name} = {text}\n[echo]\nlisten = udp:7\n")
            start = f"FILE:2: [socketd] {name}: is not an option here;"
            wrong = [said for said in found if not said.startswith(start)]
            self.assertEqual((wrong, bool(found)), ([], name != "max_connections"))


class AmplificationTests(SynchronousTestCase):
    """Tests for C{udp_amplify} beside networks whose addresses can be forged."""

    def diagnostics(self, text: str) -> list[str]:
        """List what is wrong with a file that has a service [line]."""
        return diagnostics(text, WITH_AMPLIFYING)

    def test_refused(self) -> None:
        """A public network is complained of at the line that allows it."""
        for networks in ("192.0.2.0/24", "private, 8.8.8.8", "0.0.0.0/0", "2001:db8::/32",
                         "10.0.0.0/7", "::/0"):  # fmt: skip
            for listener in ("udp:7", "tcp:7, udp6:7", "systemd:line"):
                text = f"[line]\nlisten = {listener}\nudp_amplify = 1\nallow = {networks}\n"
                expected = [f"FILE:4: [line] allow = {networks}: {AMPLIFIES}"]
                self.assertEqual(self.diagnostics(text), expected)

    def test_any(self) -> None:
        """An explicit any is served."""
        for networks in ("any", "private, any", "any 192.0.2.0/24"):
            text = f"[line]\nlisten = udp:7\nudp_amplify = 512\nallow = {networks}\n"
            self.assertEqual(self.diagnostics(text), [])

    def test_harmless(self) -> None:
        """Networks of one's own, no amplification, or no datagrams are no danger."""
        table = [
            ("udp:7", "512", "private, loopback, 10.1.0.0/16, fe80::/64"),
            ("udp:7", "0", "192.0.2.0/24"),
            ("tcp:7", "512", "192.0.2.0/24"),
        ]
        for listener, size, networks in table:
            text = f"[line]\nlisten = {listener}\nudp_amplify = {size}\nallow = {networks}\n"
            self.assertEqual(self.diagnostics(text), [], text)
        self.assertEqual(self.diagnostics("[line]\nlisten = udp:7\nudp_amplify = 512\n"), [])

    def test_inherited(self) -> None:
        """
        What is inherited is complained of where it stands, and a service that has its
        own networks is judged by these.
        """
        text = "[defaults]\nallow = 192.0.2.0/24\nudp_amplify = 9\n[line]\nlisten = udp:7\n"
        expected = [f"FILE:2: [defaults] allow = 192.0.2.0/24: {AMPLIFIES}"]
        self.assertEqual(self.diagnostics(text), expected)
        self.assertEqual(self.diagnostics(text + "allow = private\n"), [])
        self.assertEqual(self.diagnostics(text + "udp_amplify = 0\n"), [])

    def test_size(self) -> None:
        """No answer may be made longer than the longest that RFC 865 knows."""
        for size in ("513", "1KiB"):
            found = self.diagnostics(f"[line]\nlisten = udp:7\nudp_amplify = {size}\n")
            expected = f"FILE:3: [line] udp_amplify = {size}: is out of range; write 0 to 512"
            self.assertEqual(found, [expected])
