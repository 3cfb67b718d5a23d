"""Every system of the socket tutorials, served as shipped and asked by the tutorial's client."""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import product
from typing import Any

from tests.support.needs import missing
from tests.support.polling import DEADLINE
from tests.support.processes import Daemon, SystemCase
from tests.support.sockets import address_of, read_exactly, read_to_end
from tests.support.source_tree import ROOT

SHIPPED = ROOT / "etc" / "socketd.ini"

#: The socket options of tutorial 000 that are on or off.
FLAGS = ("SO_REUSEADDR", "SO_KEEPALIVE", "SO_BROADCAST", "SO_DONTROUTE", "SO_OOBINLINE")

_PORT = re.compile(r"\b((?:tcp|udp)6?):(\d+)")


def tcpclient(sock: socket.socket, data: bytes) -> bytes:
    """Talk as C{tcpclient.py} of 000 and 001: send, shut down writing, read to the end."""
    sock.send(data)
    sock.shutdown(socket.SHUT_WR)
    return read_to_end(sock)


def clientudp(address: Any, data: bytes) -> int:
    """Ask for the time as C{clientudp.py} of 000 and 001."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(DEADLINE)
        sock.sendto(data, address)
        reply = sock.recvfrom(2048)[0]
    if len(reply) != 4:
        raise AssertionError(f"reply error {len(reply)}: {reply!r}")
    return int(struct.unpack("!I", reply)[0])


def phone(sock: socket.socket, messages: Iterable[str]) -> list[str]:
    """Call as the client of 002: one message after the other, each with its answer."""
    answers = []
    for message in messages:
        sock.send(message.encode("utf-8"))
        answers.append(read_exactly(sock, len(message)).decode("utf-8"))
    return answers


def say_hey(sock: socket.socket, message: bytes = b"Hey~~~") -> bytes:
    """Talk as C{client.py} of 003: send, and read; then see how the server closes."""
    sock.sendall(message)
    return read_to_end(sock, 1000)


def i_am_a_client(sock: socket.socket) -> bytes:
    """Talk as the threads of 004: send, and read the answer."""
    sock.send(b"I am a client")
    return read_exactly(sock, len(b"I am a server"))


def free_ports(ini: str) -> str:
    """Have the kernel choose the ports of a configuration."""
    return _PORT.sub(r"\1:0", ini)


def flags_of(sock: socket.socket) -> dict[str, bool]:
    numbers = {name: getattr(socket, name) for name in FLAGS}
    return {name: bool(sock.getsockopt(socket.SOL_SOCKET, n)) for name, n in numbers.items()}


class SeedCase(SystemCase):
    """A test of the shipped configuration."""

    def seeds(self, *options: str) -> Daemon:
        return self.daemon(free_ports(SHIPPED.read_text(encoding="utf-8")), *options)


class ShippedTests(SeedCase):
    """Tests for the ports of the shipped configuration."""

    def test_ports(self) -> None:
        """They are the tutorials' own, all of them on loopback."""
        lines = SHIPPED.read_text(encoding="utf-8").splitlines()
        ini = "\n".join(line for line in lines if not line.startswith(";"))
        ports = [match.groups() for match in _PORT.finditer(ini)]
        seeds = [("tcp", "12345"), ("udp", "12345"), ("tcp", "8080"), ("tcp6", "8080")]
        expected = [*seeds, ("tcp", "6789"), ("tcp", "9999")]
        self.assertEqual(ports[: len(expected)], expected)
        self.assertEqual(len(re.findall(r"interface=(127\.0\.0\.1|\\:\\:1)\b", ini)), len(ports))


class AckTests(SeedCase):
    """Tests for the TCP server of 000 and 001."""

    def test_with_operator(self) -> None:
        """The client gets its message, the acknowledgement and the operator's answer."""
        with self.seeds("--console") as daemon, daemon.connect("ack") as client:
            client.send(b"hello")
            client.shutdown(socket.SHUT_WR)
            daemon.output.wait_for(rf"^connection from {address_of(client)} \(ack \d+\)$")
            daemon.output.wait_for(r"^127\.0\.0\.1:hello$")
            daemon.output.wait_for(r"^input the word:")
            daemon.type("ok\n")
            self.assertEqual(read_to_end(client), b"hello\nI get it!\nok")

    def test_conversation(self) -> None:
        """A client that stays is read from again after each answer."""
        with self.seeds("--console") as daemon, daemon.connect("ack") as client:
            for message, word in ((b"one", "first"), (b"two", "second")):
                client.send(message)
                daemon.output.wait_for("^input the word:")
                daemon.type(f"{word}\n")
                expected = message + b"\nI get it!\n" + word.encode()
                self.assertEqual(read_exactly(client, len(expected)), expected)

    def test_without_operator(self) -> None:
        """No operator is waited for, and the log has the client and its message."""
        with self.seeds() as daemon, daemon.connect("ack") as client:
            self.assertEqual(tcpclient(client, b"hello"), b"hello\nI get it!\n")
            daemon.output.wait_for(rf"connection from {address_of(client)} \(ack \d+\)$")
            daemon.output.wait_for(r"127\.0\.0\.1:hello$")


class TimeTests(SeedCase):
    """Tests for the UDP server of 000 and 001."""

    def test_any_datagram(self) -> None:
        """An empty datagram, or any other, brings four bytes: the time."""
        with self.seeds() as daemon:
            address = daemon.address("time", "udp")
            for data in (b"", b"", b"what time is it?", bytes(2048), bytes(65507)):
                self.assertApproximates(clientudp(address, data), time.time(), 2)


