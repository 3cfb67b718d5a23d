"""Tests for L{socketd.cli.system.unit}, its networks and its paths."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.system import unit as unit_module
from socketd.cli.system.unit import DESCRIPTORS, doubts, quoted, write
from socketd.cli.system.unit_network import MAX_RULES
from socketd.common.paths import SYSTEM_RUNTIME
from socketd.protocols.registry import installed
from socketd.settings.load import parse
from socketd.settings.model import (
    AccessOptions,
    DaemonOptions,
    ServiceOptions,
    Settings,
    SocketOptions,
)
from socketd.settings.options import declared
from socketd.settings.tls import TlsOptions
from tests.support.client_fakes import CommandTestCase
from tests.support.source_tree import ROOT

SHIPPED = ROOT / "etc" / "systemd" / "socketd.service"

FILE = "/etc/socketd/socketd.ini"
TWISTD = "/usr/lib/socketd/bin/twistd"
ECHO = "[echo]\nlisten = tcp:7\n"

#: What follows from the configuration.
DERIVED = {
    "After", "Wants", "ExecStart", "TimeoutStopSec", "LimitNOFILE", "AmbientCapabilities",
    "CapabilityBoundingSet", "PrivateUsers", "MemoryDenyWriteExecute", "RestrictAddressFamilies",
    "SocketBindDeny", "SocketBindAllow", "PrivateNetwork", "IPAddressDeny", "IPAddressAllow",
    "ProtectHome", "ReadWritePaths", "BindPaths", "BindReadOnlyPaths", "WorkingDirectory",
}  # fmt: skip


def groups() -> Iterator[type[Any]]:
    yield from (DaemonOptions, ServiceOptions, AccessOptions, SocketOptions, TlsOptions)
    for declaration in installed().values():
        yield declaration.options


def naming_files() -> Iterator[tuple[str, str, str]]:
    """List the options that name files: protocol, name, and how a path stands in it."""
    protocols = {declaration.options: name for name, declaration in installed().items()}
    for group in groups():
        for name, found in declared(group).items():
            for form in ("{}", "name.example = {}"):
                if list(found.type.files(form.format("/a.pem"))) == ["/a.pem"]:
                    yield protocols.get(group, "echo"), name, form


def loaded(text: str) -> Settings:
    """Load a configuration."""
    return parse(text, FILE, installed(), SYSTEM_RUNTIME)


def directives(text: str) -> list[tuple[str, str]]:
    """Take a unit apart: names and values, without sections and comments."""
    lines = [line for line in text.splitlines() if line and line[0] not in "#["]
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


class UnitCase(SynchronousTestCase):
    """A unit for a configuration."""

    def unit(self, text: str) -> dict[str, list[str]]:
        """Write one, and give its values by name."""
        values: dict[str, list[str]] = {}
        for name, value in directives(write(loaded(text), FILE, TWISTD)):
            values.setdefault(name, []).append(value)
        return values


class ShippedTests(UnitCase):
    """Tests for what does not depend on the configuration."""

    def test_same_as_shipped(self) -> None:
        """All that does not follow from the configuration is as in the unit that is shipped."""
        ours = directives(write(loaded(ECHO), FILE, TWISTD))
        shipped = directives(SHIPPED.read_text())
        self.assertEqual(
            sorted(pair for pair in ours if pair[0] not in DERIVED),
            sorted(pair for pair in shipped if pair[0] not in DERIVED),
        )

    def test_same_start(self) -> None:
        """For the usual places the command line is the shipped one, too."""
        shipped = dict(directives(SHIPPED.read_text()))["ExecStart"]
        self.assertEqual(self.unit(ECHO)["ExecStart"], [shipped])


class PortTests(UnitCase):
    """Tests for capabilities and ports."""

    def test_capability(self) -> None:
        """A port below 1024 takes the one capability, outside a user namespace; others none."""
        for listen, capability, namespace in (
            ("tcp:7, udp6:1023", "CAP_NET_BIND_SERVICE", None),
            ("tcp:1024", "", ["yes"]),
        ):
            unit = self.unit(f"[echo]\nlisten = {listen}\n")
            self.assertEqual(unit["AmbientCapabilities"], [capability])
            self.assertEqual(unit["CapabilityBoundingSet"], [capability])
            self.assertEqual(unit.get("PrivateUsers"), namespace)

    def test_operators_keep_their_uid(self) -> None:
        """With a control socket the daemon sees the uids of its operators."""
        unit = self.unit(
            "[socketd]\ncontrol = {runtime}/control.sock\n[echo]\nlisten = tcp:1024\n"
        )
        self.assertNotIn("PrivateUsers", unit)
        self.assertNotIn("ReadWritePaths", unit)

    def test_just_the_ports(self) -> None:
        """Each listener has its rule, once; UNIX sockets and inherited ones need none."""
        unit = self.unit(
            "[echo]\nlisten = tcp:7007, tcp:7007:interface=127.0.0.1, udp6:7008, tls6:7009,"
            " unix:/run/socketd/x.sock, systemd:x\ntls_certificate = /c\ntls_key = /k\n"
            "[socketd]\nhttp = tcp:9155:interface=127.0.0.1\n"
        )
        self.assertEqual(unit["SocketBindDeny"], ["any"])
        expected = ["ipv4:tcp:7007", "ipv6:udp:7008", "ipv6:tcp:7009", "ipv4:tcp:9155"]
        self.assertEqual(unit["SocketBindAllow"], expected)

    def test_further_ports(self) -> None:
        """The ports that a protocol opens are a range, at each kind of its listeners."""
        unit = self.unit("[ipsla]\nlisten = udp:1967, udp6:1967\nports = 50000..50010\n")
        expected = ["ipv4:udp:1967", "ipv6:udp:1967"]
        expected += ["ipv4:udp:50000-50010", "ipv6:udp:50000-50010"]
        self.assertEqual(unit["SocketBindAllow"], expected)

    def test_any_port(self) -> None:
        """A port that the kernel chooses can be any of its transport."""
        unit = self.unit("[echo]\nlisten = tcp:0, tcp:7007\n")
        self.assertEqual(unit["SocketBindAllow"], ["ipv4:tcp", "ipv4:tcp:7007"])
        self.assertEqual(unit["AmbientCapabilities"], [""])

    def test_too_many_ports(self) -> None:
        """More rules than systemd takes become one for each transport."""
        ports = ", ".join(f"tcp:{port}" for port in range(2000, 2000 + MAX_RULES))
        unit = self.unit(f"[echo]\nlisten = {ports}\n")
        self.assertEqual(len(unit["SocketBindAllow"]), MAX_RULES)
        unit = self.unit(f"[echo]\nlisten = {ports}, udp:7007\n")
        self.assertEqual(unit["SocketBindAllow"], ["ipv4:tcp", "ipv4:udp"])
        most = ports.rpartition(", ")[0]
        unit = self.unit(f"[echo]\nlisten = {most}\n[ipsla]\nlisten = udp:1967\n")
        self.assertEqual(unit["SocketBindAllow"], ["ipv4:tcp", "ipv4:udp"])


class NetworkTests(UnitCase):
    """Tests for address families and networks."""

    def families(self, listeners: str) -> str:
        [found] = self.unit(f"[echo]\nlisten = {listeners}\n")["RestrictAddressFamilies"]
        return found

    def test_families(self) -> None:
        """systemd is told by a UNIX socket; datagrams need the machine's addresses."""
        self.assertEqual(self.families("unix:/run/socketd/x.sock"), "AF_UNIX")
        self.assertEqual(self.families("tcp:7007"), "AF_UNIX AF_INET")
        self.assertEqual(self.families("tcp6:7007"), "AF_UNIX AF_INET6")
        self.assertEqual(self.families("udp:7007"), "AF_UNIX AF_INET AF_NETLINK")

    def test_only_inherited(self) -> None:
        """Without bound listeners there is no network beyond what the socket units let in."""
        unit = self.unit("[echo]\nlisten = systemd:echo\n")
        self.assertEqual(unit["PrivateNetwork"], ["yes"])
        self.assertEqual(unit["IPAddressDeny"], ["any"])
        self.assertEqual(unit["RestrictAddressFamilies"], ["AF_UNIX"])
        self.assertEqual(unit["SocketBindDeny"], ["any"])
        self.assertNotIn("SocketBindAllow", unit)
        self.assertNotIn("IPAddressAllow", unit)

    def test_any_peer(self) -> None:
        """If one service has no networks, there is no filter."""
        text = "[echo]\nlisten = udp:7007\nallow = 192.0.2.0/24\n[discard]\nlisten = tcp:7008\n"
        unit = self.unit(text)
        self.assertNotIn("IPAddressDeny", unit)
        self.assertNotIn("IPAddressAllow", unit)
        self.assertNotIn("PrivateNetwork", unit)

    def test_allowed(self) -> None:
        """Otherwise the allowed networks are let in; denied parts are left to the daemon."""
        unit = self.unit(
            "[echo]\nlisten = tcp:7007\nallow = 192.0.2.0/24 2001:db8::/32\ndeny = 192.0.2.7\n"
            "[discard]\nlisten = tcp:7008\nallow = 192.0.2.0/24 198.51.100.7\n"
        )
        self.assertEqual(unit["IPAddressDeny"], ["any"])
        expected = ["192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32"]
        self.assertEqual(unit["IPAddressAllow"], expected)

    def test_datagrams(self) -> None:
        """Datagrams are for loopback and private networks where nothing is said."""
        unit = self.unit("[echo]\nlisten = udp:7007\n")
        self.assertEqual(
            unit["IPAddressAllow"],
            ["10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
             "192.168.0.0/16", "::1/128", "fc00::/7", "fe80::/10"],
        )  # fmt: skip

    def test_loopback(self) -> None:
        """What is bound to loopback gets packets of loopback only."""
        unit = self.unit("[echo]\nlisten = tcp:7007:interface=127.0.0.1\n")
        self.assertEqual(unit["IPAddressAllow"], ["127.0.0.0/8", "::1/128"])
        self.assertEqual(unit["After"], ["network.target"])

    def test_balancers(self) -> None:
        """Behind a balancer its networks are let in, not those of its clients."""
        unit = self.unit(
            "[echo]\nlisten = haproxy:tcp:7007\nproxy_from = 192.0.2.1\nallow = 198.51.100.0/24\n"
        )
        self.assertEqual(unit["IPAddressAllow"], ["192.0.2.1/32"])

    def test_figures(self) -> None:
        """Metrics on loopback are for this machine only."""
        text = "[socketd]\nhttp = tcp:9155{}\n[echo]\nlisten = udp:7007\nallow = 192.0.2.1\n"
        unit = self.unit(text.format(":interface=127.0.0.1"))
        self.assertEqual(unit["IPAddressAllow"], ["127.0.0.0/8", "192.0.2.1/32", "::1/128"])

    def test_host_name(self) -> None:
        """A host name needs a DNS server, which may have any address: there is no filter."""
        unit = self.unit("[echo]\nlisten = udp:7007:interface=echo.example\n")
        self.assertNotIn("IPAddressDeny", unit)

    def test_own_address(self) -> None:
        """An address that the machine may get later is waited for."""
        unit = self.unit("[echo]\nlisten = udp:7007:interface=192.0.2.1\n")
        self.assertEqual(unit["After"], ["network-online.target"])
        self.assertEqual(unit["Wants"], ["network-online.target"])
        unit = self.unit("[echo]\nlisten = udp:7007, tcp6:7007:interface=\\:\\:\n")
        self.assertEqual(unit["After"], ["network.target"])


