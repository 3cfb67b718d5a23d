"""
Files that cannot be read or written: configurations, certificates, the log, and those of
the machine.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import time
from collections.abc import Callable
from statistics import median
from threading import Thread

from socketd.settings.ini import MAX_FILE_BYTES
from tests.chaos import figures
from tests.chaos.fault_case import INI, FaultCase, echoes, with_mounts
from tests.support.certificates import Made, issued, of_unknown_version, write_private
from tests.support.namespaces import Namespace
from tests.support.nts import INI as NTS
from tests.support.polling import DEADLINE, repeating, wait_until
from tests.support.ports import free_port
from tests.support.processes import Daemon, Output
from tests.support.sockets import read_exactly
from tests.support.tls import NAME, connect_tls, der, peer_certificate, unverifying_context

#: The status of a configuration that is refused (sysexits.h).
BAD_CONFIG = 78

#: What is said where there is no place for sockets.
NO_RUN = (
    "socketd: cannot make /run/socketd for sockets: Read-only file system; mount a directory there"
    " that can be written, or set RUNTIME_DIRECTORY to another one\n"
)

#: A small pipe (bytes); one of a page would have room only when it is empty.
SMALL = 8192

#: How long half of the answers may take while the log is stuck (seconds): the log waits
#: 20 ms at most in each second. The slowest is the machine's, not the log's.
PROMPT = 0.5

#: Answers that are timed.
ASKED = 300

#: A reader of the log takes a page, and then does other things for so long (seconds).
PAUSE = 0.015

LOGGING = """
[echo]
listen = unix:{directory}/echo.sock
log_messages = text
"""


class RefusedReloadTests(FaultCase):
    """A configuration that cannot be used, at a reload."""

    def setUp(self) -> None:
        super().setUp()
        self.made = issued(NAME)
        self.put(self.made)
        self.ini = INI.format(directory=self.directory, port=free_port())
        self.ini += "[secure]\nprotocol = echo\nlisten = tls:0:interface=127.0.0.1\n"
        self.ini += f"tls_certificate = {self.directory}/server.pem\n"

    def put(self, made: Made, key: Made | None = None, end: int | None = None) -> None:
        """Put a certificate and a key in the place of the old ones."""
        data = made.pem() + (key or made).key_pem()
        write_private(f"{self.directory}/server.pem", data[:end])

    def check(self, breakages: dict[str, Callable[[], object]]) -> None:
        """Break something, have it read, and see that nothing changes, for each complaint."""
        with self.daemon(self.ini) as daemon, daemon.connect("echo") as stays:
            with connect_tls(daemon, "secure") as secure:
                for complaint, spoil in breakages.items():
                    spoil()
                    ended = self.subcommand("reload")
                    self.assertEqual(ended.status, BAD_CONFIG, complaint)
                    self.assertRegex(ended.errors, complaint)
                    self.check_echo(stays)
                    self.check_echo(secure)
                    self.assertTrue(echoes(f"{self.directory}/echo.sock"))
                    with connect_tls(daemon, "secure") as fresh:
                        self.assertEqual(peer_certificate(fresh), der(self.made))
                self._mend(daemon)

    def _mend(self, daemon: Daemon) -> None:
        """What is good again is taken."""
        file = self.directory / "socketd.ini"
        if file.is_dir():
            file.rmdir()
        else:
            file.unlink(missing_ok=True)
        self.write("socketd.ini", self.ini)
        # Its name is the clients' to judge.
        made = issued("elsewhere.example.org")
        self.put(made)
        self.assertEqual(self.subcommand("reload").status, 0)
        with connect_tls(daemon, "secure", unverifying_context()) as fresh:
            self.assertEqual(peer_certificate(fresh), der(made))

    def test_configurations(self) -> None:
        """
        A file that is wrong, too large, not UTF-8, unreadable, gone, or a directory is
        refused with its complaint, and what there was serves on.
        """
        file = self.directory / "socketd.ini"

        def link() -> None:
            file.unlink()
            file.symlink_to("/proc/self/mem")

        large = self.ini + "#" * MAX_FILE_BYTES
        self.check(
            {
                "did you mean echo": lambda: file.write_text(self.ini.replace("[echo]", "[ehco]")),
                "is larger than 1048576": lambda: file.write_text(large),
                r"is not UTF-8 text \(byte 0xff\)": lambda: file.write_bytes(b"[echo]\n\xff"),
                "Input/output error": link,
                "No such file": file.unlink,
                "Is a directory": file.mkdir,
            }
        )

    def test_certificates(self) -> None:
        """
        So is a certificate that is cut off, another one's, of an unknown version, or gone;
        one for another name is taken.
        """
        file = self.directory / "server.pem"
        strange = of_unknown_version(self.made) + self.made.key_pem()
        self.check(
            {
                "is cut off": lambda: self.put(self.made, end=-70),
                "is not the key of": lambda: self.put(self.made, issued(NAME, number=1)),
                "is damaged": lambda: file.write_bytes(strange),
                "No such file": file.unlink,
            }
        )


class StuckLogTests(FaultCase):
    """Standard output is a pipe that is not read, or slowly."""

    def check(self, note: str, meanwhile: Callable[[int], None]) -> str:
        """
        Ask one peer again and again while others have lines logged.

        @param meanwhile: reads the pipe, in a thread, until C{over}.
        @return: what is in the pipe in the end.
        """
        self.over = False
        readable, writable = os.pipe()
        fcntl.fcntl(writable, fcntl.F_SETPIPE_SZ, SMALL)
        daemon = self.daemon(LOGGING.format(directory=self.directory), stdout=writable)
        os.close(writable)
        path = f"{self.directory}/echo.sock"
        wait_until(lambda: echoes(path))
        reader = Thread(target=meanwhile, args=(readable,), daemon=True)
        reader.start()
        try:
            with repeating(lambda: echoes(path, b"y" * 100)) as problems:
                taken = [self._asked(path) for _ in range(ASKED)]
            self.assertEqual(problems, [])
            text = (
                f"{note}: an answer takes {1000 * median(taken):.1f} ms (median),"
                f" {1000 * max(taken):.0f} ms (slowest)"
            )
            figures.note(self, text)
            self.assertLess(median(taken), PROMPT)
        finally:
            self.over = True
            reader.join(DEADLINE)
        # What the daemon says at its end does not wait for long, either.
        wait_until(lambda: not _emptied(readable))
        output = Output(readable)
        daemon.ask_to_stop()
        self.assertEqual(daemon.wait(), 0)
        output.join()
        self.assertEqual(daemon.errors.text, "")
        return output.text

    def _asked(self, path: str) -> float:
        began = time.monotonic()
        self.assertTrue(echoes(path))
        return time.monotonic() - began

    def test_unread(self) -> None:
        """
        Where it is not read, peers are answered as before; lines are lost, and how many is
        logged when there is room.
        """
        text = self.check("unread", lambda descriptor: None)
        self.assertRegex(text, r"(?m)\d+ lines of the log could not be written$")

    def test_slow_reader(self) -> None:
        """Where it is read slowly, peers are answered as before, too."""

        def read(descriptor: int) -> None:
            while not self.over:
                if select.select([descriptor], [], [], 0)[0]:
                    os.read(descriptor, SMALL)
                select.select([], [], [], PAUSE)

        self.check("read slowly", read)


def _emptied(descriptor: int) -> bytes:
    """Read what a pipe has; nothing is the sign that it is empty, as it has a writer."""
    os.set_blocking(descriptor, False)
    try:
        return os.read(descriptor, SMALL)
    except BlockingIOError:
        return b""
    finally:
        os.set_blocking(descriptor, True)


class BareTests(FaultCase):
    """A machine that has next to nothing."""

    def test_bare(self) -> None:
        """
        The daemon starts and serves without any environment, in a read-only directory
        that has its configuration, without names of hosts or servers that know them.
        """
        here = self.directory
        hide = "[ ! -e {0} ] || mount --bind /dev/null {0}"
        before = with_mounts(
            f"mount --bind {here} {here}",
            f"mount -o remount,bind,ro {here}",
            *(hide.format(f"/etc/{name}") for name in ("resolv.conf", "hosts", "nsswitch.conf")),
        )
        ini = "[reply]\nlisten = tcp:0:interface=127.0.0.1\nreply = é\n"
        with self.daemon(ini, before=before, env={}) as daemon, daemon.connect("reply") as sock:
            sock.sendall(b"hello")
            self.assertEqual(read_exactly(sock, 2), "é".encode())
            mounts = self._read(daemon, "mountinfo")
            self.assertRegex(mounts, rf"(?m) {here} ro\b")
            self.assertIn(" /etc/resolv.conf ", mounts)
            self.assertNotIn("PATH=", self._read(daemon, "environ"))

    def test_no_run(self) -> None:
        """
        In a container whose disks are read-only, C{/run} too, the daemon serves, with workers as
        well, and keeps NTS keys in memory; where a socket is to be there, it ends with a line
        that says what to do.
        """
        bare = ("/run", "/dev/shm", "/var/tmp")
        before = with_mounts(*(f"mount -t tmpfs -o ro none {name}" for name in bare))
        env = {"RUNTIME_DIRECTORY": "/run/socketd/own", "STATE_DIRECTORY": "/run/state"}
        issued(NAME).write(f"{self.directory}/server.pem")
        echo = "[echo]\nlisten = tcp:0:interface=127.0.0.1\n"
        ini = echo + NTS.format(directory=self.directory)
        with self.daemon(ini, before=before, env=env) as it:
            self.assertTrue(echoes(it.address("echo")))
            it.output.find("NTS keys in memory only.*nts.keys: read-only file system")
        with self.daemon("[socketd]\nworkers = 2\n" + echo, before=before, env=env) as it:
            self.assertTrue(echoes(it.address("echo")))
        for socket_of in ("[socketd]\ncontrol", "[socketd]\nhttp", "[echo]\nlisten"):
            place = "{runtime}/a" if "control" in socket_of else "unix:{runtime}/a"
            ini = f"{echo if 'echo' not in socket_of else ''}{socket_of} = {place}\n"
            daemon = self.daemon(ini, before=before, env=env)
            self.assertEqual(daemon.wait(), 1)
            self.assertEqual(daemon.errors.text, NO_RUN)

    def test_no_ipv6(self) -> None:
        """
        Without IPv6 the daemon says which optional listeners it skips, and serves
        the others; with one that is not optional it says why it does not start, and
        leaves nothing bound.
        """
        network = Namespace()
        self.addCleanup(network.close)
        network.run("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6")
        listen = "[echo]\nlisten = unix:{0}/echo.sock,\n tcp:7:interface=127.0.0.1,\n"
        listen += " tcp6:7:interface=\\:\\:1{1},\n udp6:7:interface=\\:\\:1{1}\n"
        optional = listen.format(self.directory, ":optional=yes")
        with self.daemon(optional, before=network.command) as daemon:
            daemon.output.find(r"skipped optional listener tcp6 \[::1\]:7: Cannot assign")
            daemon.output.find(r"skipped optional listener udp6 \[::1\]:7: Cannot assign")
            self.assertTrue(echoes(f"{self.directory}/echo.sock"))
            with network.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
                sock.connect(("127.0.0.1", 7))
                self.check_echo(sock)
        daemon = self.daemon(listen.format(self.directory, ""), before=network.command)
        self.assertEqual(daemon.wait(), 1)
        complaints = daemon.errors.text.splitlines()
        self.assertEqual(len(complaints), 2, complaints)
        for kind, line in zip(("tcp6", "udp6"), complaints):
            expected = f"[echo] cannot listen at {kind} [::1]:7: Cannot assign requested address"
            self.assertEqual(line, expected)
        self.assertFalse((self.directory / "echo.sock").exists())

    def _read(self, daemon: Daemon, name: str) -> str:
        with open(f"/proc/{daemon.pid}/{name}", encoding="utf-8") as file:
            return file.read()
