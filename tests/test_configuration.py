"""Tests for L{socketd.configuration}: what a machine refuses, in the file's own terms."""

from __future__ import annotations

import os
import resource
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.system import check
from socketd.common.errors import BAD_CONFIGURATION
from socketd.configuration import configure, configure_again, warnings_of
from socketd.protocols.registry import installed
from socketd.settings.diagnostics import SettingsError
from socketd.settings.hints import COMMON
from socketd.settings.model import DaemonOptions
from socketd.settings.options import declared
from socketd.tap import Options
from tests.support.certificates import PAST, authority, issued, write_private


def complaints(file: Path, text: str, runtime: str, limit: int | None = None) -> list[str]:
    """Write a file and configure, and list the complaints without the file's path."""
    file.write_text(text)
    try:
        configure(str(file), runtime, limit)
    except SettingsError as error:
        return [line.removeprefix(str(file)) for line in str(error).splitlines()]
    return []


class AgainTests(SynchronousTestCase):
    """Tests for L{configure_again}."""

    def test_file(self) -> None:
        """A file is read as at the start."""
        file = Path(self.mktemp())
        file.write_text("[echo]\nlisten = tcp:7\n")
        again = configure_again(str(file), "/run")
        self.assertEqual(again, configure(str(file), "/run"))

    def test_pipe(self) -> None:
        """A pipe is not opened: it may have no writer."""
        os.mkfifo(file := self.mktemp())
        problem = self.assertRaises(SettingsError, configure_again, file, "/run")
        self.assertEqual(str(problem), f"{file}: is a pipe; a reload does not wait for one")


class RefusalTests(SynchronousTestCase):
    """Tests for what this machine does not let a configuration have."""

    def refused(self, text: str, limit: int | None = None) -> list[str]:
        """Configure with a new file, and list the complaints."""
        return complaints(Path(self.mktemp()), text, "/run", limit)

    def test_invalid_options(self) -> None:
        """A value that is invalid hides no other complaint, whatever option has it."""
        sections: list[tuple[str, type]] = [("[socketd]\n", DaemonOptions)]
        for name, found in installed().items():
            head = f"[{name}]\nlisten = udp:0, tls:0\n"
            sections += [(head, kind) for kind in {*COMMON, found.options}]
        for section, kind in sections:
            for option in declared(kind).keys() - {"listen"}:
                text = f"{section}{option} = ?\n[other]\nprotocol = echo\nlisten = tcp:x\n"
                lines = self.refused(text, limit=1024)
                self.assertTrue([line for line in lines if "[other] listen" in line], text)

    def test_all_at_once(self) -> None:
        """
        What is refused by the grammar, by the kernel, by another listener and for want of
        descriptors is said in one run.
        """
        text = (
            "[socketd]\nhttp = tcp:7\nmax_connections = 500\n[echo]\nlisten = tcp:7, 8\n"
            "so_bindtodevice = nosuch0\n[upper]\nlisten = tcp:7\n"
        )
        found = self.refused(text, 200)
        self.assertEqual([line.split(":")[1] for line in found], ["2", "3", "5", "6", "8"])

    def test_enough_descriptors(self) -> None:
        """Where no limit is given, as for a unit that gives one, there are enough."""
        text = "[echo]\nlisten = tcp:7\nmax_connections = 1000000\n"
        self.assertEqual(self.refused(text), [])

    def test_open_directory(self) -> None:
        """A control socket where every user could put another one is refused, as by the start."""
        os.mkdir(directory := self.mktemp())
        text = f"[socketd]\ncontrol = {directory}/c\n[echo]\nlisten = tcp:7\n"
        self.assertEqual(self.refused(text), [])
        os.chmod(directory, 0o777)
        (found,) = self.refused(text)
        expected = f"is in {directory}, which every user can write; write control = "
        self.assertTrue(found.endswith(f"{expected}{{runtime}}/control.sock"), found)