class UpperTests(SeedCase):
    """Tests for the server of 002."""

    def test_second_client(self) -> None:
        """Each message is answered, and a second client need not wait for the first."""
        with self.seeds() as daemon, daemon.connect("upper") as first:
            self.assertEqual(phone(first, ["Hello", "how are you"]), ["HELLO", "HOW ARE YOU"])
            with daemon.connect("upper") as second:
                self.assertEqual(phone(second, ["me", "too"]), ["ME", "TOO"])
                self.assertEqual(phone(first, ["still here"]), ["STILL HERE"])
            self.assertEqual(phone(first, ["bye"]), ["BYE"])

    def test_unix(self) -> None:
        """It is served over a UNIX socket as well."""
        with self.seeds() as daemon, daemon.connect("upper", "unix") as client:
            self.assertEqual(phone(client, ["over", "unix"]), ["OVER", "UNIX"])

    def test_ipv6(self) -> None:
        """It is served over IPv6 as well, where the machine has it."""
        with self.seeds() as daemon:
            if daemon.output.find(r"upper (listens|skipped) .*tcp6")[1] == "skipped":
                raise missing("IPv6", "the machine has no ::1")
            with daemon.connect("upper", "tcp6") as client:
                self.assertEqual(phone(client, ["over", "six"]), ["OVER", "SIX"])


class TalkTests(SeedCase):
    """Tests for the server of 003."""

    def test_reply_and_close(self) -> None:
        """Any message brings the question, once; then the server closes."""
        reply = b"Are you want to talk to me"
        with self.seeds() as daemon:
            for message in (b"Hey~~~", b"\0", bytes(1000), bytes(2500)):
                with daemon.connect("talk") as client:
                    self.assertEqual(say_hey(client, message), reply)


class ServerTests(SeedCase):
    """Tests for the server of 004."""

    def test_five_clients(self) -> None:
        """Five clients talk at the same time, and none waits for another."""
        with self.seeds() as daemon, ExitStack() as stack:
            clients = [stack.enter_context(daemon.connect("server")) for _ in range(5)]
            for client in (*reversed(clients), *clients):
                self.assertEqual(i_am_a_client(client), b"I am a server")


class OptionTests(SystemCase):
    """Tests for the socket options of 000."""

    ini = "[echo]\nlisten =\n tcp:0:interface=127.0.0.1\n udp:0:interface=127.0.0.1\n"

    def test_flags(self) -> None:
        """Each flag is on or off at the daemon's sockets, as the configuration says it."""
        words = {"yes": True, "no": False}
        ini = ""
        for word in words:
            ini += self.ini.replace("[echo]", f"[{word}]\nprotocol = echo")
            ini += "".join(f"{name.lower()} = {word}\n" for name in FLAGS)
        with self.daemon(ini) as daemon:
            self._check_accepted()
            for service, kind in product(words, ("tcp", "udp")):
                with daemon.listening_socket(service, kind) as sock:
                    self.assertEqual(flags_of(sock), dict.fromkeys(FLAGS, words[service]))

    def test_urgent_data(self) -> None:
        """With SO_OOBINLINE a connection takes urgent data as ordinary data."""
        with self.daemon(f"{self.ini}so_oobinline = yes\n") as daemon:
            with daemon.connect("echo") as client:
                client.send(b"urgent", socket.MSG_OOB)
                self.assertEqual(read_exactly(client, 6), b"urgent")

    def test_device(self) -> None:
        """With SO_BINDTODEVICE one network interface is served."""
        with socket.socket() as probe:
            try:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
            except (AttributeError, OSError) as problem:
                raise missing("SO_BINDTODEVICE", f"{problem}") from None
        with self.daemon(f"{self.ini}so_bindtodevice = lo\n") as daemon:
            self._check_accepted()
            with daemon.listening_socket("echo") as sock, daemon.connect("echo") as client:
                found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
                self.assertEqual(found.rstrip(b"\0"), b"lo")
                self.assertEqual(tcpclient(client, b"here"), b"here")

    def test_refused_device(self) -> None:
        """A network interface that is not there is complained of, and nothing starts."""
        file = self.write("device.ini", f"{self.ini}so_bindtodevice = nosuch0\n")
        expected = f"{file}:5: [echo] so_bindtodevice: this system refuses it: No such device\n"
        for ended in self.run_both(file):
            self.assertEqual((ended.status, ended.output, ended.errors), (78, "", expected))

    def test_restart(self) -> None:
        """A daemon that stopped with connections open is started on its port at once."""
        with self.daemon(self.ini) as daemon, daemon.connect("echo") as client:
            client.send(b"before")
            self.assertEqual(read_exactly(client, 6), b"before")
            host, port = daemon.address("echo")
            daemon.ask_to_stop()
            self.assertEqual(client.recv(1), b"")
            client.close()
        with socket.socket() as plain:
            self.assertRaises(OSError, plain.bind, (host, port))
        with self.daemon(self.ini.replace("tcp:0", f"tcp:{port}")) as daemon:
            with daemon.connect("echo") as client:
                self.assertEqual(client.getpeername(), (host, port))
                self.assertEqual(tcpclient(client, b"again"), b"again")

    def _check_accepted(self) -> None:
        """Check that the file of the running daemon has no complaint."""
        ended = self.run_check(self.directory / "socketd.ini")
        self.assertEqual((ended.status, ended.errors), (0, ""))
        self.assertIn("configuration OK", ended.output)
