"""How the daemon starts, and how it refuses to: statuses, complaints, and what is left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.support.processes import SystemCase
from tests.support.sockets import read_to_end

#: The statuses of a start that fails: a bad configuration (sysexits.h), anything else.
BAD_CONFIG = 78
FAILED = 1

ECHO = "[echo]\nlisten = tcp:0:interface=127.0.0.1\n"

NOTHING = ": serves nothing; add a section such as [echo] with listen = tcp:7007"

# Line by line: what a person may get wrong.
WRONG = """
[socketd]
drain_timeout = soon
[ehco]
listen = tcp:0
[time]
listen = udp:-1
epoch = 1970
[echo]
listen =
    tcp:70000
    interface=127.0.0.1
    dtls:0
operater = auto
so_keepalvie = yes
[upper]
[echo]
listen = udp:0
nonsense
[late one]
protocol = echo
listen = tcp:0
"""

# The complaints of it, behind the name of its file; C{.*} is the rest of a line.
COMPLAINTS = r"""
:3: [socketd] drain_timeout = soon: is not a duration; write 250ms, 10s, 5m or 1h
:4: [ehco]: is not a protocol; did you mean echo?
:7: [time] listen = udp:-1: has the port -1; a port is a number from 0 to 65535
:8: [time] epoch = 1970: is not known; write unix or 1900
:10: [echo] listen = tcp:70000: has the port 70000; a port is a number from 0 to 65535
:10: [echo] listen = interface=127.0.0.1: has no kind; .*
:10: [echo] listen = dtls:0: has the unknown kind dtls:; .*
:14: [echo] operater: is not an option here; docs/options.md has the list
:15: [echo] so_keepalvie: is not an option here; did you mean so_keepalive?
:16: [upper]: has no listen; write listen = .*
:17: [echo]: is there twice; join the two
:19: is neither [section] nor option = value
:20: [late one]: is not a service name; use up to 32 letters, digits and . _ -
"""


#: Listeners in each other's way.
CONFLICTS = r"""
[socketd]
http = tcp:7007
control = {runtime}/sock
[echo]
listen =
    tcp:7007
    tcp:7008:interface=127.0.0.1
    tcp6:7009:interface=\:\:1
    unix:{runtime}/sock
[upper]
listen =
    tcp:7008
    tcp6:7009:interface=0\:0\:\:1
    unix:{runtime}//sock