class PlaceTests(UnitCase):
    """Tests for files, times and limits."""

    TLS = "[echo]\nlisten = {}\ntls_certificate = {}\ntls_key = /etc/socketd/key\n"

    def test_tls(self) -> None:
        """Only without TLS no memory is both written and run."""
        for listener in ("tls:7007", "systemd:x:tls=yes"):
            unit = self.unit(self.TLS.format(listener, "/etc/socketd/c"))
            self.assertNotIn("MemoryDenyWriteExecute", unit, listener)
        self.assertEqual(self.unit(ECHO)["MemoryDenyWriteExecute"], ["yes"])

    def test_homes(self) -> None:
        """Certificates in a home directory can be read."""
        unit = self.unit(self.TLS.format("tls:7007", "/home/me/c"))
        self.assertEqual(unit["ProtectHome"], ["read-only"])
        self.assertEqual(self.unit(ECHO)["ProtectHome"], ["yes"])

    def test_sockets_elsewhere(self) -> None:
        """Directories of UNIX sockets can be written to, beside the daemon's own."""
        unit = self.unit(
            "[socketd]\ncontrol = /srv/my control/x.sock\n"
            "[echo]\nlisten = unix:/srv/b/x.sock, unix:/srv/b/y.sock, unix:{runtime}/z.sock\n"
        )
        self.assertEqual(unit["ReadWritePaths"], ["/srv/b", '"/srv/my control"'])

    def test_state(self) -> None:
        """Files that the daemon writes are in its state directory, or where it may write then."""
        text = "[nts-ke]\nlisten = tls:4460\ntls_certificate = /etc/c.pem\n"
        unit = self.unit(text)
        self.assertEqual(unit["StateDirectory"], ["socketd"])
        self.assertEqual(unit["StateDirectoryMode"], ["0700"])
        self.assertNotIn("ReadWritePaths", unit)
        unit = self.unit(f"{text}keys = /srv/keys/nts.keys\n")
        self.assertEqual(unit["ReadWritePaths"], ["/srv/keys"])

    def test_every_file(self) -> None:
        """Whatever option names a file, it can be read in a home and a temporary directory."""
        home, temporary = (Path(self.mktemp()).absolute() for _ in range(2))
        self.patch(unit_module, "_HOMES", (home,))
        self.patch(unit_module, "_TEMPORARY", (temporary,))
        for directory in (home, temporary / "mine"):
            directory.mkdir(parents=True)
            # It is read when the configuration is.
            (directory / "a.pem").write_text('"a quote" -> "or a rule"\n')
            (directory / "keys").write_text(f"1 {'0f' * 32}\n")
            (directory / "keys").chmod(0o600)
        named = list(naming_files())
        self.assertEqual(len(named), len({one[:2] for one in named}))
        self.assertLessEqual(
            {"tls_certificate", "tls_key", "tls_client_ca", "tls_names", "texts"},
            {option for _, option, _ in named},
        )
        for protocol, option, form in named:
            text = f"[{protocol}]\nlisten = tls:7007\ntls_certificate = /etc/c.pem\n"
            if protocol == "qotd" and option != "texts":
                text += f"texts = {SHIPPED}\n"
            text = text.replace("tls_certificate = /etc/c.pem\n", "") if "cert" in option else text
            name = "a.pem"
            if protocol in ("stamp", "ipsla") and option == "keys":
                text, name = f"[{protocol}]\nlisten = udp:7007\n", "keys"
            with self.subTest(option=option):
                found = self.unit(f"{text}{option} = {form.format(home / name)}\n")
                self.assertEqual(found["ProtectHome"], ["read-only"])
                self.assertNotIn("BindReadOnlyPaths", found)
                path = temporary / "mine" / name
                found = self.unit(f"{text}{option} = {form.format(path)}\n")
                self.assertEqual(found["ProtectHome"], ["yes"])
                self.assertEqual(found["BindReadOnlyPaths"], [str(path.parent)])

    def test_every_path_is_a_file_or_a_socket(self) -> None:
        """
        An option that speaks of a path names a file that is read or written, or is one of the
        daemon's own sockets.
        """
        spoken = {
            name
            for group in groups()
            for name, found in declared(group).items()
            if {"path", "file", "PEM"} & set(found.type.syntax.replace(",", "").split())
        }
        named = {option for _, option, _ in naming_files()}
        written = {n for group in groups() for n, o in declared(group).items() if o.type.writes}
        self.assertEqual(spoken - named - written, {"control"})
        text = "[socketd]\ncontrol = /a/c\nhttp = unix:/b/h\n[echo]\nlisten = unix:/c/e\n"
        self.assertEqual(set(loaded(text).own), {"control", "http"})

    def test_own_sockets(self) -> None:
        """The daemon's own sockets are bound where they are to be, in a home too."""
        found = self.unit(
            "[socketd]\nhttp = unix:/run/mon/x\ncontrol = /home/me/c\n"
            "[echo]\nlisten = tcp:7007\n"
        )
        self.assertEqual(found["ReadWritePaths"], ["/home/me", "/run/mon"])
        self.assertEqual(found["ProtectHome"], ["read-only"])
        self.assertIn("AF_UNIX", found["RestrictAddressFamilies"][0])

    def test_temporary_sockets(self) -> None:
        """
        A socket in a directory of its own below /tmp is where others find it; written as
        systemd reads it, which was tried with 252 and 257.
        """
        listen = r"unix:/tmp/a b\:c$x%n/x, unix:/var/tmp/c/y, unix:/tmp/z"
        found = self.unit(f"[echo]\nlisten = {listen}\n")
        self.assertEqual(found["BindPaths"], [r'"/tmp/a b\:c$x%%n"', "/var/tmp/c"])
        self.assertNotIn("ReadWritePaths", found)
        found = self.unit("[echo]\nlisten = unix:/srv/a$b/x\n")
        self.assertEqual(found["ReadWritePaths"], ['"/srv/a$b"'])

    def test_temporary_files(self) -> None:
        """The configuration itself may be a temporary file, alone or in a directory."""
        self.assertEqual(self.unit(ECHO).get("BindReadOnlyPaths"), None)
        for file, bound in (("/tmp/a.ini", "/tmp/a.ini"), ("/tmp/d/a.ini", "/tmp/d")):
            text = write(loaded(ECHO), file, TWISTD)
            self.assertIn(("BindReadOnlyPaths", bound), directives(text))

    def test_links(self) -> None:
        """Where a link leads counts, too."""
        home = Path(self.mktemp()).absolute()
        home.mkdir()
        self.patch(unit_module, "_HOMES", (home,))
        link = Path(self.mktemp()).absolute()
        link.symlink_to(home / "c")
        self.assertEqual(self.unit(self.TLS.format("tls:7", link))["ProtectHome"], ["read-only"])

    def test_relative(self) -> None:
        """The daemon starts where relative paths are meant from."""
        found = self.unit(self.TLS.format("tls:7", "certificates/c.pem"))
        self.assertEqual(found["WorkingDirectory"], [os.getcwd().replace("%", "%%")])
        self.assertNotIn("WorkingDirectory", self.unit("[echo]\nlisten = unix:{runtime}/a\n"))

    def test_program(self) -> None:
        """An environment in a home directory can be read: the daemon is there."""
        text = write(loaded(ECHO), FILE, "/home/me/socketd/.venv/bin/twistd")
        self.assertIn(("ProtectHome", "read-only"), directives(text))

    def test_doubts(self) -> None:
        """Files that will be removed, and sockets that no client finds, are pointed out."""
        text = "[socketd]\ncontrol = /tmp/c\n[echo]\nlisten = unix:/tmp/d/e\n"
        self.assertEqual(
            list(doubts(loaded(text), "/tmp/a.ini")),
            [
                "/tmp/a.ini: temporary files are removed with time; /etc/socketd would be right",
                "/tmp/c: the daemon has a /tmp of its own, where no client finds it;"
                " {runtime}/c would be right",
            ],
        )
        self.assertEqual(list(doubts(loaded(ECHO), FILE)), [])

    def test_drain(self) -> None:
        """systemd waits longer than the daemon's drain timeout."""
        unit = self.unit("[socketd]\ndrain_timeout = 1500ms\n[echo]\nlisten = tcp:7\n")
        self.assertEqual(unit["TimeoutStopSec"], ["12"])

    def test_descriptors(self) -> None:
        """There are enough of them for the connections that the file asks for."""
        self.assertEqual(self.unit(ECHO)["LimitNOFILE"], [str(DESCRIPTORS)])
        unit = self.unit("[socketd]\nmax_connections = 100000\n[echo]\nlisten = tcp:7\n")
        self.assertGreater(int(unit["LimitNOFILE"][0]), 100000)

    def test_quoted(self) -> None:
        """A path stays one word, and nothing in it is expanded."""
        cases = {
            "/etc/a.ini": "/etc/a.ini",
            "/etc/a b": '"/etc/a b"',
            "/etc/%n$x": '"/etc/%%n$$x"',
            '/a"b\\c': '"/a\\"b\\\\c"',
            "/a\nb": '"/a\\x0ab"',
            "/a;b": '"/a;b"',
        }
        for text, expected in cases.items():
            self.assertEqual(quoted(text), expected)