class AgreementTests(SynchronousTestCase):
    """The check, the start and a reload say the same of the same file."""

    BAD = (
        "lisen = tcp:7\n",
        "[echo]\n",
        "[echo]\nlisten = tcp:70000\nidle_timeout = soon\nnosuch = 1\n",
        "[echo]\nlisten = tcp:7\n[echo]\nlisten = tcp:8\n",
        "[echo]\nlisten = tcp:7\n[upper]\nlisten = tcp:7\n",
        "[socketd]\nhttp = tcp:7\n[echo]\nlisten = tcp:7:interface=127.0.0.1\n",
        "[echo]\nlisten = tcp:7\nmax_connections = 1000000\n",
        "[echo]\nlisten = tcp:7\nso_bindtodevice = nosuch0\n",
        "[echo]\nlisten = tls:7\n",
        "[echo]\nlisten = tls:7\ntls_certificate = /nowhere.pem\n",
        "[echo]\nlisten = tcp:7\ntls_minimum = 1.3\n",
        "[socketd]\ncontrol = {open}/control.sock\n[echo]\nlisten = tcp:7\n",
        "[echo]\nlisten = unix:{open}/echo.sock\n",
        "[socketd]\nhttp = unix:{open}/http.sock\n[echo]\nlisten = tcp:7\n",
        "[socketd]\nlog_level = loud\n",
    )

    def setUp(self) -> None:
        os.mkdir(directory := self.mktemp())
        os.chmod(directory, 0o777)
        self.open = os.path.abspath(directory)
        # The directory for sockets, as systemd gives it.
        self.patch(os, "environ", os.environ | {"RUNTIME_DIRECTORY": self.open})
        self.patch(resource, "setrlimit", lambda *limits: None)

    def said(self, run: Callable[[str], object], file: str) -> str:
        """Have a file refused, and collect what is said on standard error."""
        errors = StringIO()
        with redirect_stderr(errors):
            try:
                status = run(file)
            except SystemExit as ended:
                status = ended.code
        self.assertEqual(status, BAD_CONFIGURATION)
        return errors.getvalue()

    def reload(self, file: str) -> object:
        """Read a file as a reload does."""
        try:
            return configure_again(file, self.open, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        except SettingsError as error:
            print(error, file=sys.stderr)
            return BAD_CONFIGURATION

    def test_same(self) -> None:
        """Each of these files is refused by all, with the same words and the same status."""
        for number, text in enumerate(self.BAD):
            file = f"{number}.ini"
            Path(file).write_text(text.replace("{open}", self.open))
            checked = self.said(lambda name: check.run(Namespace(file=name, json=False)), file)
            started = self.said(lambda name: Options().parseOptions(["-c", name]), file)
            self.assertTrue(checked.startswith(f"{file}:"), checked)
            self.assertEqual((started, self.said(self.reload, file)), (checked, checked))


class TlsTests(SynchronousTestCase):
    """Tests for certificates, as the start and C{socketd check} look at them."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.made = issued("www.example.org")
        self.good = self.write("good.pem", self.made.pem() + self.made.key_pem())

    def write(self, name: str, data: bytes) -> str:
        """Write a file that only its owner can read."""
        return write_private(str(self.directory / name), data)

    def diagnostics(self, *lines: str) -> list[str]:
        """Configure a service with these lines, and list the complaints without the path."""
        self.file = self.directory / "socketd.ini"
        return complaints(self.file, "\n".join(["[echo]", *lines, ""]), str(self.directory))

    def complaint(self, *lines: str) -> str:
        """Get the only complaint."""
        (found,) = self.diagnostics(*lines)
        return found

    def test_good(self) -> None:
        """A certificate with its key is taken, and nothing is bound."""
        self.assertEqual(self.diagnostics("listen = tls:1", f"tls_certificate = {self.good}"), [])

    def test_bad_files(self) -> None:
        """
        Each file that cannot be used is named with its line, its option, its path and what
        is wrong with it.
        """
        cases = {
            "is not PEM": b"hello",
            "is cut off": self.made.pem()[:-30],
            "has no private key": self.made.pem(),
            "is not the key of": self.made.pem() + issued("other.example.org").key_pem(),
            "is encrypted": self.made.pem() + self.made.locked_pem(),
        }
        for words, data in cases.items():
            bad = self.write("bad.pem", data)
            found = self.complaint("listen = tls:0", "", f"tls_certificate = {bad}")
            self.assertRegex(found, rf"^:4: \[echo\] tls_(certificate|key)\b.*{words}")
            self.assertIn(bad, found)

    def test_expired(self) -> None:
        """One that has expired is taken, and warned of with its line, its option and its path."""
        expired = issued("www.example.org", end=PAST)
        path = self.write("old.pem", expired.pem() + expired.key_pem())
        lines = ("listen = tls:0, tcp:0", f"tls_certificate = {path}")
        self.assertEqual(self.diagnostics(*lines), [])
        runtime = str(self.directory)
        (found,) = warnings_of(configure(str(self.file), runtime), runtime)
        self.assertTrue(str(found).startswith(f"{self.file}:3: [echo] tls_certificate: "), found)
        self.assertIn(f"certificate 1 of {path} expired at 2021-01-01", found.message)
        self.diagnostics("listen = tls:0", f"tls_certificate = {self.good}")
        self.assertEqual(list(warnings_of(configure(str(self.file), runtime), runtime)), [])

    def test_missing(self) -> None:
        """So is a file that is not there."""
        path = self.directory / "none.pem"
        found = self.complaint("listen = tls:0", f"tls_certificate = {path}")
        self.assertIn(":3: [echo] tls_certificate", found)
        self.assertIn("No such file or directory", found)

    def test_key_of_everybody(self) -> None:
        """A key that others can read is refused."""
        os.chmod(self.good, 0o644)
        found = self.complaint("listen = tls:0", f"tls_certificate = {self.good}")
        pattern = r"^:3: \[echo\] tls_(certificate|key)\b.*other users may access it"
        self.assertRegex(found, pattern)

    def test_lines(self) -> None:
        """Each option is named at its own line; one that stands in C{[defaults]}, too."""
        bad = self.write("bad.pem", b"hello")
        lines = [
            "listen = tls:0",
            f"tls_certificate = {self.good}",
            f"tls_client_ca = {bad}",
            f"tls_names = other.example.org = {bad}",
        ]
        found = self.diagnostics(*lines)
        self.assertEqual(
            [line.partition(f": {bad} is not PEM")[0] for line in found],
            [":4: [echo] tls_client_ca", ":5: [echo] tls_names"],
        )
        text = f"[defaults]\ntls_certificate = {bad}\n[echo]\nlisten = tls:0\n"
        self.file.write_text(text)
        error = self.assertRaises(SettingsError, configure, str(self.file), "/run")
        self.assertTrue(str(error).startswith(f"{self.file}:2: "), str(error))

    def test_client_names_need_an_authority(self) -> None:
        """Names of clients without C{tls_client_ca} would refuse all clients."""
        names = "tls_client_names = good.example.org"
        found = self.complaint("listen = tls:0", f"tls_certificate = {self.good}", names)
        self.assertIn(":4: [echo] tls_client_names", found)
        self.assertIn("needs tls_client_ca", found)
        ca = self.write("ca.pem", authority().pem())
        lines = ["listen = tls:0", f"tls_certificate = {self.good}", names]
        self.assertEqual(self.diagnostics(*lines, f"tls_client_ca = {ca}"), [])

    def test_status(self) -> None:
        """The status of a bad configuration is that of sysexits.h."""
        self.assertEqual(BAD_CONFIGURATION, os.EX_CONFIG)
