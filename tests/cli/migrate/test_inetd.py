"""Tests for L{socketd.cli.migrate.inetd}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.migrate.inetd import read
from socketd.cli.migrate.model import Findings, ForeignService


def found(*lines: str) -> Findings:
    findings = Findings()
    read(list(lines), "f", findings)
    return findings


def entry(name: str = "echo", protocol: str = "tcp4", wait: str = "nowait") -> str:
    kind = "dgram" if protocol.startswith("udp") else "stream"
    return f"{name} {kind} {protocol} {wait} root internal"


class InetdTests(SynchronousTestCase):
    """Tests for entries."""

    def one(self, *lines: str) -> ForeignService:
        """Read lines that are in order and have one service."""
        findings = found(*lines)
        self.assertEqual(findings.notes, [])
        (service,) = findings.services
        return service

    def addresses(self, *lines: str) -> list[str]:
        findings = found(*lines)
        self.assertEqual(findings.notes, [])
        return [str(address) for service in findings.services for address in service.addresses]

    def test_protocols(self) -> None:
        """A protocol has its families; without a number both, unless IPv6 has its own line."""
        for protocol, expected in (
            ("tcp", ["tcp:7", "tcp6:7:optional=yes"]),
            ("tcp4", ["tcp:7"]),
            ("tcp6", ["tcp6:7:optional=yes"]),
            ("tcp6only", ["tcp6:7:optional=yes"]),
            ("tcp46", ["tcp:7", "tcp6:7:optional=yes"]),
            ("udp", ["udp:7", "udp6:7:optional=yes"]),
            ("udp4", ["udp:7"]),
            ("udp6", ["udp6:7:optional=yes"]),
        ):
            self.assertEqual(self.addresses(entry(protocol=protocol)), expected)
        lines = [entry(protocol=protocol) for protocol in ("tcp6", "tcp", "udp")]
        expected = ["tcp6:7:optional=yes", "tcp:7", "udp:7", "udp6:7:optional=yes"]
        self.assertEqual(self.addresses(*lines), expected)

    def test_hosts(self) -> None:
        """Hosts are in front of one service, or of all below until the next such line."""
        for lines, expected in (
            ([entry("192.0.2.1:echo", "tcp")], ["tcp:7:interface=192.0.2.1"]),
            ([entry("[::1]:echo", "tcp")], [r"tcp6:7:interface=\:\:1"]),
            ([entry("::1:echo", "tcp6")], [r"tcp6:7:interface=\:\:1"]),
            ([entry("*:echo")], ["tcp:7"]),
            ([entry("host.example:echo", "tcp")], ["tcp:7:interface=host.example"]),
            ([entry("host.example:echo", "tcp6")], ["tcp6:7:interface=host.example"]),
            (["192.0.2.1: " + entry()], ["tcp:7:interface=192.0.2.1"]),
            (
                ["192.0.2.1:", entry(), entry("*:time"), "*:", entry("daytime")],
                ["tcp:7:interface=192.0.2.1", "tcp:37", "tcp:13"],
            ),
        ):
            self.assertEqual(self.addresses(*lines), expected)

    def test_continuation(self) -> None:
        """A line that begins with white space continues the entry before it, but no comment."""
        lines = ["echo stream", "\ttcp4 nowait", "   ", " root internal", "# x"]
        self.assertEqual(self.one(*lines).place.line, 1)
        services = found(*lines, "  " + entry("time")).services
        self.assertEqual([(s.name, s.place.line) for s in services], [("echo", 1), ("time", 6)])
        findings = found("echo stream", "", "\ttcp4 nowait root internal")
        self.assertEqual([note.place.line for note in findings.notes], [1, 3])

    def test_limits(self) -> None:
        """Limits follow wait: a rate (OpenBSD, GNU) or up to three counts (FreeBSD); 0: none."""
        minute = {"accept_rate": "40/m", "accept_burst": "40"}
        for wait, expected in (
            ("nowait", {}),
            ("wait.40", minute),
            ("nowait:40", minute),
            ("nowait.0", {}),
            ("nowait/3", {"max_connections": "3"}),
            ("nowait/0/40", minute),
            ("nowait/3/40/2", {"max_connections": "3", **minute, "max_per_source": "2"}),
            ("nowait/0/0/0", {}),
        ):
            self.assertEqual(self.one(entry(wait=wait)).stream_options, expected)

    def test_buffers(self) -> None:
        """Sizes of buffers are for streams and datagrams."""
        service = self.one(entry(protocol="udp,rcvbuf=16k,sndbuf=1m"))
        self.assertEqual(service.options, {"so_rcvbuf": "16KiB", "so_sndbuf": "1MiB"})
        service = self.one(entry(protocol="tcp,rcvbuf=16384"))
        self.assertEqual(service.options, {"so_rcvbuf": "16384"})

    def assert_left(self, line: str, shown: str = "", is_loud: bool = False) -> None:
        """Check that an entry is not converted, and that one line says so, as it is shown."""
        findings = found(line)
        self.assertEqual((findings.services, findings.left), ([], 1), line)
        (note,) = findings.notes
        self.assertEqual(str(note), f"not converted: service {shown or line} (f:1)")
        self.assertIs(note.is_loud, is_loud)

    def test_errors(self) -> None:
        """An entry with an error is not converted, and loud."""
        for line in (
            entry(protocol="tcp5"),
            entry(protocol="udp").replace("dgram", "stream"),
            entry().replace("stream", "raw"),
            entry(wait="wiat"),
            entry(wait="nowait.1/2"),
            entry(wait="nowait/1000001"),
            entry(protocol="tcp,rcvbuf=0"),
            entry(protocol="tcp,maxbuf=1"),
            entry(protocol="tcp,rcvbuf=9999999999"),
        ):
            self.assert_left(line, is_loud=True)
        for host in ("::1", "a,", "a_b", "1.2.3"):
            self.assert_left(entry(f"{host}:echo"), entry(), is_loud=True)

    def test_too_few_fields(self) -> None:
        """A line with too few fields is no service, and loud."""
        findings = found("echo stream tcp nowait root")
        self.assertEqual((findings.services, findings.left), ([], 0))
        (note,) = findings.notes
        self.assertEqual(str(note), "not converted: echo stream tcp nowait root (f:1)")
        self.assertTrue(note.is_loud)

    def test_left(self) -> None:
        """Services that the daemon does not have are not converted."""
        for line in (
            "ftp stream tcp nowait root /sbin/ftpd ftpd -l",
            "rstatd/1-3 dgram rpc/udp wait root /x",
            entry("auth"),
            entry("7"),
            "/tmp/x stream unix nowait root /bin/x",
        ):
            self.assert_left(line)

    def test_comments(self) -> None:
        """Comments are skipped, except those that have a meaning for Debian or FreeBSD."""
        findings = found("# x", "#echo stream tcp nowait root internal", "#@", "#@ ipsec ah/x")
        self.assertEqual(list(map(str, findings.notes)), ["not converted: #@ ipsec ah/x (f:4)"])
        self.assertTrue(findings.notes[0].is_loud)
        findings = found("#<off># " + entry())
        (note,) = findings.notes
        self.assertEqual(str(note), f"switched off: service {entry()} (f:1)")
        self.assertEqual(findings.off, 1)

    def test_notes(self) -> None:
        """The user and variants of TCP are not converted."""
        service = self.one(entry(protocol="tcp/ttcp").replace("root", "nobody:nobody/daemon"))
        self.assertEqual([note.text for note in service.notes],
                         ["user nobody:nobody/daemon", "tcp/ttcp"])

    def test_twice(self) -> None:
        """Of two entries at one address the first is converted."""
        findings = found(entry(), entry())
        self.assertEqual((len(findings.services), findings.left), (1, 1))
        self.assertEqual(str(findings.notes[0]), "not converted: service echo-stream (f:2)")