class CommandTests(CommandTestCase):
    """Tests for C{socketd unit} as a process."""

    async def test_unit(self) -> None:
        """It prints a unit for the file by its absolute path."""
        ini = SHIPPED.parent.parent / "socketd.ini"
        out, _, status = await self.command("unit", "--config", os.path.relpath(ini))
        self.assertEqual(status, 0)
        [start] = [line for line in out.decode().splitlines() if line.startswith("ExecStart=")]
        self.assertTrue(start.endswith(f" --config {quoted(str(ini))}"), start)

    async def test_temporary(self) -> None:
        """A file that may be removed is pointed out, in one line."""
        directory = tempfile.mkdtemp(dir="/tmp")
        self.addCleanup(shutil.rmtree, directory)
        ini = Path(directory, "socketd.ini")
        ini.write_text("[echo]\nlisten = tcp:7007\n")
        out, err, status = await self.command("unit", "--config", str(ini))
        self.assertEqual(status, 0)
        self.assertIn(b"SocketBindAllow=ipv4:tcp:7007\n", out)
        self.assertIn(f"BindReadOnlyPaths={directory}\n", out.decode())
        self.assertIn(f"{ini}: temporary files are removed with time", err.decode())
        self.assertEqual(err.count(b"\n"), 1)

    async def test_complaints(self) -> None:
        """Of a file that cannot be used it says what is wrong, and prints nothing."""
        Path("bad.ini").write_text("[echo]\nlisten = tcp:x\n")
        out, err, status = await self.command("unit", "--config", "bad.ini")
        self.assertEqual((out, status), (b"", 78))
        self.assertIn(b"bad.ini:2: [echo] listen", err)
