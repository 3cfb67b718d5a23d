"""Tests for L{socketd.cli.migrate.command}, on configurations that systems have shipped."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.migrate import command
from socketd.cli.migrate.command import check, is_xinetd, read
from socketd.cli.migrate.model import PORTS
from socketd.configuration import configure
from socketd.settings.diagnostics import Diagnostic
from socketd.settings.model import ServiceSettings, Settings
from tests.support.command_line import run_main

SAMPLES = Path(__file__).parent / "samples"

#: Enough for each of the ways to damage a line in each sample.
FUZZ_ROUNDS = 500
FUZZ_SEED = 20010614
FUZZ_WORDS = (
    b"{", b"}", b"service echo", b"defaults", b"=", b"+=", b"-=", b"internal", b"INTERNAL",
    b"UNLISTED", b"only_from = 10.{1,2} ::/0 .x y", b"port = 99999", b"flags = IPv4 IPv6", b"\0",
    b"\xff\xfe", b"\r\n", b"\n", b" ", b"\t", b"[echo]", b"; x", b"UNLIMITED", b"0", b"-1",
    b"bind = ::1", b"bind = %", b"nowait/1/2/3", b"tcp6,rcvbuf=9m", b"disable = no", b"cps = 0 0",
    b"id = \xe2\x80\xa8]", b"include x", b"includedir .", b"*:", b"[::]:", b"#<off>#", b"\\",
)  # fmt: skip


def copied(sample: str, directory: Path) -> Path:
    """Copy a sample with all services switched on, and return its xinetd.conf."""
    shutil.copytree(SAMPLES / sample, directory)
    for path in directory.rglob("*"):
        if path.is_file():
            text = path.read_text().replace("/etc/xinetd.d", "xinetd.d")
            path.write_text(re.sub(r"(disable\s*)= yes", r"\1= no", text))
    return directory / "xinetd.conf"


def listeners(settings: Settings) -> dict[str, list[str]]:
    """Show where each service of a configuration is served."""
    return {found.name: [str(at) for at in found.listeners] for found in settings.services}


def everywhere(name: str) -> list[str]:
    """The listeners of a service that is served over all."""
    port = PORTS[name]
    return [f"{kind} *:{port}" for kind in ("tcp", "tcp6", "udp", "udp6")]


class ImportTestCase(SynchronousTestCase):
    """Runs C{socketd import}."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def file(self, text: str, name: str = "source") -> Path:
        path = self.directory / name
        path.write_text(text)
        return path

    def loaded(self, text: str) -> Settings:
        """Load a result, as the daemon does."""
        return configure(str(self.file(text, "result.ini")), "/run").settings

    def taken(self, source: Path) -> tuple[Settings, str]:
        """Import a file that is in order, and return the result loaded and its text."""
        status, out, err = run_main("import", source)
        self.assertEqual(status, 0, err)
        return self.loaded(out), out


