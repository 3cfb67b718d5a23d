"""Tests for L{socketd.cli.migrate.xinetd_files}, its syntax, its services and its addresses."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.migrate.command import read
from socketd.cli.migrate.model import MAX_CAP, Findings, ForeignService, Place
from socketd.cli.migrate.xinetd_files import MAX_DEPTH, MAX_FILE_BYTES, MAX_FILES
from socketd.cli.migrate.xinetd_syntax import Attribute, entries
from socketd.cli.migrate.xinetd_values import Sources, changed, parse, written

REQUIRED = {"type": "INTERNAL", "socket_type": "stream", "wait": "no"}


def service(name: str = "echo", *more: str, **attributes: str) -> str:
    """Write an entry with more lines, or other attributes, than those that xinetd needs."""
    lines = [f"{key} = {value}" for key, value in (REQUIRED | attributes).items()]
    return "\n".join([f"service {name}", "{", *lines, *more, "}"]) + "\n"


def defaults(*lines: str) -> str:
    return "\n".join(["defaults", "{", *lines, "}"]) + "\n"


class XinetdTestCase(SynchronousTestCase):
    """Reads configurations."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def read(self, text: str) -> Findings:
        """Read a configuration."""
        self.path = self.directory / "xinetd.conf"
        self.path.write_text(text)
        return read([str(self.path)])

    def one(self, text: str) -> ForeignService:
        """Read a configuration that is in order and has one service."""
        findings = self.read(text)
        self.assertEqual((findings.left, findings.off), (0, 0))
        (found,) = findings.services
        return found

    def texts(self, findings: Findings) -> list[str]:
        """Show each note as C{LINE: TEXT}; those that are loud begin with an exclamation mark."""
        return [f"{'!' * note.is_loud}{note.place.line}: {note.text}" for note in findings.notes]

    def assert_left(self, text: str, *expected: str) -> None:
        """Read a configuration whose service is not converted; expected are L{texts}."""
        findings = self.read(text)
        self.assertEqual((findings.services, findings.left), ([], 1))
        self.assertEqual(self.texts(findings), list(expected))

    def refused(self, text: str, *expected: str) -> None:
        """Read a configuration whose service is not converted, because attributes are wrong."""
        self.assert_left(text, *(f"!{note}" for note in (*expected, "1: service echo")))


class SyntaxTests(SynchronousTestCase):
    """Tests for L{entries}."""

    def read(self, *lines: str) -> tuple[list[tuple[str, str, bool]], list[str]]:
        """Return keyword, name and whether it is broken, of each entry; and the loud notes."""
        findings = Findings()
        found = [(e.keyword, e.name, e.is_broken) for e in entries(list(lines), "f", findings)]
        return found, [note.text for note in findings.notes if note.is_loud]

    def test_comments(self) -> None:
        """Comments and empty lines stand anywhere; a backslash at the end continues nothing."""
        lines = ("# a \\", "service echo", "", "  # b", "{", "\t#c", " }  ", "include x")
        expected = [("service", "echo", False), ("include", "x", False)]
        self.assertEqual(self.read(*lines), (expected, []))

    def test_attributes(self) -> None:
        """A value needs no space in front of it, has as many words as it likes, or none."""
        lines = ["service echo", "{", "a =1 2\t3", "b += x=y", "c -=", "}"]
        (entry,) = entries(lines, "f", Findings())
        expected = [
            Attribute("a", "=", ("1", "2", "3"), Place("f", 3)),
            Attribute("b", "+=", ("x=y",), Place("f", 4)),
            Attribute("c", "-=", (), Place("f", 5)),
        ]
        self.assertEqual(list(entry.attributes), expected)

    def test_broken_attributes(self) -> None:
        """A line with a syntax error breaks its service; parsing continues after the service."""
        for line in ("disable=yes", "disable", "disable yes", "a * b"):
            found, notes = self.read("service echo", "{", line, "x = y", "}", "include x")
            self.assertEqual(found, [("service", "echo", True), ("include", "x", False)])
            self.assertEqual(notes, [line, "service echo"])

    def test_braces(self) -> None:
        """Braces are alone on their lines; without, the service is broken."""
        found, notes = self.read("service echo {", "a = b", "}", "include x")
        self.assertEqual(found, [("service", "echo", True), ("include", "x", False)])
        self.assertEqual(notes, ["service echo {"])
        self.assertEqual(self.read("service x"), ([("service", "x", True)], ["service x"]))
        found, notes = self.read("service echo", "{", "a = b")
        self.assertEqual((found, notes), ([("service", "echo", True)], ["service echo"]))

    def test_keywords(self) -> None:
        """A line without a keyword or a name is noted, and skipped with all that belongs to it."""
        found, notes = self.read("servce echo", "{", "}", "include", "}", "include x")
        self.assertEqual(found, [("include", "x", False)])
        self.assertEqual(notes, ["servce echo", "include"])


