"""Tests for L{socketd.cli.migrate.ini_writer}."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.migrate.command import check
from socketd.cli.migrate.ini_writer import DIFFERENCES, MAX_NAME, join, write
from socketd.cli.migrate.model import PORTS, Findings, ForeignService, ListenAddress, Place


def service(kind: str, name: str = "echo", port: int = 0, **others: Any) -> ForeignService:
    protocol = {"stream": "tcp", "dgram": "udp"}[kind]
    address = ListenAddress(protocol, port or PORTS[name])
    values: dict[str, Any] = {"label": f"{name}-{kind}", "addresses": (address,)}
    return ForeignService(name=name, type=kind, **{"place": Place("f", 1), **values, **others})


def shapes(*services: ForeignService) -> list[tuple[str, str]]:
    """Join services; return the name of each section, and the types in it."""
    return [
        (section.name, " ".join(found.type for found in section.services))
        for section in join(services)
    ]


def text(*services: ForeignService) -> str:
    findings = Findings(services=list(services))
    return write(findings, join(services))


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
        """Connection limits keep no datagrams apart, but two streams with limits of their own."""
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
            service("dgram", addresses=(ListenAddress("udp6", 7, "::1"),)),
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
        """A connection limit on datagrams is told, unless the stream beside it has the same."""
        limits = {"max_connections": "3"}
        datagrams = service("dgram", stream_options=limits)
        told = "\n; not converted: max_connections = 3 for datagrams (f:1)\n"
        self.assertIn(told, text(datagrams))
        self.assertIn(told, text(service("stream"), datagrams))
        self.assertNotIn("\nmax_connections", text(service("stream"), datagrams))
        self.assertNotIn(told, text(service("stream", stream_options=limits), datagrams))

    def test_notes(self) -> None:
        """The result has the general differences, and a comment for each note."""
        findings = Findings(services=[service("stream")], files=["f\nx"])
        place = Place("f", 9)
        findings.note(place, "a\nb")
        findings.leave(place, "c")
        findings.switched_off(place, "d")
        findings.note(place, "e\u2028")
        findings.note(place, "e\u2028")
        written = write(findings, join(findings.services))
        notes = ("not converted: a\\nb", "not converted: c", "switched off: d",
                 "not converted: e\\u2028")
        comments = "".join(f"; {note} (f:9)\n" for note in notes)
        self.assertIn(f";   f\\nx\n\n{DIFFERENCES}\n{comments}\n[echo]\n", written)
        self.assertEqual(check(written), ())