class SampleTests(ImportTestCase):
    """Tests on whole configurations."""

    def test_debian_as_shipped(self) -> None:
        """Debian switches all services off: nothing is written, each is named with its line."""
        source = self.directory / "etc"
        shutil.copytree(SAMPLES / "debian-xinetd", source)
        status, out, err = run_main("import", source / "xinetd.d")
        self.assertEqual((status, out), (78, ""))
        line = f"switched off: service chargen-stream ({source}/xinetd.d/chargen:7)\n"
        self.assertIn(line, err)
        self.assertIn("nothing to write: 0 services converted, 0 not, 17 switched off\n", err)
        self.assertEqual(len(err.splitlines()), 19)

    def test_debian(self) -> None:
        """Switched on, its five services have a section each, the rest and duplicates none."""
        settings, text = self.taken(copied("debian-xinetd", self.directory / "etc"))
        self.assertEqual(listeners(settings), {name: everywhere(name) for name in sorted(PORTS)})
        place = f"{self.directory}/etc/xinetd.d"
        for found in ("service echo-dgram ({}/echo-udp:4)", "service servers ({}/servers:4)",
                      "user = root ({}/echo:12)"):
            self.assertIn(f"\n; not converted: {found.format(place)}\n", text)

    def test_debian_sample(self) -> None:
        """xinetd's own example keeps networks and limit; what is not converted has a line."""
        settings, text = self.taken(SAMPLES / "debian-xinetd" / "sample.conf")
        self.assertEqual(list(listeners(settings)), ["echo", "chargen", "daytime", "time"])
        for service in settings.services:
            self.assertEqual(service.policy.max_connections, 25)
            allowed = list(map(str, service.policy.allow or ()))
            self.assertEqual(allowed[0], "128.138.193.0/24")
            self.assertEqual(allowed[-3:], ["127.0.0.1/32", "::1/128", "192.231.139.0/24"])
        file = SAMPLES / "debian-xinetd" / "sample.conf"
        for line in (
            f"not converted: service login ({file}:23)",
            f"not converted: service telnet ({file}:94)",
            f"switched off: service tftp ({file}:142)",
            f"not converted: service rstatd ({file}:276)",
            f"not converted: service irc ({file}:337)",
            f"not converted: defaults, log_type = FILE /var/log/servicelog ({file}:8)",
        ):
            self.assertIn(f"\n; {line}\n", text)

    def test_red_hat(self) -> None:
        """Red Hat's defaults become each section's limits; what is not converted is said once."""
        settings, text = self.taken(copied("redhat-xinetd", self.directory / "etc"))
        self.assertEqual(listeners(settings), {name: everywhere(name) for name in sorted(PORTS)})
        for service in settings.services:
            policy = service.policy
            self.assertEqual((policy.max_connections, policy.max_per_source), (50, 10))
            self.assertEqual((policy.accept_rate, policy.accept_burst), (50.0, 50))
            self.assertIsNone(policy.allow)
        for line in ("defaults, log_type = SYSLOG daemon info", "service rsync",
                     "service tcpmux-server"):
            self.assertEqual(text.count(f"\n; not converted: {line} ("), 1)
        self.assertNotIn("for datagrams (", text)

    def test_protocols(self) -> None:
        """The services speak as they did: time counts from 1900, daytime answers any datagram."""
        settings, _ = self.taken(copied("redhat-xinetd", self.directory / "etc"))
        services: dict[str, ServiceSettings] = {found.name: found for found in settings.services}
        self.assertEqual(services["time"].options.epoch, "1900")
        self.assertEqual(services["daytime"].options.udp_amplify, 32)

    def test_debian_inetd(self) -> None:
        """Debian's inetd.conf has all services commented out: there is nothing to write."""
        status, out, err = run_main("import", SAMPLES / "debian-inetd.conf")
        self.assertEqual((status, out), (78, ""))
        self.assertIn("nothing to write: 0 services converted", err)

    def test_debian_inetd_in_use(self) -> None:
        """With the comments off, tcp and udp are both IPv4 and IPv6, as Debian's NEWS has it."""
        text = (SAMPLES / "debian-inetd.conf").read_text()
        names = ("echo\t", "discard\t", "daytime\t", "time\t", "chargen\t")
        for name in names:
            text = text.replace(f"\n#{name}", f"\n{name}")
        settings, _ = self.taken(self.file(text))
        served = {name: everywhere(name)[:2] for name in PORTS}
        served["discard"] = everywhere("discard")
        self.assertEqual(listeners(settings), served)

    def test_freebsd(self) -> None:
        """FreeBSD has a line for each family, and they are joined."""
        settings, text = self.taken(SAMPLES / "freebsd-inetd.conf")
        self.assertEqual(listeners(settings), {name: everywhere(name) for name in sorted(PORTS)})
        for line in (
            "service ssh stream tcp nowait root /usr/sbin/sshd sshd -i -4 ({}:11)",
            "service rstatd/1-3 dgram rpc/udp wait root /usr/libexec/rpc.rstatd rpc.rstatd"
            " ({}:56)",
            "#@ ipsec esp/transport//require ({}:64)",
        ):
            found = line.format(SAMPLES / "freebsd-inetd.conf")
            self.assertIn(f"\n; not converted: {found}\n", text)
        self.assertIn("\n; not converted: service auth stream tcp", text)

    def test_hosts(self) -> None:
        """Hosts (for one service or all lines below), buffer sizes and limits are converted."""
        settings, text = self.taken(SAMPLES / "hosts-inetd.conf")
        self.assertEqual(
            listeners(settings),
            {
                "echo": ["tcp 127.0.0.1:7", "tcp6 [::1]:7"],
                "time": ["udp 192.0.2.7:37"],
                "daytime": ["tcp 192.0.2.7:13"],
                "discard": ["tcp6 *:9", "udp6 [::1]:9"],
                "chargen": ["tcp *:19", "tcp6 *:19"],
            },
        )
        doors = {found.name: found.policy for found in settings.services}
        self.assertEqual(doors["echo"].accept_rate, 40 / 60)
        chargen = doors["chargen"]
        self.assertEqual((chargen.max_connections, chargen.max_per_source), (5, 2))
        self.assertEqual((chargen.accept_rate, chargen.accept_burst), (1.0, 60))
        self.assertIn("\n; switched off: service chargen dgram udp", text)
        self.assertIn("\n; not converted: service /tmp/talk stream unix", text)