"""

TAKEN = """
:3: [socketd] http = tcp 127.0.0.1:7007: is taken already, by tcp *:7007 of [echo]; .*
:4: [socketd] control = .*: is taken already, by [echo]
:12: [upper] listen = tcp *:7008: is taken already, by tcp 127.0.0.1:7008 of [echo]; .*
:12: [upper] listen = tcp6 [0:0::1]:7009: is taken already, by tcp6 [::1]:7009 of [echo]
:12: [upper] listen = unix .*: is taken already, by unix .* of [echo]
"""

#: What other programs have in their files.
ELSEWHERE = """
[socketd]
control = /run/x.sock  # for operators
[echo]
listen = 127.0.0.1:7007, [::1]:7007, tcp://:7007, UDP:7, tcp:7 udp:7, tcp:7:interface=eth0
reply = hello
[upper]
listen = tcp:7   # upper
[ack]
port = 7007
listen: tcp:7
"""

MEANT = r"""
:3: [socketd] control = .*: has a #, and .*; write /run/x.sock  ; for operators
:5: [echo] listen = 127.0.0.1:7007: .*; write tcp:7007:interface=127.0.0.1
:5: [echo] listen = [::1]:7007: .*; write tcp6:7007:interface=\:\:1
:5: [echo] listen = tcp://:7007: .*; write tcp:7007
:5: [echo] listen = UDP:7: .*; write udp:7
:5: [echo] listen = tcp:7 udp:7: .*; write tcp:7, udp:7
:5: [echo] listen = tcp:7:interface=eth0: .*; write tcp:7 and so_bindtodevice = eth0
:6: [echo] reply: is not an option here; ack and reply have it
:8: [upper] listen = tcp:7   # upper: .*; write tcp:7  ; upper
:9: [ack]: has no listen; .*
:10: [ack] port: is not an option here; write listen = tcp:7007 or udp:7007
:11: is neither [section] nor option = value; write listen = tcp:7
"""


def check_lines(test: SystemCase, text: str, lines: Sequence[str]) -> None:
    """Compare lines; where one ends in C{.*} the rest may be anything."""
    test.assertEqual(len(text.splitlines()), len(lines), text)
    for found, expected in zip(text.splitlines(), lines):
        test.assertRegex(found, f"^{re.escape(expected).replace(re.escape('.*'), '.+')}$")


class ConfigurationTests(SystemCase):
    """Tests for configurations that cannot be used."""

    def test_wrong(self) -> None:
        """All that is wrong is said in one line each, alike by the daemon and the check."""
        file = self.write("wrong.ini", WRONG)
        self._check_refusal(file, *COMPLAINTS.strip().split("\n"))

    def test_empty(self) -> None:
        """A file that says nothing serves nothing."""
        self._check_refusal(self.write("empty.ini", ""), NOTHING)

    def test_no_services(self) -> None:
        """So does one without services; a service that is not enabled is none."""
        ini = f"[socketd]\ndrain_timeout = 1s\n{ECHO}enabled = no\n"
        self._check_refusal(self.write("none.ini", ini), NOTHING)

    def test_not_text(self) -> None:
        """A file that is not UTF-8 is refused with the line of its first bad byte."""
        file = self.write("latin.ini", f"{ECHO}; caf".encode() + b"\xe9\n")
        self._check_refusal(file, ":3: is not UTF-8 text (byte 0xe9)")

    def test_missing(self) -> None:
        """A file that is not there is named."""
        missing = ": cannot be read: No such file or directory"
        self._check_refusal(self.directory / "none.ini", missing)

    def test_directory(self) -> None:
        """A directory is no configuration."""
        self._check_refusal(self.directory, ": cannot be read: Is a directory")

    def test_read_fails(self) -> None:
        """A file that can be opened and not read is refused."""
        self._check_refusal(Path("/proc/self/mem"), ": cannot be read: Input/output error")

    def test_nothing_bound(self) -> None:
        """A good service beside a broken one is not started."""
        path = self.directory / "echo.sock"
        file = self.write("half.ini", f"[echo]\nlisten = unix:{path}\n[ehco]\nlisten = tcp:0\n")
        self._check_refusal(file, ":3: [ehco]: is not a protocol; did you mean echo?")
        self.assertFalse(path.exists())

    def test_conflicts(self) -> None:
        """What cannot be bound beside each other is said by the check as by the start."""
        self._check_refusal(self.write("conflicts.ini", CONFLICTS), *TAKEN.strip().split("\n"))

    def test_elsewhere(self) -> None:
        """So is what other programs would take for a listener, a comment or an option."""
        self._check_refusal(self.write("elsewhere.ini", ELSEWHERE), *MEANT.strip().split("\n"))

    def _check_refusal(self, file: Path, *complaints: str) -> None:
        lines = [f"{file}{complaint}" for complaint in complaints]
        for ended in self.run_both(file):
            self.assertEqual((ended.status, ended.output), (BAD_CONFIG, ""), ended.errors)
            check_lines(self, ended.errors, lines)


class SearchTests(SystemCase):
    """Tests for the way to the configuration."""

    def test_variable(self) -> None:
        """Without --config, $SOCKETD_CONFIG names the file."""
        file = self.write("variable.ini", "[wrong]\n")
        for ended in self.run_both(SOCKETD_CONFIG=str(file)):
            self.assertEqual(ended.status, BAD_CONFIG)
            self.assertRegex(ended.errors, rf"^{re.escape(str(file))}:1: \[wrong\]")

    def test_option_first(self) -> None:
        """What the command line names comes before the environment."""
        named = self.write("named.ini", "[named]\n")
        variable = self.write("variable.ini", "[wrong]\n")
        for ended in self.run_both(named, SOCKETD_CONFIG=str(variable)):
            self.assertEqual(ended.status, BAD_CONFIG)
            self.assertRegex(ended.errors, rf"^{re.escape(str(named))}:1: \[named\]")
            self.assertNotIn("wrong", ended.errors)


class ReplyTests(SystemCase):
    """Tests for the texts of a configuration, as they arrive."""

    replies = {
        "percent": ("100 % %(here)s %d %%", b"100 % %(here)s %d %%"),
        "escapes": (r"a\nb\r\tc\\n\x00\xff", b"a\nb\r\tc\\n\x00\xff"),
        "words": ("Grüße, 你好 €", "Grüße, 你好 €".encode()),
    }

    def test_replies(self) -> None:
        """A per cent sign is itself, escapes are bytes, and the rest is UTF-8."""
        ini = "[defaults]\nclose = yes\n"
        for name, (text, _) in self.replies.items():
            ini += f"[{name}]\nprotocol = reply\nlisten = tcp:0:interface=127.0.0.1\n"
            ini += f"reply = {text}\n"
        with self.daemon(ini) as daemon:
            for name, (_, expected) in self.replies.items():
                with daemon.connect(name) as client:
                    client.sendall(b"?")
                    self.assertEqual(read_to_end(client), expected)


class BindTests(SystemCase):
    """Tests for listeners that cannot be bound."""

    TAKEN = f"Address already in use by .* (process {os.getpid()}); stop that, or write another"

    def test_in_use(self) -> None:
        """Every address in use is named, with its service; nothing stays bound."""
        free = self.directory / "free.sock"
        with ExitStack() as stack:
            tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            udp = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            udp.bind(("127.0.0.1", 0))
            tcp_port, udp_port = tcp.getsockname()[1], udp.getsockname()[1]
            ini = f"[echo]\nlisten = unix:{free}, tcp:{tcp_port}:interface=127.0.0.1\n"
            ini += f"[time]\nlisten = udp:{udp_port}:interface=127.0.0.1\n"
            self._check_failure(
                ini,
                f"[echo] cannot listen at tcp 127.0.0.1:{tcp_port}: {self.TAKEN} port in .*:2",
                f"[time] cannot listen at udp 127.0.0.1:{udp_port}: {self.TAKEN} port in .*:4",
            )
        self.assertFalse(free.exists())

    def test_absent(self) -> None:
        """An address and an interface that the machine lacks are named."""
        ini = "[echo]\nlisten =\n tcp:0:interface=203.0.113.1\n"
        ini += " tcp6:0:interface=fe80\\:\\:1%nosuch0\n"
        self._check_failure(
            ini,
            "[echo] cannot listen at tcp 203.0.113.1:0: Cannot assign requested address",
            "[echo] cannot listen at tcp6 [fe80::1%nosuch0]:0: bad host: .*",
        )

    def test_bad_host(self) -> None:
        """Names that no host can have are bad hosts, each in its line."""
        long = "x" * 64
        self._check_failure(
            f"[echo]\nlisten = tcp:0:interface={long}, udp:0:interface=no..host\n",
            f"[echo] cannot listen at tcp {long}:0: bad host: .*",
            "[echo] cannot listen at udp no..host:0: bad host: .*",
        )

    def test_optional(self) -> None:
        """The daemon skips an optional listener whose address is absent."""
        ini = f"{ECHO} tcp:0:interface=203.0.113.1:optional=yes\n"
        with self.daemon(ini) as daemon, daemon.connect("echo") as client:
            daemon.output.find(r"echo skipped optional listener tcp 203\.0\.113\.1:0: Cannot")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(read_to_end(client), b"")

    def test_live_socket(self) -> None:
        """A UNIX socket that another process serves is left alone."""
        path = str(self.directory / "live.sock")
        with socket.socket(socket.AF_UNIX) as live, socket.socket(socket.AF_UNIX) as client:
            live.bind(path)
            live.listen()
            self._check_failure(
                f"[echo]\nlisten = unix:{path}\n",
                f"[echo] cannot listen at unix {path}: {self.TAKEN} path in .*:2",
            )
            client.connect(path)

    def test_live_datagram_socket(self) -> None:
        """So is one that takes datagrams."""
        path = str(self.directory / "live.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as live:
            live.bind(path)
            self._check_failure(
                f"[time]\nlisten = unixgram:{path}\n",
                f"[time] cannot listen at unixgram {path}: {self.TAKEN} path in .*:2",
            )
            self.assertTrue(os.path.exists(path))

    def test_other_files(self) -> None:
        """A file that is no socket is left alone; so is a link."""
        file = self.write("notes", "keep me")
        link = self.directory / "link"
        link.symlink_to("nowhere")
        self._check_failure(
            f"[echo]\nlisten = unix:{file}, unix:{link}\n",
            *(
                f"[echo] cannot listen at unix {path}: the file is there and is no socket;"
                " write another path in .*:2"
                for path in (file, link)
            ),
        )
        self.assertEqual(file.read_text(), "keep me")
        self.assertEqual(os.readlink(link), "nowhere")

    def test_no_directory(self) -> None:
        """A directory that is not there is not made."""
        path = self.directory / "none" / "echo.sock"
        self._check_failure(
            f"[echo]\nlisten = unix:{path}\n",
            f"[echo] cannot listen at unix {path}: No such file or directory; make its directory,"
            " or write another path in .*:2",
        )

    def _check_failure(self, ini: str, *lines: str) -> None:
        """Start a daemon that fails."""
        ended = self.run_twistd(self.write("failing.ini", ini))
        self.assertEqual(ended.status, FAILED)
        self.assertNotIn("Traceback", ended.output)
        check_lines(self, ended.errors, lines)


class UnixTests(SystemCase):
    """Tests for the files of UNIX sockets."""

    def _ini(self) -> str:
        modes = {"all.sock": ":mode=666", "own.sock": ":mode=600", "group.sock": ""}
        lines = [f" unix:{self.directory / name}{mode}" for name, mode in modes.items()]
        return "\n".join(("[echo]", "listen =", *lines, ""))

    def _modes(self) -> list[int]:
        names = ("all.sock", "own.sock", "group.sock")
        return [stat.S_IMODE((self.directory / name).stat().st_mode) for name in names]

    def test_mode(self) -> None:
        """A socket has exactly its mode, whatever the umask, and is gone after a stop."""
        for umask in (0, 0o077):
            with self.daemon(self._ini(), umask=umask) as daemon:
                daemon.address("echo", "unix")
                self.assertEqual(self._modes(), [0o666, 0o600, 0o660])
            self.assertEqual(list(self.directory.glob("*.sock")), [])

    def test_stale(self) -> None:
        """The sockets that a killed daemon left are replaced."""
        left = self.daemon(self._ini())
        left.address("echo", "unix")
        left.kill()
        self.assertEqual(self._modes(), [0o666, 0o600, 0o660])
        with self.daemon(self._ini()) as daemon, daemon.connect("echo", "unix") as client:
            client.sendall(b"there you are")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(read_to_end(client), b"there you are")

    def test_replaced(self) -> None:
        """A file that took the place of the socket is not removed at the stop."""
        path = self.directory / "echo.sock"
        with self.daemon(f"[echo]\nlisten = unix:{path}\n") as daemon:
            daemon.address("echo", "unix")
            path.unlink()
            path.write_text("mine")
        self.assertEqual(path.read_text(), "mine")

    def test_runtime_directory(self) -> None:
        """The directory of C{{runtime}} is made for its owner only."""
        with self.daemon("[echo]\nlisten = unix:{runtime}/echo.sock\n", umask=0) as daemon:
            path = Path(daemon.address("echo", "unix"))
            self.assertEqual(path, self.directory / "socketd" / "echo.sock")
            self.assertEqual(stat.S_IMODE(path.parent.stat().st_mode), 0o700)

    def test_open_runtime_directory(self) -> None:
        """A directory that others can write to is not used, in one line."""
        runtime = self.directory / "socketd"
        runtime.mkdir()
        runtime.chmod(0o777)
        file = self.write("open.ini", "[echo]\nlisten = unix:{runtime}/echo.sock\n")
        ended = self.run_twistd(file)
        expected = f"is in {runtime}, which is not a directory that only its owner can write"
        self.assertEqual(ended.status, BAD_CONFIG)
        self.assertRegex(ended.errors, rf"\A.*{re.escape(expected)}\n\Z")


class StopTests(SystemCase):
    """Tests for the ways to end."""

    def test_interrupt(self) -> None:
        """An interrupt stops as well as a request to terminate."""
        path = self.directory / "echo.sock"
        with self.daemon(f"[echo]\nlisten = unix:{path}\n") as daemon:
            with daemon.connect("echo", "unix") as client:
                self.check_echo(client, b"here")
                daemon.ask_to_stop(signal.SIGINT)
                self.assertEqual(read_to_end(client), b"")
        self.assertFalse(path.exists())

    def test_drain(self) -> None:
        """A connection that does not end is reset when drain_timeout is over."""
        with self.daemon(f"[socketd]\ndrain_timeout = 100ms\n{ECHO}") as daemon:
            with daemon.connect("echo") as client:
                self.check_echo(client, b"still here")
                daemon.ask_to_stop()
                daemon.output.wait_for("1 connections did not finish and are reset")
