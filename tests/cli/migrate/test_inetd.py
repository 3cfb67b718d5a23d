"""Tests for L{socketd.cli.migrate.inetd}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.migrate.inetd import read
from socketd.cli.migrate.ini_writer import join, write
from socketd.cli.migrate.model import Findings, Service


def found(*lines: str) -> Findings:
    """Read lines."""
    findings = Findings()
    read(list(lines), "f", findings)
    return findings


def entry(name: str = "echo", protocol: str = "tcp4", wait: str = "nowait") -> str:
    """Write an entry."""
    kind = "dgram" if protocol.startswith("udp") else "stream"
    return f"{name} {kind} {protocol} {wait} root internal"


class InetdTests(SynchronousTestCase):
    """Tests for entries."""

    def one(self, *lines: str) -> Service:
        """Read lines that are in order and have one service."""
        findings = found(*lines)
        self.assertEqual((findings.problems, findings.left), ([], []))
        (service,) = findings.services
        return service

    def addresses(self, *lines: str) -> list[str]:
        """Tell where all services are served."""
        findings = found(*lines)
        self.assertEqual(findings.problems, [])
        return [str(address) for service in findings.services for address in service.addresses]

    def test_protocols(self) -> None:
        """
        A protocol has its families; without a number it is both, unless IPv6 has its own line.
        """
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

    def test_families_differ(self) -> None:
        """
        Where inetds differ in what a protocol is served over, that is said: for tcp, and for
        tcp6 if IPv4 has no line.
        """
        for protocols, hints in (
            (["tcp"], {"plain"}),
            (["tcp4"], set()),
            (["tcp6"], {"mapped"}),
            (["udp6", "tcp4"], {"mapped"}),
            (["udp6", "udp4"], set()),
            (["tcp6only"], set()),
            (["tcp46"], set()),
            (["tcp6", "tcp"], set()),
        ):
            findings = found(*[entry(protocol=protocol) for protocol in protocols])
            self.assertEqual(set(findings.hints), hints, protocols)
        text = write(findings := found(entry(protocol="tcp6")), join(findings.services), {})
        self.assertIn("For inetd of\n;     GNU they are IPv4 too", text)
        self.assertIn(";     (f:1)\n", text)

    def test_hosts(self) -> None:
        """
        Hosts stand in front of one service, or in front of all below until the next such line.
        """
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
        """
        A line that begins with white space goes on with the entry before it, not with a comment.
        """
        lines = ["echo stream", "\ttcp4 nowait", "   ", " root internal", "# x"]
        self.assertEqual(self.one(*lines).place.line, 1)
        services = found(*lines, "  " + entry("time")).services
        self.assertEqual([(s.name, s.place.line) for s in services], [("echo", 1), ("time", 6)])
        findings = found("echo stream", "", "\ttcp4 nowait root internal")
        self.assertEqual([problem.place.line for problem in findings.problems], [1, 3])

    def test_limits(self) -> None:
        """
        What is behind wait limits connections: OpenBSD's in a minute; FreeBSD's in all, of one
        source in a minute and at once, each of which may be 0 for none.
        """
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

    def test_problems(self) -> None:
        """What is wrong is told with its line, and the service is not taken."""
        for line, expected in (
            ("echo stream tcp nowait root", "f:1: echo stream tcp nowait root has too few fields"),
            (entry(protocol="tcp5"), "f:1: echo/tcp5: tcp5 is no protocol of type stream"),
            (entry(protocol="udp").replace("dgram", "stream"), "udp is no protocol of type"),
            (entry().replace("stream", "raw"), "raw is no type of socket; stream or dgram"),
            (entry(wait="wiat"), "f:1: echo/tcp4: wiat is neither wait nor nowait"),
            (entry(wait="nowait.1/2"), "nowait.1/2 has more than one number"),
            (entry(wait="nowait/1000001"), "1000001 is above 1000000"),
            (entry(protocol="tcp,rcvbuf=0"), "rcvbuf=0 is no size of a buffer"),
            (entry(protocol="tcp,maxbuf=1"), "maxbuf=1 is no size of a buffer"),
            (entry("::1:echo"), "::1 is an IPv6 address, and the service is not"),
            (entry("a,:echo"), "there is no host in front of the colon"),
            (entry("a_b:echo"), "a_b is neither an address nor a host name"),
        ):
            findings = found(line)
            self.assertEqual(findings.services, [], line)
            self.assertIn(expected, str(findings.problems[0]))

    def test_left(self) -> None:
        """What the daemon has not is left with the reason."""
        for line, expected in (
            ("ftp stream tcp nowait root /sbin/ftpd ftpd -l", "starts the program /sbin/ftpd;"),
            ("rstatd/1-3 dgram rpc/udp wait root /x", "is a service of RPC"),
            (entry("auth"), "is built into inetd, and not into the daemon"),
            (entry("7"), "is built into inetd, and not into the daemon"),
            ("/tmp/x stream unix nowait root /bin/x", "starts the program /bin/x"),
        ):
            findings = found(line)
            self.assertEqual((findings.services, findings.problems), ([], []))
            self.assertIn(expected, str(findings.left[0]))

    def test_comments(self) -> None:
        """Comments are passed over, but those that mean something to Debian or FreeBSD."""
        findings = found("# x", "#echo stream tcp nowait root internal", "#@", "#@ ipsec ah/x")
        self.assertEqual([str(remark)[:11] for remark in findings.remarks], ["f:4: ipsec "])
        findings = found("#<off># " + entry())
        expected = "f:1: echo stream tcp4 is switched off by #<off>#"
        self.assertEqual(list(map(str, findings.off)), [expected])

    def test_remarks(self) -> None:
        """User and variants of TCP have no counterpart."""
        service = self.one(entry(protocol="tcp/ttcp").replace("root", "nobody:nobody/daemon"))
        told = [str(remark) for remark in service.remarks]
        self.assertIn("user nobody:nobody/daemon: the daemon has one user", told[0])
        self.assertIn("/ttcp behind tcp has no counterpart", told[1])

    def test_twice(self) -> None:
        """Of two entries at one address the first is taken."""
        findings = found(entry(), entry())
        self.assertEqual(len(findings.services), 1)
        self.assertEqual(str(findings.left[0]), "f:2: echo-stream is at the address of f:1")
