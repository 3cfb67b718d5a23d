"""Sockets that are handed over at start, as systemd does it: sd_listen_fds(3)."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence

from tests.support.polling import DEADLINE
from tests.support.processes import Daemon
from tests.support.proxy import v1
from tests.support.sockets import read_exactly
from tests.support.tls import TlsCase, start_tls

FAILED = 1

#: What systemd does before it starts a service: moves the sockets to descriptors from 3 on, and
#: names their service (sd_listen_fds(3)).
HAND_OVER = """
import fcntl, os, sys
given = [int(one) for one in sys.argv[1].split(",") if one]
numbers = [fcntl.fcntl(number, fcntl.F_DUPFD, 100) for number in given]
for place, number in enumerate(numbers, 3):
    os.dup2(number, place)
    os.close(number)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(numbers))}
if sys.argv[2]:
    os.environ["LISTEN_FDNAMES"] = sys.argv[2]
os.execv(sys.argv[3], sys.argv[3:])
"""


class ActivationCase(TlsCase):
    """A daemon that is handed sockets."""

    def listener(self, kind: int = socket.SOCK_STREAM, path: str = "") -> socket.socket:
        """Make a socket as a socket unit has it."""
        sock = socket.socket(socket.AF_UNIX if path else socket.AF_INET, kind)
        self.addCleanup(sock.close)
        sock.bind(path or ("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        return sock

    def activate(self, ini: str, socks: Sequence[socket.socket], names: str) -> Daemon:
        numbers = [sock.fileno() for sock in socks]
        listed = ",".join(map(str, numbers))
        before = (sys.executable, "-c", HAND_OVER, listed, names)
        return self.daemon(ini, before=before, pass_fds=numbers)

    def refusal(self, ini: str, socks: Sequence[socket.socket], names: str) -> list[str]:
        """Start a daemon that does not come up, and return its complaints."""
        daemon = self.activate(ini, socks, names)
        self.assertEqual(daemon.wait(), FAILED)
        return daemon.errors.text.splitlines()


def connect(sock: socket.socket) -> socket.socket:
    """Connect to a listening socket, as a client of its address."""
    client = socket.socket(sock.family, sock.type)
    client.settimeout(DEADLINE)
    client.connect(sock.getsockname())
    return client


class ServedTests(ActivationCase):
    """Tests for sockets that are served."""

    def test_kinds(self) -> None:
        """
        Streams and datagrams, of IPv4 and UNIX, are served by the service that names them;
        one name may be for two sockets; a client that came before the daemon waits for it.
        """
        stream, datagram = self.listener(), self.listener(socket.SOCK_DGRAM)
        path = str(self.directory / "upper.sock")
        local = self.listener(path=path)
        ini = "[echo]\nlisten = systemd:both\n[upper]\nlisten = systemd:local\n"
        early = connect(stream)
        early.sendall(b"early")
        with early, self.activate(ini, [stream, datagram, local], "both:both:local") as daemon:
            self.assertEqual(read_exactly(early, 5), b"early")
            daemon.output.find(r"echo listens on systemd 127\.0\.0\.1:\d+$")
            daemon.output.find(rf"upper listens on systemd {path}$")
            with connect(datagram) as client:
                client.send(b"datagram")
                self.assertEqual(client.recv(100), b"datagram")
            with connect(local) as client:
                self.check_echo(client, b"local", b"LOCAL")
        self.assertTrue(os.path.exists(path), "the file is systemd's")

    def test_beside_others(self) -> None:
        """A service may have addresses of its own beside those handed over."""
        stream = self.listener()
        ini = "[echo]\nlisten = systemd:web, tcp:0:interface=127.0.0.1\n"
        with self.activate(ini, [stream], "web") as daemon:
            for client in (connect(stream), daemon.connect("echo")):
                with client:
                    self.check_echo(client)

    def test_layers(self) -> None:
        """TLS, and a PROXY header before it, are spoken there too."""
        secured, proxied = self.listener(), self.listener()
        lines = "systemd:secured:tls=yes, haproxy:systemd:proxied:tls=yes"
        ini = self.ini("proxy_from = 127.0.0.1", listen=lines)
        with self.activate(ini, [secured, proxied], "secured:proxied") as daemon:
            for sock, header in ((secured, b""), (proxied, v1())):
                raw = connect(sock)
                raw.sendall(header)
                with start_tls(raw) as client:
                    self.check_echo(client)
            daemon.output.wait_for(r"connection from 192\.0\.2\.7:4711 ")

    def test_unnamed(self) -> None:
        """A socket without a name is called C{unknown}, as systemd has it."""
        stream = self.listener()
        with self.activate("[echo]\nlisten = systemd:unknown\n", [stream], ""):
            with connect(stream) as client:
                self.check_echo(client)

    def test_stop_and_start(self) -> None:
        """The socket outlives the daemon: a client between two runs is served by the next."""
        stream = self.listener()
        ini = "[echo]\nlisten = systemd:web\n"
        with self.activate(ini, [stream], "web") as daemon:
            daemon.output.wait_for("listens on")
        with connect(stream) as between:
            between.sendall(b"hello")
            with self.activate(ini, [stream], "web"):
                self.assertEqual(read_exactly(between, 5), b"hello")


class RefusedTests(ActivationCase):
    """Tests for what does not fit; nothing is served then."""

    def test_not_named(self) -> None:
        """
        A socket that no service names is refused in one line: its clients would never be
        served.
        """
        first, second = self.listener(), self.listener()
        ini = "[echo]\nlisten = systemd:web\n"
        port = second.getsockname()[1]
        line = f"no service names the inherited socket other (127.0.0.1:{port})"
        self.assertEqual(self.refusal(ini, [first, second], "web:other"), [line])

    def test_no_such_socket(self) -> None:
        """So is a name without a socket, with the names that there are."""
        ini = "[echo]\nlisten = systemd:web\n[upper]\nlisten = systemd:loud\n"
        cannot = "[upper] cannot listen at systemd loud: no such socket was handed over"
        line = f"{cannot} (there is web); twistd must not fork"
        self.assertEqual(self.refusal(ini, [self.listener()], "web"), [line])
        line = "[echo] cannot listen at systemd web: no such socket was handed over"
        line += " (there is none); twistd must not fork"
        self.assertEqual(self.refusal(ini.partition("[upper]")[0], [], ""), [line])

    def test_wrong_kind(self) -> None:
        """A datagram socket is nothing for a protocol of streams only, nor for TLS."""
        datagram = self.listener(socket.SOCK_DGRAM)
        (line,) = self.refusal("[ack]\nlisten = systemd:web\n", [datagram], "web")
        self.assertRegex(line, r"^\[ack\] cannot listen at systemd web: .* is for datagrams")
        ini = self.ini(listen="systemd:web:tls=yes")
        (line,) = self.refusal(ini, [datagram], "web")
        self.assertRegex(line, r"^\[echo\] cannot listen at systemd web: .* is for datagrams;")

    def test_not_listening(self) -> None:
        """A stream that does not listen cannot be served; the line says what would be right."""
        sock = socket.socket()
        self.addCleanup(sock.close)
        lines = self.refusal("[echo]\nlisten = tcp:0:interface=127.0.0.1\n", [sock], "web")
        self.assertEqual(len(lines), 1, lines)
        self.assertRegex(lines[0], r"^inherited descriptor 3 \(web\): does not listen; ")
