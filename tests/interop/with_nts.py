"""Network Time Security: chronyd, ntpsec's ntpd and OpenSSL as clients, chronyd as a server."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, Popen
from typing import Any

from socketd.protocols.clock.nts_keys import ROTATION
from tests.interop.client_case import GUARDED, InteropCase
from tests.protocols.clock.nts_client import USUAL, read_records
from tests.support.certificates import authority, issued
from tests.support.needs import locate, missing
from tests.support.polling import DEADLINE, wait_until
from tests.support.ports import free_port
from tests.support.processes import Daemon

NAME = "127.0.0.1"

INI = """
[nts-ke]
listen = tls:{ke}:interface=127.0.0.1
tls_certificate = {directory}/server.pem
ntp_port = {ntp}

[ntp]
listen = udp:{ntp}:interface=127.0.0.1
assume_synchronised = yes
nts = nts-ke
"""

#: A client that asks every second and never touches the clock.
CHRONYD = """
chronyd -x -d -U -u root
'server 127.0.0.1 nts ntsport {ke} iburst minpoll 0 maxpoll 0'
'ntstrustedcerts {directory}/ca.pem' 'bindcmdaddress {directory}/chronyd.sock' 'cmdport 0'
'pidfile {directory}/chronyd.pid'
"""

#: The same for ntpd, which writes a line for each answer that it takes.
NTP_CONF = """
server 127.0.0.1:{ke} nts ca {directory}/ca.pem iburst minpoll 3 maxpoll 3
interface ignore all
interface listen 127.0.0.1
statsdir {directory}/
filegen peerstats file peerstats type none enable
"""

#: A server that never touches the clock, which it takes for a good one.
CHRONYD_SERVER = """
chronyd -x -d -U -u root
'port {ntp}' 'bindaddress 127.0.0.1' 'allow 127.0.0.1' 'local stratum 5'
'ntsport {ke}' 'ntsserverkey {directory}/server.pem' 'ntsservercert {directory}/server.pem'
'bindcmdaddress {directory}/chronyd.sock' 'cmdport 0' 'pidfile {directory}/chronyd.pid'
"""

#: What chronyc tells of a server: key id, type, length, ..., NAKs, cookies, their length.
AUTHDATA = re.compile(
    r"^127\.0\.0\.1 +NTS +(\d+) +(\d+) +(\d+) +\S+ +(\d+) +(\d+) +(\d+) +(\d+)$", re.MULTILINE
)


class NtsClientTests(InteropCase):
    """Clients that others wrote prove each answer, and keep their cookies."""

    def setUp(self) -> None:
        super().setUp()
        made = issued(NAME, "localhost")
        made.write(str(self.directory / "server.pem"))
        self.ca = self.write("ca.pem", authority().pem())
        self.places = {"ke": free_port(), "ntp": free_port(), "directory": self.directory}
        self.keys = self.directory / "state" / "nts.keys"

    def environment(self, **more: str) -> dict[str, str]:
        return super().environment(STATE_DIRECTORY=str(self.directory / "state"), **more)

    def serve_nts(self) -> Daemon:
        """Start a daemon; each has the same ports and the same state."""
        daemon = self.serve(INI.format(**self.places))
        daemon.address("ntp", "udp")
        return daemon

    @contextmanager
    def chronyd(self, command_line: str = CHRONYD) -> Iterator[None]:
        """Run a client that stays, or a server."""
        name, *rest = shlex.split(command_line.format(**self.places))
        command = [*GUARDED, locate(name), *rest]
        arguments: dict[str, Any] = {"env": self.environment(), "cwd": self.directory}
        with Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, **arguments) as process:
            try:
                yield
            finally:
                process.terminate()

    def authdata(self) -> list[int]:
        """
        Ask chronyd about its keys.

        @return: key id, type, length, attempts, NAKs, cookies, their length; empty if it has none.
        """
        command = [locate("chronyc"), "-n", "-h", str(self.directory / "chronyd.sock"), "authdata"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
        match = AUTHDATA.search(ran.stdout)
        return [] if match is None else list(map(int, match.groups()))

    def received(self) -> int:
        """Count the good answers that chronyd has had, by its own count."""
        command = [locate("chronyc"), "-h", str(self.directory / "chronyd.sock"), "ntpdata"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
        match = re.search(r"^Total valid RX +: (\d+)$", ran.stdout, re.MULTILINE)
        return 0 if match is None else int(match[1])

    def wait_for_answers(self) -> None:
        """Wait until chronyd has had more good answers, of which some followed this moment."""
        before = self.received()
        wait_until(lambda: self.received() >= before + 3, timeout=4 * DEADLINE)

    def test_chronyd(self) -> None:
        """
        chronyd has keys of type 15, eight cookies of 100 bytes and no refusal; over a restart of
        the daemon, a reload and a rotation of the keys it asks for no others. Once the keys are
        gone it is refused once, and gets others by itself.
        """
        first = self.serve_nts()
        with self.chronyd():
            self.wait_for_answers()
            self.assertEqual(self.authdata(), [1, 15, 256, 0, 0, 8, 100])
            first.stop()
            with self.serve_nts() as second:
                self.wait_for_answers()
                self.assertEqual(self.authdata(), [1, 15, 256, 0, 0, 8, 100])
                self.make_older(self.keys)
                second.output.wait_for("ntp rotated the NTS keys")
                second.signal(1)
                second.output.wait_for("reloaded")
                self.wait_for_answers()
                self.assertEqual(self.authdata(), [1, 15, 256, 0, 0, 8, 100])
                second.stop()
            self.keys.unlink()
            with self.serve_nts():
                wait_until(lambda: self.authdata()[:1] == [2], timeout=4 * DEADLINE)
                self.wait_for_answers()
                self.assertEqual(self.authdata(), [2, 15, 256, 0, 0, 8, 100])

    def make_older(self, file: Path) -> None:
        """Let a day pass, as far as the keys know."""
        content = file.read_bytes()
        since = re.search(rb"since (\d+)", content)
        assert since is not None
        older = b"since %d" % (int(since[1]) - ROTATION - 1)
        file.write_bytes(content.replace(since[0], older))

    def test_query(self) -> None:
        """chronyd -Q takes the time, and refuses one whose certificate it does not know."""
        with self.serve_nts():
            server = "server 127.0.0.1 nts ntsport {ke} iburst maxsamples 1".format(**self.places)
            command = [locate("chronyd"), "-Q", "-U", "-u", "root", "-t", "10", server]
            command += [f"pidfile {self.directory}/q.pid", "cmdport 0"]
            ran = self.run_guarded([*command, f"ntstrustedcerts {self.ca}"])
            self.assertRegex(ran.stdout, r"System clock wrong by -?0\.0\d+ seconds")
            ran = self.run_guarded(command)
            self.assertNotIn("System clock wrong", ran.stdout)

    def test_command(self) -> None:
        """C{socketd time --nts} takes the time of chronyd, if it can verify the certificate."""
        words = ("time", "ntp:127.0.0.1:{ntp}", "--nts", "--nts-port", "{ke}", "--timeout", "2")
        command = [word.format(**self.places) for word in words]
        with self.chronyd(CHRONYD_SERVER):
            wait_until(lambda: self.run_socketd(*command, "--insecure", "-c", "1").status == 0)
            ended = self.run_socketd(*command, "--ca", str(self.ca), "--json", "-c", "8")
            self.assertEqual((ended.status, ended.errors), (0, ""))
            found = json.loads(ended.output)
            self.assertEqual((found["authenticated"], found["stratum"]), (True, 5))
            self.assertEqual(len(found["samples"]), 8)
            self.assertLess(abs(found["offset_seconds"]), 0.5)
            ended = self.run_socketd(*command)
            self.assertEqual((ended.status, ended.output), (1, ""))
            self.assertIn("authority that is not trusted", ended.errors)

    def openssl(self, *options: str, request: bytes = USUAL) -> subprocess.CompletedProcess[bytes]:
        """Speak with C{nts-ke} by OpenSSL's client."""
        target = "127.0.0.1:{ke}".format(**self.places)
        command = [locate("openssl"), "s_client", "-connect", target, "-CAfile", str(self.ca)]
        return subprocess.run(
            [*command, *options], input=request, capture_output=True, timeout=DEADLINE
        )

    def test_close_notify(self) -> None:
        """The response is whole, and TLS is ended behind it (section 4)."""
        with self.serve_nts():
            ran = self.openssl("-alpn", "ntske/1", "-quiet", "-verify_return_error")
            self.assertEqual([kind for kind, _, _ in read_records(ran.stdout)][:4], [1, 4, 7, 5])
            self.assertEqual(ran.stdout[-4:], bytes.fromhex("80000000"))
            self.assertNotIn(b"unexpected eof", ran.stderr)

    def test_tls_1_2(self) -> None:
        """TLS 1.2 is refused, and so is another protocol (sections 3 and 4)."""
        with self.serve_nts():
            for options in (("-tls1_2", "-alpn", "ntske/1"), ("-alpn", "http/1.1")):
                ran = self.openssl(*options)
                self.assertIn(b"alert", ran.stderr, options)
                self.assertNotEqual(ran.returncode, 0)

    def unpack_ntpsec(self) -> Path:
        """
        Unpack ntpsec, which Debian does not install beside chrony.

        @return: the directory with its files.
        """
        at: dict[str, Any] = {"cwd": self.directory, "capture_output": True, "text": True}
        ran = subprocess.run([locate("apt-get"), "download", "ntpsec"], timeout=DEADLINE, **at)
        packages = [*map(str, self.directory.glob("ntpsec_*.deb"))]
        if ran.returncode or not packages:
            raise missing("ntpsec", f"apt-get download ntpsec fails: {ran.stderr.strip()}")
        subprocess.run(["dpkg", "-x", *packages, "ntpsec"], check=True, timeout=DEADLINE, **at)
        return self.directory / "ntpsec"

    def test_ntpd(self) -> None:
        """
        ntpsec's ntpd gets keys once, and takes answers, which it does for their proof only; also
        from a daemon that was started again.
        """
        if os.geteuid():
            raise missing("root", "ntpd asks from port 123")
        configuration = self.write("ntp.conf", NTP_CONF.format(**self.places))
        command = [*GUARDED, str(self.unpack_ntpsec() / "usr/sbin/ntpd"), "-n"]
        command += ["-c", str(configuration), "-l", str(self.directory / "ntpd.log")]
        arguments: dict[str, Any] = {"env": self.environment(), "cwd": self.directory}
        first = self.serve_nts()
        with Popen(command, stdin=DEVNULL, stdout=DEVNULL, stderr=STDOUT, **arguments) as process:
            try:
                self.wait_for_ntpd(1)
                first.stop()
                self.serve_nts()
                self.wait_for_ntpd(self.taken() + 2)
            finally:
                process.terminate()
        log = (self.directory / "ntpd.log").read_text()
        self.assertEqual(log.count("Got 8 cookies, length 100, aead=15."), 1)

    def taken(self) -> int:
        """Count the answers that ntpd has taken."""
        file = self.directory / "peerstats"
        return file.read_text().count(" 127.0.0.1 ") if file.exists() else 0

    def wait_for_ntpd(self, count: int) -> None:
        """Wait until ntpd has taken so many answers."""
        log = self.directory / "ntpd.log"
        wait_until(lambda: self.taken() >= count, log.read_text, timeout=6 * DEADLINE)
