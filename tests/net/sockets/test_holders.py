"""Tests for L{socketd.net.sockets.holders}."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from socketd.net.sockets import holders
from socketd.net.sockets.holders import THIS, holder_of
from socketd.settings.listener_syntax import parse_listener

HEAD = "sl local_address rem_address st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode\n"

#: A row of a table, without the address, the state, the user and the inode.
ROW = "0: {} 00000000:0000 {} 00000000:00000000 00:00000000 00000000 {} 0 {} 1 ffff\n"

#: Holds a socket until its input ends.
HOLD = """
import socket, sys
family, kind, address = sys.argv[1:]
made = socket.socket(int(family), int(kind))
made.bind(eval(address))
if kind == "1":
    made.listen()
print(made.getsockname() if address[0] != "(" else made.getsockname()[1], flush=True)
sys.stdin.read()
"""


class RealTests(SynchronousTestCase):
    """Tests with sockets that there are, as Linux tells of them."""

    def setUp(self) -> None:
        if not Path("/proc/net/tcp").exists():
            raise SkipTest("there is no /proc of Linux here")

    def hold(self, family: int, kind: int, address: object) -> tuple[str, str]:
        """Have another process hold an address; return how it is named, and the port."""
        command = (sys.executable, "-c", HOLD, str(int(family)), str(int(kind)), repr(address))
        pipe = subprocess.PIPE
        child = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.addCleanup(child.wait)
        assert child.stdin is not None and child.stdout is not None
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.stdin.close)
        port = child.stdout.readline().strip()
        name = Path(f"/proc/{child.pid}/comm").read_text().strip()
        return f"{name} (process {child.pid})", port

    def holder(self, text: str) -> str:
        """Name the holder of a listener's address."""
        return holder_of(parse_listener(text, ""))

    def test_streams(self) -> None:
        """The holder of the address is named, or that of one that overlaps it."""
        name, port = self.hold(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
        for text in (f"tcp:{port}:interface=127.0.0.1", f"tcp:{port}", f"tls:{port}"):
            self.assertEqual(self.holder(text), name)
        self.assertEqual(self.holder(f"tcp:{port}:interface=127.0.0.9"), "")
        name, port = self.hold(socket.AF_INET, socket.SOCK_STREAM, ("0.0.0.0", 0))
        self.assertEqual(self.holder(f"tcp:{port}:interface=127.0.0.1"), name)

    def test_datagrams(self) -> None:
        """So it is with datagrams."""
        name, port = self.hold(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        self.assertEqual(self.holder(f"udp:{port}"), name)

    def test_ipv6(self) -> None:
        """One socket for IPv6 may have the port of IPv4, too."""
        if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
            raise SkipTest("there is no IPv6 here")
        name, port = self.hold(socket.AF_INET6, socket.SOCK_STREAM, ("::", 0))
        for text in (rf"tcp6:{port}:interface=\:\:1", f"tcp:{port}:interface=127.0.0.1"):
            self.assertEqual(self.holder(text), name)

    def test_paths(self) -> None:
        """So it is with paths, of both types, and through links of the directory."""
        for kind, word in ((socket.SOCK_STREAM, "unix"), (socket.SOCK_DGRAM, "unixgram")):
            # Not below the tests, which may be too deep for a UNIX socket.
            made = TemporaryDirectory(prefix="socketd-")
            self.addCleanup(made.cleanup)
            directory = os.path.realpath(f"{made.name}/directory")
            os.mkdir(directory)
            os.symlink(directory, f"{directory}.link")
            path = f"{directory}/a b"
            name, _ = self.hold(socket.AF_UNIX, kind, path)
            self.assertEqual(self.holder(f"{word}:{path}"), name)
            self.assertEqual(self.holder(f"{word}:{directory}.link/a b"), name)

    def test_this(self) -> None:
        """This process is not named by its number."""
        with socket.create_server(("127.0.0.1", 0)) as made:
            self.assertEqual(self.holder(f"tcp:{made.getsockname()[1]}"), THIS)

    def test_nobody(self) -> None:
        """Of an address that is free nothing is said."""
        with socket.create_server(("127.0.0.1", 0)) as made:
            port = made.getsockname()[1]
        self.assertEqual(self.holder(f"tcp:{port}:interface=127.0.0.1"), "")


class TableTests(SynchronousTestCase):
    """Tests with tables of other machines."""

    def setUp(self) -> None:
        self.proc = Path(self.mktemp())
        (self.proc / "net").mkdir(parents=True)

    def table(self, name: str, *rows: str) -> None:
        """Write a table."""
        (self.proc / "net" / name).write_text(HEAD + "".join(rows))

    def process(self, number: int, name: bytes, *links: str) -> None:
        """Have a process with descriptors."""
        directory = self.proc / str(number)
        (directory / "fd").mkdir(parents=True)
        (directory / "comm").write_bytes(name + b"\n")
        for descriptor, link in enumerate(links):
            (directory / "fd" / str(descriptor)).symlink_to(link)

    def holder(self, text: str) -> str:
        """Name the holder of a listener's address."""
        return holder_of(parse_listener(text, ""), self.proc)

    def test_name(self) -> None:
        """The name of a process is its own choice, and harmless."""
        self.table("tcp", ROW.format("00000000:0050", "0A", 33, 77))
        self.process(1, b"init", "/dev/null", "socket:[7]")
        self.process(812, b"ng\x1b[2Jinx", "/dev/null", "socket:[77]")
        self.assertEqual(self.holder("tcp:80"), "ng\\x1b[2Jinx (process 812)")

    def test_user(self) -> None:
        """Where no process may be looked into, its user is told."""
        self.table("udp", ROW.format("00000000:0050", "07", 0, 77))
        self.assertEqual(self.holder("udp:80"), "a process of root")
        self.table("udp", ROW.format("00000000:0050", "07", 4000000000, 77))
        self.assertEqual(self.holder("udp:80"), "a process of user 4000000000")

    def test_who_listens(self) -> None:
        """Of several the one that listens is named; closed sockets have no holder."""
        self.table(
            "tcp",
            ROW.format("00000000:0050", "06", 0, 0),
            ROW.format("00000000:0050", "01", 1, 5),
            ROW.format("00000000:0050", "0A", 0, 6),
        )
        self.assertEqual(self.holder("tcp:80"), "a process of root")
        self.table("tcp", ROW.format("00000000:0050", "06", 0, 0))
        self.assertEqual(self.holder("tcp:80"), "")

    def test_addresses(self) -> None:
        """Addresses stand in words of the machine's own order."""
        cases = {
            "tcp:80:interface=192.0.2.7": ("tcp", (192, 0, 2, 7)),
            r"tcp6:80:interface=\:\:1": ("tcp6", (0,) * 15 + (1,)),
            "tcp:80:interface=192.0.2.8": ("tcp6", (0,) * 10 + (255, 255, 192, 0, 2, 8)),
        }
        for text, (name, octets) in cases.items():
            words = [bytes(octets[at : at + 4]) for at in range(0, len(octets), 4)]
            little = sys.byteorder == "little"
            written = "".join((word[::-1] if little else word).hex().upper() for word in words)
            self.table("tcp", "")
            self.table(name, ROW.format(f"{written}:0050", "0A", 0, 6))
            self.assertEqual(self.holder(text), "a process of root", text)

    def test_nonsense(self) -> None:
        """Without a table, or with an unknown one, the holder is not known."""
        self.assertEqual(self.holder("tcp:80"), "")
        self.assertEqual(self.holder("unix:/a"), "")
        for row in ("\n", "0: x\n", ROW.format("0:0050", "0A", 0, 6), ROW.format("0050", *"xyz")):
            self.table("tcp", row)
            self.assertEqual(self.holder("tcp:80"), "", row)
        self.table("unix", "0: 2 0 0 1 01 5 /a\n", "\n", "0: 2\n")
        self.assertEqual(self.holder("unix:/a"), "")

    def test_bounded(self) -> None:
        """However many sockets and descriptors there are, only so many are looked at."""
        self.patch(holders, "MAX_SOCKETS", 5)
        self.patch(holders, "MAX_DESCRIPTORS", 0)
        other = ROW.format("00000000:0051", "0A", 0, 1)
        wanted = ROW.format("00000000:0050", "0A", 33, 77)
        self.table("tcp", *[other] * 3, wanted)
        self.process(5, b"many", "socket:[77]")
        self.assertTrue(self.holder("tcp:80").startswith("a process of "))
        self.table("tcp", *[other] * 4, wanted)
        self.assertEqual(self.holder("tcp:80"), "")