class AddressTests(SynchronousTestCase):
    """Tests for L{parse}, L{changed} and L{written}."""

    def test_forms(self) -> None:
        """All forms of xinetd.conf(5) are understood as it says."""
        for text, expected in (
            ("192.0.2.7", "192.0.2.7"),
            ("128.138.12.0", "128.138.12.0/24"),
            ("10.1.0.0", "10.1.0.0/16"),
            ("10.0.0.0", "10.0.0.0/8"),
            ("10.0.1.0", "10.0.1.0/24"),
            ("0.0.0.0", "any"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("192.0.2.0/25", "192.0.2.0/25"),
            ("192.0.2.9/24", "192.0.2.0/24"),
            ("10.0.0.0/32", "10.0.0.0"),
            ("128.138.{200,201}", "128.138.200.0/24 128.138.201.0/24"),
            ("192.0.2.{1,20,0}", "192.0.2.1 192.0.2.20 192.0.2.0"),
            ("{10,11}", "10.0.0.0/8 11.0.0.0/8"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("1234::5/46", "1234::/46"),
            ("::/0", "::/0"),
            ("localhost", "127.0.0.1 ::1"),
        ):
            attribute = Attribute("only_from", "=", (text,), Place("f", 1))
            self.assertEqual(written(changed((), attribute, False)), expected, text)

    def test_names(self) -> None:
        """Names of hosts, domains and networks are none of our networks."""
        for text in ("host.example.com", ".example.com", "loopback-net", "a_b"):
            self.assertEqual(parse(text), ())

    def test_wrong(self) -> None:
        """An invalid address is refused, and so is one that xinetd reads in two ways."""
        for text in (
            "192.0.2.1,192.0.2.2", "192.0.2.{1,2", "192.0.2.{1,,2}", "{1,2}.3", "192.0.2.{256}",
            "1.2.3.4.{5}", "10.1", "192.168.", "192.0.2.010", "300.0.0.1", "192.0.2.0/33",
            "192.0.2.0/255.255.255.0", "host/24", "::1::", "fe80::1%eth0", "fe80::1%eth0/64",
            "::/129", "a$b",
        ):  # fmt: skip
            self.assertRaises(ValueError, parse, text)

    def test_operators(self) -> None:
        """= replaces, += adds and -= removes the same network, however it is written."""
        sources: Sources = ()
        for operator, values, expected in (
            ("=", ("10.0.0.0", "192.0.2.1"), "10.0.0.0/8 192.0.2.1"),
            ("+=", ("192.0.2.{2,3}", "host"), "10.0.0.0/8 192.0.2.1 192.0.2.2 192.0.2.3"),
            ("-=", ("10.0.0.0/8", "HOST", "198.51.100.1"), "192.0.2.1 192.0.2.2 192.0.2.3"),
            ("=", ("::1",), "::1"),
            ("=", (), ""),
        ):
            attribute = Attribute("only_from", operator, values, Place("f", 1))
            sources = changed(sources, attribute, is_cumulative=False)
            self.assertEqual(written(sources), expected)

    def test_cumulative(self) -> None:
        """In defaults = adds."""
        sources: Sources = ()
        for text in ("192.0.2.1", "192.0.2.2"):
            attribute = Attribute("only_from", "=", (text,), Place("f", 1))
            sources = changed(sources, attribute, is_cumulative=True)
        self.assertEqual(written(sources), "192.0.2.1 192.0.2.2")


class DefaultsTests(XinetdTestCase):
    """Tests for what services have from C{defaults}."""

    def test_access(self) -> None:
        """A service adds to the lists of defaults, takes from them or has its own."""
        begin = defaults("only_from = 192.0.2.1", "only_from = 192.0.2.2", "no_access = ::1")
        for line, expected in (
            ("", "192.0.2.1 192.0.2.2"),
            ("only_from += 192.0.2.3", "192.0.2.1 192.0.2.2 192.0.2.3"),
            ("only_from -= 192.0.2.1", "192.0.2.2"),
            ("only_from = 192.0.2.4", "192.0.2.4"),
        ):
            found = self.one(begin + service("echo", line))
            self.assertEqual(found.options, {"allow": expected, "deny": "::1"})

    def test_access_before(self) -> None:
        """The lists of defaults that come after a service are not for it; limits are."""
        found = self.one(service() + defaults("only_from = 192.0.2.1", "instances = 7"))
        self.assertEqual((found.options, found.stream_options), ({}, {"max_connections": "7"}))

    def test_limits(self) -> None:
        """A limit of the service's own wins."""
        begin = defaults("instances = 7", "per_source = 2", "cps = 25 30", "instances = 8")
        own = {"max_connections": "3", "accept_rate": "25/s", "accept_burst": "25"}
        found = self.one(begin + service(instances="3", per_source="UNLIMITED"))
        self.assertEqual(found.stream_options, own)
        self.assertIn("per_source = UNLIMITED", [note.text for note in found.notes])

    def test_bind(self) -> None:
        """So does an address; interface is another word for it."""
        begin = defaults("interface = 192.0.2.1")
        for text, address in ((service(), "192.0.2.1"), (service(bind="192.0.2.2"), "192.0.2.2")):
            found = self.one(begin + text)
            self.assertEqual(list(map(str, found.addresses)), [f"tcp:7:interface={address}"])

    def test_errors(self) -> None:
        """After an error in the lists of defaults no service is converted: it may be too open."""
        for line in ("only_from = 192.0.2.1,192.0.2.2", "no_access"):
            findings = self.read(defaults(line) + service())
            self.assertEqual((findings.services, findings.left), ([], 1))
            self.assertTrue(findings.notes[0].is_loud)

    def test_not_converted(self) -> None:
        """Unconverted attributes of defaults are noted once, loud if they may restrict access."""
        lines = [
            "max_load = 2",
            "umask = 022",
            "instances = 1",
            "instances = 2",
            "cps += 1 2",
            "disable = yes",
            "only_form = 192.0.2.1",
        ]
        findings = self.read(defaults(*lines) + service())
        notes = [
            "!3: defaults, max_load = 2",
            "4: defaults, umask = 022",
            "6: defaults, instances = 2",
            "7: defaults, cps += 1 2",
            "!8: defaults, disable = yes",
            "!9: defaults, only_form = 192.0.2.1",
        ]
        self.assertEqual(self.texts(findings), notes)

    def test_twice(self) -> None:
        """Of two defaults in one file the first counts, and the other is loud."""
        findings = self.read(defaults("instances = 1") + defaults("instances = 2") + service())
        self.assertEqual(findings.services[0].stream_options, {"max_connections": "1"})
        self.assertEqual(self.texts(findings), ["!5: defaults"])

    def test_switches(self) -> None:
        """disabled and enabled go by the id; disable beats enabled; an unknown name is told."""
        text = service(id="echo-stream") + service("time", id="time-stream", disable="yes")
        for lines, off in (
            (["disabled = echo-stream"], {"echo-stream", "time-stream"}),
            (["enabled = echo-stream time-stream"], {"time-stream"}),
            (["enabled = echo"], {"echo-stream", "time-stream"}),
            (["enabled = x", "enabled += echo-stream"], {"time-stream"}),
        ):
            findings = self.read(defaults(*lines) + text)
            names = [note.text.removeprefix("service ") for note in findings.notes]
            self.assertEqual((findings.off, off - set(names)), (len(off), set()))
        self.assertIn("3: enabled = x", self.texts(findings))


class CaseTests(XinetdTestCase):
    """Tests for what xinetd compares without case: keywords, names of attributes, words, ids."""

    def test_restricted(self) -> None:
        """A restricted service stays restricted."""
        text = service("echo", "Only_From = 192.0.2.0/24", "NO_ACCESS = 192.0.2.7")
        expected = {"allow": "192.0.2.0/24", "deny": "192.0.2.7"}
        self.assertEqual(self.one(text).options, expected)
        text = defaults("ONLY_FROM = 192.0.2.0/24") + service("echo", "Only_From += 192.0.2.7")
        self.assertEqual(self.one(text).options, {"allow": "192.0.2.0/24 192.0.2.7"})
        text = defaults("No_Access = 192.0.2.7").replace("defaults", "DEFAULTS") + service()
        self.assertEqual(self.one(text).options, {"deny": "192.0.2.7"})

    def test_switched_off(self) -> None:
        """A service that is switched off is not converted."""
        for text in (
            service(disable="YES"),
            service("echo", "Disable = yes"),
            service("echo", "DISABLE = Yes"),
            defaults("Disabled = ECHO") + service(),
            defaults("disabled = my-echo") + service("echo", "ID = My-Echo"),
            defaults("ENABLED = time") + service(),
        ):
            findings = self.read(text)
            self.assertEqual((findings.services, findings.left, findings.off), ([], 0, 1), text)
        found = self.one(defaults("Enabled = Echo") + service("echo", "Disable = No"))
        self.assertEqual(found.name, "echo")

    def test_whole(self) -> None:
        """A whole file in another case is the same file."""
        text = defaults("Instances = unlimited", "Cps = 5 10", "Per_Source = Unlimited")
        text += service(
            "echo", "Flags = nodelay ipv4", "V6Only = NO", "Bind = 192.0.2.1", port="7",
        ).replace("stream", "STREAM").replace("INTERNAL", "Internal")  # fmt: skip
        text += service("Time", type="Unlisted internal", port="3700", protocol="TCP")
        upper = [line.partition(" ") for line in text.splitlines()]
        changed = "\n".join(f"{word.swapcase()} {rest}" for word, _, rest in upper)
        for one in (text, changed):
            echo, time = self.read(one).services
            self.assertEqual(list(map(str, echo.addresses)), ["tcp:7:interface=192.0.2.1"])
            limits = {"accept_rate": "5/s", "accept_burst": "5", "tcp_nodelay": "yes"}
            self.assertEqual(echo.stream_options, limits)
            self.assertEqual((time.name, time.addresses[0].port), ("time", 3700))

    def test_name_has_case(self) -> None:
        """The list of ports has case: xinetd does not start what it does not find there."""
        self.assert_left(service("ECHO"), "1: service ECHO")

    def test_keywords(self) -> None:
        """Files are included, and known for xinetd's, by keywords of any case."""
        (self.directory / "more").write_text(service().replace("service", "SERVICE"))
        for word in ("Include", "INCLUDE"):
            self.assertEqual(self.one(f"{word} more\n").name, "echo")


class ServiceTests(XinetdTestCase):
    """Tests for single services."""

    def addresses(self, **attributes: str) -> list[str]:
        return list(map(str, self.one(service(**attributes)).addresses))

    def test_families(self) -> None:
        """Without a flag, and with IPv6, a service is IPv4 and IPv6, unless v6only is set."""
        both, only = ["tcp:7", "tcp6:7:optional=yes"], ["tcp6:7:optional=yes"]
        self.assertEqual(self.addresses(), both)
        self.assertEqual(self.addresses(flags="IPv6 REUSE"), both)
        self.assertEqual(self.addresses(flags="IPv4"), ["tcp:7"])
        self.assertEqual(self.addresses(v6only="yes"), only)
        self.assertEqual(self.addresses(flags="IPv6", v6only="yes"), only)
        datagrams = {"socket_type": "dgram", "protocol": "udp"}
        self.assertEqual(self.addresses(**datagrams), ["udp:7", "udp6:7:optional=yes"])
        self.assertEqual(self.addresses(bind="0.0.0.0"), ["tcp:7"])
        self.assertEqual(self.addresses(bind="::"), both)

    def test_bind(self) -> None:
        """An address brings its family, a host name that of the flag."""
        for bind, flags, expected in (
            ("192.0.2.1", "IPv4", "tcp:7:interface=192.0.2.1"),
            ("2001:db8:0::1", "REUSE", r"tcp6:7:interface=2001\:db8\:\:1"),
            ("::ffff:192.0.2.1", "REUSE", "tcp:7:interface=192.0.2.1"),
            ("fe80::1%eth0", "IPv6", r"tcp6:7:interface=fe80\:\:1%eth0"),
            ("host.example", "REUSE", "tcp:7:interface=host.example"),
            ("host.example", "IPv6", "tcp6:7:interface=host.example"),
        ):
            self.assertEqual(self.addresses(bind=bind, flags=flags), [expected])

    def test_wrong_bind(self) -> None:
        """An invalid address, or one that does not match a flag, is refused."""
        for bind, flags in (
            ("192.0.2.1", "IPv6"), ("::1", "IPv4"), ("a:b", "REUSE"), ("300.1.1.1", "REUSE"),
            ("x;y", "REUSE"), ("192.0.2.1 192.0.2.2", "REUSE"),
        ):  # fmt: skip
            self.refused(service(bind=bind, flags=flags), f"6: bind = {bind}")
        self.refused(service(bind=""), "6: bind =")

    def test_port(self) -> None:
        """A port other than the assigned one needs UNLISTED, and UNLISTED needs a port."""
        self.assertEqual(self.addresses(port="7", flags="IPv4"), ["tcp:7"])
        unlisted = {"type": "INTERNAL UNLISTED", "flags": "IPv4"}
        self.assertEqual(self.addresses(port="7007", **unlisted), ["tcp:7007"])
        self.refused(service(**unlisted), "3: type = INTERNAL UNLISTED")
        for port in ("7007", "0", "65536", "echo", "-1", "7.0"):
            self.refused(service(port=port), f"6: port = {port}")
        self.refused(service(port="0", **unlisted), "6: port = 0")

    def test_limits(self) -> None:
        """Limits are converted, except none and those above the daemon's highest."""
        for attributes, expected in (
            ({"instances": "5"}, {"max_connections": "5"}),
            ({"per_source": "5"}, {"max_per_source": "5"}),
            ({"cps": "50 10"}, {"accept_rate": "50/s", "accept_burst": "50"}),
            ({"cps": "5000000 10"}, {"accept_rate": "5000000/s", "accept_burst": "1000000"}),
            ({"cps": "0 0"}, {}),
            ({"instances": "UNLIMITED"}, {}),
            ({"instances": str(MAX_CAP + 1)}, {}),
        ):
            found = self.one(service(**attributes))
            self.assertEqual(found.stream_options, expected)
            self.assertEqual(len(found.notes), 1 if expected else 2)

    def test_wrong_limits(self) -> None:
        """All wrong attributes of a service are noted at once."""
        text = service(instances="0", per_source="many", cps="50", disable="maybe", v6only="x")
        self.refused(
            text, "9: disable = maybe", "6: instances = 0", "7: per_source = many", "8: cps = 50",
            "10: v6only = x",
        )  # fmt: skip

    def test_flags(self) -> None:
        """Two flags have options, for streams; others are noted."""
        found = self.one(service(flags="NODELAY KEEPALIVE IDONLY NORETRY"))
        self.assertEqual(found.stream_options, {"tcp_nodelay": "yes", "so_keepalive": "yes"})
        notes = [(note.text, note.is_loud) for note in found.notes]
        self.assertEqual(notes[1:], [("flags IDONLY", True), ("flags NORETRY", False)])
        found = self.one(service(socket_type="dgram", flags="KEEPALIVE"))
        self.assertEqual(found.stream_options, {})
        self.refused(service(flags="KEEPALIV"), "6: flags = KEEPALIV")

    def test_socket_type(self) -> None:
        """Type and protocol go together; one of them is enough."""
        text = service().replace("socket_type = stream", "protocol = udp")
        self.assertEqual(self.one(text).type, "dgram")
        self.refused(service(socket_type="raw"), "4: socket_type = raw")
        self.refused(service(protocol="udp"), "6: protocol = udp")
        self.refused(service(protocol="icmp"), "6: protocol = icmp")
        self.refused(service().replace("socket_type = stream\n", ""))

    def test_host_names(self) -> None:
        """A host name is loud; without networks, every peer is refused."""
        found = self.one(service(only_from="host.example 192.0.2.1", no_access=".bad.example"))
        self.assertEqual(found.options, {"allow": "192.0.2.1"})
        loud = [note.text for note in found.notes if note.is_loud]
        self.assertEqual(loud, ["only_from host.example", "no_access .bad.example"])
        # So does an empty list.
        for sources in ("host.example", ""):
            self.assertEqual(self.one(service(only_from=sources)).options, {"allow": ""})

    def test_wrong_addresses(self) -> None:
        """A service with an invalid address is not converted, rather than opened."""
        text = service("echo", "no_access = 10.1", "only_from = 1.2.3.4/99")
        self.refused(text, "6: no_access = 10.1", "7: only_from = 1.2.3.4/99")

    def test_nothing_is_lost(self) -> None:
        """Each unconverted attribute is a note with its line, loud if it may restrict access."""
        lines = (
            "user = root", "nice = 10", "access_times = 2:00-9:00", "log_on_success += HOST",
            "banner = /etc/issue", "libwrap = x", "max_load = 2.5", "spleen = 1", "env = A=B",
            "user = nobody", "user += x", "deny_time = 3",
        )  # fmt: skip
        notes = self.one(service("echo", *lines)).notes
        expected = {5: "wait = no", **dict(enumerate(lines, 6))}
        self.assertEqual({note.place.line: note.text for note in notes}, expected)
        loud = [note.place.line for note in notes if note.is_loud]
        self.assertEqual(sorted(loud), [8, 11, 12, 13])

    def test_left(self) -> None:
        """Services that the daemon does not have, or xinetd does not start, are not converted."""
        for text in (
            service("servers"),
            service(type="RPC"),
            service(type="UNLISTED"),
            service(type="UNLISTED", server="/bin/x"),
            service(flags="SENSOR"),
            service(flags="IPv4 IPv6"),
            service().replace("wait = no", ""),
        ):
            self.assert_left(text, f"1: {text.partition(chr(10))[0]}")

    def test_twice(self) -> None:
        """Of services at one address the first is served; another keeps what is free."""
        findings = self.read(service(flags="IPv4") + service(id="b") + service(id="c"))
        kept = [list(map(str, found.addresses)) for found in findings.services]
        self.assertEqual(kept, [["tcp:7"], ["tcp6:7:optional=yes"]])
        self.assertEqual(findings.services[1].notes[-1].text, "tcp:7")
        self.assertEqual(self.texts(findings), ["15: service c"])


class FileTests(XinetdTestCase):
    """Tests for what is included."""

    def test_include(self) -> None:
        """Files and directories are read where they are named; their defaults count, too."""
        (self.directory / "d").mkdir()
        (self.directory / "d" / "b").write_text(service("time"))
        (self.directory / "d" / "a").write_text(service("daytime"))
        (self.directory / "more").write_text(defaults("instances = 3"))
        findings = self.read(service() + "includedir d\ninclude more\n")
        self.assertEqual([found.name for found in findings.services], ["echo", "daytime", "time"])
        for found in findings.services:
            self.assertEqual(found.stream_options, {"max_connections": "3"})
        self.assertEqual(findings.files[1], str(self.directory / "d" / "a"))

    def test_missing(self) -> None:
        """What cannot be read is told with the line that names it."""
        (self.directory / "d").mkdir()
        (self.directory / "d" / "x").mkdir()
        big = self.directory / "big"
        big.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
        text = "include nowhere\nincludedir nowhere\nincludedir d\ninclude big\n"
        findings = self.read(text)
        reasons = (
            "nowhere: no such file or directory",
            "nowhere: no such file or directory",
            "d/x: not a regular file",
            f"big: larger than {MAX_FILE_BYTES} bytes",
        )
        for number, (note, reason) in enumerate(zip(findings.notes, reasons, strict=True), 1):
            expected = f"not read: {self.directory}/{reason} ({self.path}:{number})"
            self.assertEqual(str(note), expected)
            self.assertTrue(note.is_loud)

    def test_circle(self) -> None:
        """A file that includes itself ends."""
        findings = self.read("include xinetd.conf\n" + service())
        self.assertEqual(len(findings.files), MAX_DEPTH + 1)
        error, *others = map(str, findings.notes)
        self.assertIn(f"{MAX_DEPTH} files include each other ({self.path}:1)", error)
        self.assertEqual((len(findings.services), len(set(others))), (1, 1))

    def test_doubling(self) -> None:
        """Files that include others twice are read up to a limit."""
        findings = self.read("include xinetd.conf\n" * 2)
        self.assertEqual(len(findings.files), MAX_FILES)
        self.assertIn(f"more than {MAX_FILES} files", str(findings.notes[-1]))
