"""Tests for L{socketd.cli.migrate.ini_writer}."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.migrate.command import check
from socketd.cli.migrate.ini_writer import MAX_NAME, MAX_PLACES, join, write
from socketd.cli.migrate.model import PORTS, Address, Findings, Place, Service


def service(kind: str, name: str = "echo", port: int = 0, **others: Any) -> Service:
    """Make a service."""
    protocol = {"stream": "tcp", "dgram": "udp"}[kind]
    address = Address(protocol, port or PORTS[name])
    values: dict[str, Any] = {"label": f"{name}-{kind}", "addresses": (address,)}
    return Service(name=name, type=kind, **{"place": Place("f", 1), **values, **others})


def shapes(*services: Service) -> list[tuple[str, str]]:
    """
    Join services.

    @return: the name of each section, and the types in it.
    """
    return [
        (section.name, " ".join(found.type for found in section.services))
        for section in join(services)
    ]


def text(*services: Service) -> str:
    """Join services and write them."""
    findings = Findings(services=list(services))
    return write(findings, join(services), {})


class JoinTests(SynchronousTestCase):
    """Tests for L{join}."""

    def test_agree(self) -> None:
        """Stream and datagrams of one service are one section, the stream first."""
        found = shapes(service("dgram"), service("stream"), service("stream", "time"))
        self.assertEqual(found, [("echo", "stream dgram"), ("time", "stream")])

    def test_differ(self) -> None:
        """What they would share keeps them apart, and the second is named by its label."""
        found = shapes(service("stream", options={"allow": "::1"}), service("dgram"))
        self.assertEqual(found, [("echo", "stream"), ("echo-dgram", "dgram")])

    def test_limits_of_streams(self) -> None:
        """
        Limits of connections keep no datagrams apart; but two streams with a limit of their own.
        """
        limits = {"max_connections": "3"}
        one = service("stream", stream_options=limits)
        two = service("stream", port=8, label="b", stream_options=limits)
        found = shapes(one, service("dgram"), two)
        self.assertEqual(found, [("echo", "stream dgram"), ("b", "stream")])
        rates = {"accept_rate": "3/s"}
        one, two = (service("stream", port=port, stream_options=rates) for port in (7, 8))
        self.assertEqual(shapes(one, two), [("echo", "stream stream")])
        self.assertEqual(len(shapes(one, service("stream", port=9))), 2)

    def test_names(self) -> None:
        """A section has a name that can be one, and its own."""
        others: list[dict[str, Any]] = [{"options": {"allow": f"10.0.0.{n}"}} for n in range(5)]
        labels = ("echo", "a b/\u00fc", "socketd", "x" * 99, "--")
        services = [service("stream", label=label, **o) for label, o in zip(labels, others)]
        names = [name for name, _ in shapes(*services)]
        self.assertEqual(names, ["echo", "a-b", "echo-2", "x" * MAX_NAME, "echo-3"])


class WriteTests(SynchronousTestCase):
    """Tests for L{write}."""

    def test_loads(self) -> None:
        """What is written can be loaded, with long lists and names of one's own."""
        many = {"allow": " ".join(f"10.0.{n}.0/24" for n in range(99)), "deny": ""}
        written = text(
            service("stream", options=many),
            service("dgram", addresses=(Address("udp6", 7, "::1"),)),
            service("stream", "time"),
        )
        self.assertEqual(check(written), ())
        self.assertIn("\n[echo-dgram]\n; From f:1\nprotocol = echo\nlisten =\n", written)
        self.assertIn("\n    10.0.98.0/24\ndeny =\n", written)
        self.assertIn(r"udp6:7:interface=\:\:1", written)
        self.assertIn("\nepoch = 1900\n", written)

    def test_daytime(self) -> None:
        """daytime answers short datagrams where only insiders can ask."""
        self.assertIn("\nudp_amplify = 32\n", text(service("dgram", "daytime")))
        for other in (
            service("dgram", "daytime", options={"allow": "198.51.100.0/24"}),
            service("stream", "daytime"),
        ):
            written = text(other)
            self.assertNotIn("udp_amplify = ", written)
            self.assertEqual(check(written), ())

    def test_limits_of_datagrams(self) -> None:
        """
        A limit of connections on datagrams is told, unless the stream beside them has the same.
        """
        limits = {"max_connections": "3"}
        datagrams = service("dgram", stream_options=limits)
        told = "max_connections = 3 is for connections"
        self.assertIn(told, text(datagrams))
        self.assertIn(told, text(service("stream"), datagrams))
        self.assertNotIn("\nmax_connections", text(service("stream"), datagrams))
        self.assertNotIn(told, text(service("stream", stream_options=limits), datagrams))

    def test_hints(self) -> None:
        """What differs is said once, where it applies, with some of its places."""
        findings = Findings(services=[service("stream", port=7007)])
        for line in range(MAX_PLACES + 2):
            findings.hint("cps", Place("f", line + 1))
        written = write(findings, join(findings.services), {})
        self.assertIn(";     (f:1, f:2, f:3, ...)\n", written)
        for absent in ("Ports below 1024", "allow = any", "daytime tells", "chargen answers"):
            self.assertNotIn(absent, written)
        written = text(service("dgram", "chargen"), service("stream", "daytime"))
        for present in ("Ports below 1024", "allow = any", "daytime tells", "chargen answers"):
            self.assertIn(present, written)

    def test_all_that_is_left(self) -> None:
        """
        Problems, what is not taken, what is switched off and what belongs to no service are
        comments.
        """
        findings = Findings(services=[service("stream")], files=["f\nx"])
        place = Place("f", 9)
        findings.problem(place, "a\nb")
        findings.leave(place, "c")
        findings.switched_off(place, "d")
        findings.remark(place, "e\u2028")
        written = write(findings, join(findings.services), {})
        for line in ("f\\nx", "f:9: a\\nb", "f:9: c", "f:9: d", "f:9: e\\u2028"):
            self.assertIn(f"\n;   {line}\n", written)
        self.assertEqual(check(written), ())