class CommandTests(ImportTestCase):
    """Tests for the subcommand itself."""

    ECHO = "echo stream tcp nowait root internal\n"

    def test_output(self) -> None:
        """A file gets a configuration's permissions, and replaces another only with --force."""
        source, target = self.file(self.ECHO), self.directory / "socketd.ini"
        status, out, err = run_main("import", source, "--output", target)
        self.assertEqual((status, out), (0, ""))
        self.assertEqual(err, "socketd import: 1 service converted, 0 not, 0 switched off\n")
        self.assertEqual(target.stat().st_mode & 0o777, 0o644 & ~self._umask())
        written = target.read_text()
        self.assertEqual(written, run_main("import", source)[1])
        target.write_text("mine")
        status, _, err = run_main("import", source, "--output", target)
        self.assertEqual((status, target.read_text()), (1, "mine"))
        self.assertIn("socketd.ini exists; --force would replace it", err)
        self.assertEqual(run_main("import", source, "--output", target, "--force")[0], 0)
        self.assertEqual(target.read_text(), written)

    def _umask(self) -> int:
        mask = os.umask(0o022)
        os.umask(mask)
        return mask

    def test_output_of_nothing(self) -> None:
        """Where there is nothing to write, an older result stays, even if it might be replaced."""
        target = self.file("old", "socketd.ini")
        source = self.file("#\n")
        status, _, _ = run_main("import", source, "--output", target, "--force")
        self.assertEqual((status, target.read_text()), (78, "old"))

    def test_usage(self) -> None:
        """Without a path, or with an option that there is not, the status is 2."""
        for argv in ((), ("--outptu", "x", "y")):
            status, out, err = run_main("import", *argv)
            self.assertEqual((status, out, err.count("\n")), (2, "", 1))

    def test_all_errors(self) -> None:
        """Each error is one line with file and line, all are told, and the rest is converted."""
        errors = ("time stream", "daytime stream udp nowait root internal",
                  "discard dgram udp wiat root internal")
        source = self.file(self.ECHO + "\n".join(errors))
        status, out, err = run_main("import", source)
        self.assertEqual(status, 0)
        for number, (error, line) in enumerate(zip(errors, err.splitlines(), strict=False), 2):
            service = "service " if number > 2 else ""
            self.assertEqual(line, f"not converted: {service}{error} ({source}:{number})")
            self.assertIn(f"\n; {line}\n", out)
        self.assertEqual(err.count("\n"), len(errors) + 1)
        self.assertEqual(list(listeners(self.loaded(out))), ["echo"])

    def test_unreadable(self) -> None:
        """A missing path, a device and a path that no system takes are one line each."""
        for path, reason in (
            ("nowhere", "not read: no such file or directory [(]nowhere[)]"),
            ("/dev/null", "not read: not a regular file [(]/dev/null[)]"),
            ("a\0b", "not read: (stat: )?embedded null"),  # Python 3.13 has the call first
        ):
            status, out, err = run_main("import", path)
            self.assertEqual((status, out), (78, ""))
            self.assertRegex(err, reason)
            self.assertEqual(err.count("\n"), 2)

    def test_several(self) -> None:
        """Several paths are one configuration: defaults count for a later directory."""
        conf = self.file("defaults\n{\nonly_from = 192.0.2.0\n}\n", "xinetd.conf")
        directory = self.directory / "xinetd.d"
        directory.mkdir()
        entry = "service echo\n{\ntype = INTERNAL\nsocket_type = stream\nwait = no\n}\n"
        (directory / "echo").write_text(entry)
        status, out, err = run_main("import", conf, directory)
        self.assertEqual((status, err.count("\n")), (0, 1))
        self.assertIn("\nallow = 192.0.2.0/24\n", out)

    def test_directory_alone(self) -> None:
        """A directory without xinetd.conf is said aloud: its defaults may restrict access."""
        source = copied("redhat-xinetd", self.directory / "etc").parent / "xinetd.d"
        status, out, err = run_main("import", source)
        self.assertEqual(status, 0)
        line = f"not read: defaults of xinetd.conf ({source})\n"
        self.assertTrue(err.startswith(line), err)
        self.assertIn(f"\n; {line}", out)

    def test_directory_of_inetd(self) -> None:
        """GNU's inetd has a directory, too; its files are told apart by what is in them."""
        directory = self.directory / "inetd.d"
        directory.mkdir()
        (directory / "echo").write_text(self.ECHO)
        settings, _ = self.taken(directory)
        self.assertEqual(list(listeners(settings)), ["echo"])

    def test_kinds(self) -> None:
        """A file is xinetd's by braces or keywords; with only switched-off entries, Debian's."""
        for text, expected in (
            ("service echo\n{\n", True),
            ("servce echo\n{\n}\n", True),
            ("# nothing\n\n", True),
            ("includedir /x\n", True),
            ("echo stream tcp nowait root internal\n", False),
            ("#<off># echo stream tcp nowait root internal\n", False),
        ):
            self.assertEqual(is_xinetd(text.split("\n")), expected, text)

    def test_hostile_text(self) -> None:
        """Whatever is in a file, a comment is one line of ASCII, and never makes a section."""
        name = "x\u2028[evil]\x1b[2J\x85;" + "y" * 5000
        text = self.ECHO + f"{name} stream tcp nowait root /bin/{name}\n"
        status, out, _ = run_main("import", self.file(text))
        self.assertEqual(status, 0)
        self.assertTrue(out.isascii() and out.replace("\n", "").isprintable())
        self.assertLess(max(map(len, out.splitlines())), 500)
        self.assertEqual(list(listeners(self.loaded(out))), ["echo"])

    def test_not_loadable(self) -> None:
        """A result that the daemon would not take is not written; the complaint is told."""
        complaint = Diagnostic("result", 3, "is wrong", "echo", "allow")
        self.patch(command, "check", lambda text: (complaint,))
        status, out, err = run_main("import", self.file(self.ECHO))
        self.assertEqual((status, out), (78, ""))
        self.assertIn("result:3: [echo] allow: is wrong\n", err)

    def test_refused_buffer(self) -> None:
        """A size of a buffer that this machine refuses becomes a comment."""
        complaint = Diagnostic("result", 3, "this system has less", "echo", "so_rcvbuf")
        answers: list[tuple[Any, ...]] = [(complaint,), ()]
        self.patch(command, "check", lambda text: answers.pop(0))
        source = self.file(self.ECHO.replace("tcp", "tcp,rcvbuf=8m"))
        status, out, _ = run_main("import", source)
        self.assertEqual((status, answers), (0, []))
        self.assertIn(f"\n; not converted: so_rcvbuf = 8MiB ({source}:1)\n", out)
        self.assertNotIn("\nso_rcvbuf", out)

    def test_check(self) -> None:
        """The check is that of C{socketd check}."""
        self.assertEqual(check("[echo]\nlisten = tcp:7\n"), ())
        (complaint,) = check("[echo]\nlisten = tcp:70000\n")
        self.assertEqual((complaint.section, complaint.option), ("echo", "listen"))

    def test_other_port(self) -> None:
        """A service is where this system has it."""
        self.patch(socket, "getservbyname", lambda name, protocol: 4007)
        settings, _ = self.taken(self.file(self.ECHO))
        self.assertEqual(listeners(settings), {"echo": ["tcp *:4007", "tcp6 *:4007"]})

    def test_no_services_file(self) -> None:
        """A system without a list of services has the assigned ports."""

        def missing(name: str, protocol: str) -> int:
            raise OSError("service/proto not found")

        self.patch(socket, "getservbyname", missing)
        settings, _ = self.taken(SAMPLES / "freebsd-inetd.conf")
        self.assertEqual(listeners(settings), {name: everywhere(name) for name in sorted(PORTS)})


