"""Tests for L{socketd.cli.system.certificate}."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.common.pem import load_certificates, load_key
from socketd.cli.system.certificate import MAX_DAYS, MAX_NAMES, make
from tests.support.certificates import days_from_now
from tests.support.command_line import run_main

FILES = ["ca.key", "ca.pem", "client.key", "client.pem", "server.key", "server.pem"]


class CertificateTests(SynchronousTestCase):
    """Tests for C{socketd certificate}."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())

    def run_main(self, *argv: str) -> tuple[int, str, str]:
        return run_main("certificate", "--directory", self.directory, *argv)

    def data(self) -> dict[str, bytes]:
        """Read all files of the directory."""
        return {path.name: path.read_bytes() for path in sorted(self.directory.iterdir())}

    def test_files(self) -> None:
        """Six files are written: the server's has the chain, and others can read no key."""
        status, _, err = self.run_main("localhost", "127.0.0.1", "localhost")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(list(self.data()), FILES)
        for name in FILES:
            mode = (self.directory / name).stat().st_mode
            self.assertEqual(bool(mode & 0o077), name.endswith("pem"))
        chain = load_certificates(str(self.directory / "server.pem"))
        self.assertEqual(chain[1:], load_certificates(str(self.directory / "ca.pem")))
        load_key(str(self.directory / "server.key"), chain[0])
        verifier = PolicyBuilder().store(Store(chain[1:])).time(days_from_now(0))
        verifier.build_server_verifier(x509.DNSName("localhost")).verify(chain[0], [])
        names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(len(names), 2)

    def test_report(self) -> None:
        """What is printed names the files, the lines for the INI and a command to try it."""
        out = self.run_main("*.example.com", "::1")[1]
        lines = out.splitlines()
        self.assertEqual(lines[0], f"wrote {self.directory}/ca.pem")
        self.assertEqual(sum(line.startswith("wrote ") for line in lines), len(FILES))
        path = os.path.abspath(self.directory)
        self.assertIn(f"tls_certificate = {path}/server.pem", lines)
        self.assertIn(f"tls_key = {path}/server.key", lines)
        self.assertEqual(
            lines[-1], f"socketd send --tls --ca {self.directory}/ca.pem '[::1]:PORT' hello"
        )

    def test_only_wildcard(self) -> None:
        """Where there is nothing but a wildcard, the command has a name that it covers."""
        out = self.run_main("*.example.com")[1]
        self.assertTrue(out.endswith(" any.example.com:PORT hello\n"), out)

    def test_again(self) -> None:
        """A second time nothing is replaced, unless that is asked for, and never the authority."""
        self.run_main("localhost")
        before = self.data()
        status, out, err = self.run_main("localhost")
        complaint = f"socketd certificate: {self.directory}/server.pem exists; "
        self.assertEqual((status, out), (1, ""))
        self.assertTrue(err.startswith(complaint), err)
        self.assertEqual(self.data(), before)
        status, out, _ = self.run_main("localhost", "--force")
        self.assertEqual(status, 0)
        self.assertNotIn("wrote ca", out.replace(f"{self.directory}/", ""))
        same = [name for name, data in self.data().items() if data == before[name]]
        self.assertEqual(same, ["ca.key", "ca.pem"])

    def test_more_of_one_authority(self) -> None:
        """An authority that is there issues the next certificates."""
        self.run_main("localhost")
        authority = self.data()["ca.pem"]
        for name in FILES[2:]:
            (self.directory / name).unlink()
        self.assertEqual(self.run_main("localhost")[0], 0)
        data = self.data()
        self.assertEqual(data["ca.pem"], authority)
        self.assertTrue(data["server.pem"].endswith(authority))

    def test_never_the_authority(self) -> None:
        """A new authority replaces none that appears in the meantime, whatever is asked for."""
        for is_forced in (False, True):
            files = make(self.directory, ["localhost"], 30, time.time(), is_forced)
            found = [file.path.stem for file in files if file.may_replace]
            self.assertEqual(found, ["server", "server", "client", "client"] * is_forced)
            self.assertEqual(len(files), len(FILES))

    def test_half_an_authority(self) -> None:
        """A certificate without its key, or a key alone, is not completed by a new one."""
        for missing, there in (("ca.key", "ca.pem"), ("ca.pem", "ca.key")):
            self.setUp()
            self.run_main("localhost")
            (self.directory / missing).unlink()
            before = self.data()
            status, _, err = self.run_main("localhost", "--force")
            self.assertEqual(status, 1)
            self.assertIn(f"{there} exists without {missing}", err)
            self.assertEqual(self.data(), before)

    def test_no_place(self) -> None:
        """Where the directory cannot be made, or what is there is none, one line says so."""
        cases = {"/proc/none": "no such file or directory", "/dev/null": "not a directory"}
        for path, why in cases.items():
            self.directory = Path(path)
            status, out, err = self.run_main("localhost")
            expected = (1, "", f"socketd certificate: {path}: {why}\n")
            self.assertEqual((status, out, err), expected)

    def test_no_directory_left(self) -> None:
        """A directory that was made for files that could not be made is removed."""
        def refuse(*args: object) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", refuse)
        status, _, err = self.run_main("localhost")
        self.assertEqual(status, 1)
        self.assertIn(f"{self.directory}: no space left on device", err)
        self.assertFalse(self.directory.exists())

    def test_usage(self) -> None:
        """A bad name, too many of them and a bad number of days are one line, with status 2."""
        cases: dict[tuple[str, ...], str] = {
            (): "required: NAME",
            ("a b",): "no host name",
            ("localhost", "*.com"): "too wide",
            ("localhost", "--days", "0"): "no number from 1 to 825",
            ("localhost", "--days", str(MAX_DAYS + 1)): "no number from 1 to 825",
            ("localhost", "--days", "9" * 5000): "no number from 1 to 825",
            ("localhost", "--days", "x"): "no number from 1 to 825",
            tuple(f"a{number}" for number in range(MAX_NAMES + 1)): "101 names are too many",
        }
        for argv, part in cases.items():
            status, out, err = self.run_main(*argv)
            self.assertEqual((status, out, err.count("\n")), (2, "", 1))
            self.assertIn(part, err)
            self.assertFalse(self.directory.exists())
