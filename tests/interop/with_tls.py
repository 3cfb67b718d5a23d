"""
The clients of TLS: OpenSSL's own, ncat, socat, and testssl.sh, which tries what should
not be had.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from subprocess import PIPE, STDOUT, CompletedProcess, Popen
from typing import Any

from tests.interop.client_case import InteropCase
from tests.support.certificates import Made, authority, issued
from tests.support.needs import locate
from tests.support.polling import DEADLINE
from tests.support.processes import Daemon, Output

NAME, OTHER = "www.example.org", "other.example.org"

#: testssl.sh makes some hundred connections, one after the other (seconds).
TESTSSL_TIME = 200

#: What OpenSSL needs to be told to speak versions and ciphers that are broken.
BROKEN = ("-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0")

#: The ciphers of TLS 1.2 that are good: forward secrecy, and authenticated as a whole.
GOOD = re.compile(r"ECDHE-ECDSA-(AES(128|256)-GCM-SHA(256|384)|CHACHA20-POLY1305)")

INI = """
[echo]
listen = tls:0:interface=127.0.0.1
tls_certificate = {directory}/server.pem
{more}
"""


class TlsClientTests(InteropCase):
    """Tests for what clients that others wrote agree on with the daemon."""

    def setUp(self) -> None:
        super().setUp()
        self.made, self.other = issued(NAME, "127.0.0.1", "localhost"), issued(OTHER)
        for name, made in (("server", self.made), ("other", self.other)):
            self.write_made(name, made)
        self.ca = self.write("ca.pem", authority().pem())
        self.names = f"tls_names = other.example.org = {self.directory}/other.pem"

    def write_made(self, name: str, made: Made) -> str:
        """Write a certificate with its key."""
        return made.write(str(self.directory / f"{name}.pem"))

    def serve_tls(self, more: str = "") -> Daemon:
        """Start a daemon that echoes over TLS."""
        return self.serve(INI.format(directory=self.directory, more=more))

    def target(self, daemon: Daemon) -> str:
        """Write where it listens."""
        return "{}:{}".format(*daemon.address("echo", "tls"))

    def converse(self, command: list[str], *patterns: str, answered: bool = True) -> str:
        """
        Run a client, send a line, and wait for the answer, or for the client's end.

        @param patterns: what it is to write first, in this order.
        @return: all that it wrote.
        """
        read, write = os.pipe()
        given: Any = {"env": self.environment(), "cwd": self.directory}
        with Popen(command, stdin=PIPE, stdout=write, stderr=STDOUT, **given) as process:
            os.close(write)
            output = Output(read)
            assert process.stdin is not None
            try:
                for pattern in patterns:
                    output.wait_for(pattern)
                if answered:
                    process.stdin.write(b"hello there\n")
                    process.stdin.flush()
                    output.wait_for("hello there")
                process.stdin.close()
                self.status = process.wait(DEADLINE)
            finally:
                process.kill()
            output.join()
            return output.text

    def openssl(self, daemon: Daemon, *options: str) -> list[str]:
        """Write the command of OpenSSL's client, which verifies the server."""
        target = self.target(daemon)
        trust = ["-CAfile", str(self.ca), "-verify_return_error", "-showcerts"]
        return [locate("openssl"), "s_client", "-connect", target, *trust, *options]

    def is_shown(self, made: Made, text: str) -> bool:
        """Say whether a client wrote down a certificate."""
        return made.pem().decode().strip() in text

    def test_openssl_versions(self) -> None:
        """
        OpenSSL's client verifies the daemon and is answered over TLS 1.2 and 1.3; older
        versions are refused.
        """
        with self.serve_tls() as daemon:
            for option, version in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
                names = ("-servername", NAME, "-verify_hostname", NAME)
                text = self.converse(
                    self.openssl(daemon, option, *names),
                    rf"New, {version}, Cipher is ",
                    r"Verify return code: 0 \(ok\)",
                )
                self.assertTrue(self.is_shown(self.made, text))
                self.assertEqual(self.status, 0)
            for option in ("-tls1_1", "-tls1"):
                command = self.openssl(daemon, option, *BROKEN)
                text = self.converse(command, answered=False)
                self.assertIn("alert protocol version", text)
                self.assertNotEqual(self.status, 0)

    def test_openssl_resumes(self) -> None:
        """
        It resumes a session in each version; where there are several certificates it is
        given none, and does a full handshake as before.
        """
        file = str(self.directory / "session.pem")
        for more, again in (("", "Reused"), (self.names, "New")):
            with self.serve_tls(more) as daemon:
                for version in ("-tls1_2", "-tls1_3"):
                    begin = self.openssl(daemon, version, "-sess_out", file)
                    self.converse(begin, "New, TLSv")
                    resume = self.openssl(daemon, version, "-sess_in", file)
                    self.converse(resume, f"{again}, TLSv")

    def test_openssl_names(self) -> None:
        """It is shown the certificate for the name that it asks for."""
        with self.serve_tls(self.names) as daemon:
            for name, made in ((OTHER, self.other), (NAME, self.made), ("any.test", self.made)):
                text = self.converse(
                    self.openssl(daemon, "-servername", name), r"Verify return code: 0 \(ok\)"
                )
                self.assertTrue(self.is_shown(made, text), name)

    def test_openssl_client(self) -> None:
        """With a certificate of its own it is served where that is wanted, and not without."""
        client = self.write_made("client", issued("good.example.org"))
        more = f"tls_client_ca = {self.ca}\ntls_client_names = good.example.org"
        with self.serve_tls(more) as daemon:
            self.converse(self.openssl(daemon, "-cert", client), "Verify return code: 0")
            text = self.converse(self.openssl(daemon, "-tls1_2"), answered=False)
            self.assertIn("alert handshake failure", text)

    def test_openssl_ciphers(self) -> None:
        """
        Of all ciphers that OpenSSL knows, one at a time, the good ones are agreed on and
        no others; compression and renegotiation are not.
        """
        command = [locate("openssl"), "ciphers", "-s", "-tls1_2", BROKEN[1]]
        known = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        ciphers = known.strip().split(":")
        self.assertGreater(len(ciphers), 50)
        with self.serve_tls() as daemon:
            agreed = {cipher for cipher in ciphers if self.agrees(daemon, cipher)}
            text = self.converse(self.openssl(daemon, "-tls1_2"), "Secure Renegotiation IS")
        self.assertTrue(agreed)
        self.assertEqual({cipher for cipher in agreed if not GOOD.fullmatch(cipher)}, set())
        self.assertIn("Compression: NONE", text)

    def agrees(self, daemon: Daemon, cipher: str) -> bool:
        """Say whether the daemon agrees on a cipher."""
        command = self.openssl(daemon, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
        given: Any = {"env": self.environment(), "cwd": self.directory, "timeout": DEADLINE}
        pipes: Any = {"stdin": subprocess.DEVNULL, "capture_output": True}
        done: CompletedProcess[bytes] = subprocess.run(command, **pipes, **given)
        return done.returncode == 0

    def test_ncat(self) -> None:
        """ncat verifies the daemon, and is answered."""
        with self.serve_tls() as daemon:
            port = self.target(daemon).rpartition(":")[2]
            trust = ["--ssl-verify", "--ssl-trustfile", str(self.ca)]
            # It compares names, not addresses.
            text = self.converse([locate("ncat"), "-4", *trust, "localhost", port])
            self.assertEqual((text, self.status), ("hello there\n", 0))

    def test_socat(self) -> None:
        """So does socat."""
        with self.serve_tls() as daemon:
            options = f"cafile={self.ca},verify=1"
            address = f"OPENSSL:{self.target(daemon)},{options}"
            text = self.converse([locate("socat"), "-t15", "-", address])
            self.assertEqual((text, self.status), ("hello there\n", 0))

    def test_testssl(self) -> None:
        """testssl.sh finds TLS 1.2 and 1.3, no older version, and no weak cipher."""
        found = self.grade("-p", "-s")
        self.assertEqual(found.get("TLS1_2"), "OK")
        self.assertEqual(found.get("TLS1_3"), "OK")
        for name in ("SSLv2", "SSLv3", "TLS1", "TLS1_1"):
            self.assertIn(found.get(name), ("OK", "INFO"), name)
        lists = {name: bad for name, bad in found.items() if name.startswith("cipherlist_")}
        self.assertGreater(len(lists), 5)
        self.assertEqual({name for name in lists if lists[name] not in ("OK", "INFO")}, set())

    def test_weaknesses(self) -> None:
        """testssl.sh finds none of the weaknesses of TLS that have a name."""
        found = self.grade("-U")
        for name in ("heartbleed", "CCS", "ROBOT", "secure_client_renego", "SWEET32", "LUCKY13"):
            self.assertEqual(found.get(name), "OK", name)
        about_here = ("engine_problem", "service")
        bad = {name for name in found if found[name] not in ("OK", "INFO")}
        self.assertEqual(bad.difference(about_here), set())

    def grade(self, *tests: str) -> dict[str, str]:
        """Have testssl.sh try a service; return how bad each thing is that it finds."""
        with self.serve_tls("accept_burst = 100000\nlog_connections = no") as daemon:
            report = self.directory / "report.csv"
            options = ["--quiet", "--color", "0", "--warnings", "off", "--ip", "one"]
            options += ["--openssl", locate("openssl"), "--csvfile", str(report)]
            self.run_bounded([locate("testssl"), *options, *tests, self.target(daemon)])
            return severities(report)

    def run_bounded(self, command: list[str]) -> None:
        """Run a command with all that it starts, up to its end or L{TESTSSL_TIME}."""
        given: Any = {"env": self.environment(), "cwd": self.directory}
        pipes: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        with Popen(command, start_new_session=True, **pipes, **given) as process:
            try:
                process.wait(TESTSSL_TIME)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


def severities(report: Path) -> dict[str, str]:
    """Read what testssl.sh found: how bad each thing is, by its name."""
    rows = [line.split('","') for line in report.read_text().splitlines()[1:]]
    return {row[0].strip('"'): row[3] for row in rows if len(row) > 4}