class FuzzTests(ImportTestCase):
    """Broken input."""

    def test_mutations(self) -> None:
        """A damaged file gives a result that loads, or status 78; never a traceback."""
        randomness = random.Random(FUZZ_SEED)
        etc = copied("redhat-xinetd", self.directory / "redhat")
        samples = [
            etc.read_bytes().replace(b"includedir", b"#"),
            etc.read_bytes().partition(b"includedir")[0]
            + b"".join(p.read_bytes() for p in sorted((etc.parent / "xinetd.d").iterdir())),
            (SAMPLES / "debian-xinetd" / "sample.conf").read_bytes(),
            (SAMPLES / "freebsd-inetd.conf").read_bytes(),
            (SAMPLES / "hosts-inetd.conf").read_bytes(),
        ]
        source = self.directory / "fuzz" / "source"
        source.parent.mkdir()
        statuses = {0: 0, 78: 0}
        for _ in range(FUZZ_ROUNDS):
            data = mutated(randomness.choice(samples), randomness)
            source.write_bytes(data)
            status, out, err = run_main("import", source)
            self.assertIn(status, statuses, (data, err))
            self.assertNotIn("cannot be loaded", err, data)
            self.assertTrue(err.isascii() and (out == "") == (status == 78), data)
            statuses[status] += 1
        self.assertGreater(min(statuses.values()), FUZZ_ROUNDS // 100, statuses)

    def test_random_bytes(self) -> None:
        """So it is with bytes that were never a configuration."""
        randomness = random.Random(FUZZ_SEED)
        source = self.directory / "source"
        for length in range(200):
            source.write_bytes(randomness.randbytes(length * 7))
            self.assertEqual(run_main("import", source)[:2], (78, ""))


def mutated(data: bytes, randomness: random.Random) -> bytes:
    lines = data.split(b"\n")
    for _ in range(randomness.randint(1, 8)):
        index = randomness.randrange(len(lines))
        line, word = lines[index], randomness.choice(FUZZ_WORDS)
        cut = randomness.randint(0, len(line))
        match randomness.randrange(6):
            case 0:
                lines[index] = line[:cut] + word + line[cut:]
            case 1:
                lines[index] = line[:cut] + line[cut + 1 :]
            case 2:
                lines[index] = word
            case 3:
                lines.insert(index, randomness.choice(lines))
            case 4:
                lines[index] = line[:cut] + randomness.randbytes(2) + line[cut:]
            case _:
                # A file that ends too early.
                lines = lines[: max(1, index)] if randomness.random() < 0.2 else lines
    return b"\n".join(lines)


class ReadTests(SynchronousTestCase):
    """Tests for L{read}."""

    def test_files(self) -> None:
        """Files are listed in reading order; those with a dot or a tilde are not read."""
        directory = Path(self.mktemp())
        directory.mkdir()
        for name in ("b", "a", "c.rpmsave", "d~"):
            (directory / name).write_text("")
        (directory / "e").mkdir()
        findings = read([str(directory)])
        self.assertEqual([Path(file).name for file in findings.files], ["a", "b"])
        notes = list(map(str, findings.notes))
        reasons = ("c.rpmsave", "d~", "e: not a regular file")
        self.assertEqual(notes, [f"not read: {directory}/{why} ({directory})" for why in reasons])
