"""Tests for L{socketd.net.sockets.activation}."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.net.sockets.activation import MAX_INHERITED, Inherited
from tests.support.source_tree import ROOT

#: Where descriptors are handed over to this process: above those it has anyway.
HIGH = 300

PID = 4711

#: What a complaint about a descriptor ends with.
SERVED = "; hand over listening streams and bound datagram sockets of IPv4, IPv6 or UNIX"

#: Moves its descriptors to where systemd puts them, takes them, and tells what it has;
#: and then what Twisted finds.
CHILD = """
import json, os, sys
from socketd.net.sockets.activation import Inherited
for place, number in enumerate(sys.argv[1:]):
    os.dup2(int(number), 3 + place, inheritable=True)
os.environ["LISTEN_PID"] = str(os.getpid())
early = "twisted.internet.endpoints" in sys.modules
inherited = Inherited.take(os.environ, os.getpid())
from twisted.internet.endpoints import _SystemdParser
print(json.dumps({
    "early": early,
    "left": [name for name in os.environ if name.startswith("LISTEN_")],
    "twisted": list(_SystemdParser._sddaemon.inheritedDescriptors()),
    "complaints": inherited.diagnostics,
    "sockets": [
        [one.name, one.sock.fileno(), one.describe(), one.is_stream,
         one.sock.getblocking(), one.sock.get_inheritable()]
        for one in inherited.sockets
    ],
}))
"""


def variables(count: object, names: str | None = None, pid: object = PID) -> dict[str, str]:
    """Make the environment of a process that is handed over sockets."""
    environ = {"LISTEN_PID": str(pid), "LISTEN_FDS": str(count), "PATH": "/bin"}
    if names is not None:
        environ["LISTEN_FDNAMES"] = names
    return environ


def is_open(number: int) -> bool:
    """Say whether there is a descriptor with this number."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


class InheritedTestCase(SynchronousTestCase):
    """
    Hands over sockets, and closes them all in the end.

    @ivar path: where a test can have a file or a UNIX socket.
    """

    def setUp(self) -> None:
        # Relative to the current folder: the path of a socket has to be short.
        self.path: str = os.path.relpath(self.mktemp())

    def make(self, family: int, kind: int, *, bound: bool = True, listening: bool = True) -> Any:
        """Make a socket."""
        made = socket.socket(family, kind)
        self.addCleanup(made.close)
        if bound:
            made.bind(self.path if family == socket.AF_UNIX else ("127.0.0.1", 0))
        if listening and kind != socket.SOCK_DGRAM:
            made.listen()
        return made

    def listening(self) -> socket.socket:
        """Make a socket that listens on TCP."""
        return self.make(socket.AF_INET, socket.SOCK_STREAM)  # type: ignore[no-any-return]

    def put(self, *handed: Any) -> int:
        """
        Put descriptors one behind the other, as the service manager does: they are
        passed on to other programs.

        @return: the first number.
        """
        first = HIGH
        while any(is_open(number) for number in range(first, first + len(handed))):
            first += 1
        for number, one in enumerate(handed, first):
            os.dup2(one if isinstance(one, int) else one.fileno(), number, inheritable=True)
            self.addCleanup(self.close, number)
        return first

    def close(self, number: int) -> None:
        """Close a descriptor, unless its socket object did."""
        with contextlib.suppress(OSError):
            os.close(number)

    def take(self, environ: dict[str, str], first: int) -> Inherited:
        """Take what is handed over."""
        inherited = Inherited.take(environ, PID, first)
        for one in inherited.sockets:
            self.addCleanup(one.sock.close)
        return inherited

    def complaint(self, *handed: Any) -> str:
        """Hand over descriptors; return what is said of the first, which cannot be used."""
        first = self.put(*handed)
        inherited = self.take(variables(len(handed), ":".join(["a"] * len(handed))), first)
        self.assertEqual(len(inherited.sockets), len(handed) - 1)
        (complaint,) = inherited.diagnostics
        start = f"inherited descriptor {first} (a): "
        self.assertTrue(complaint.startswith(start), complaint)
        return complaint.removeprefix(start)


class TakeTests(InheritedTestCase):
    """Tests for sockets that can be served."""

    def test_kinds(self) -> None:
        """Family, type and address are those of the socket, in the order of the numbers."""
        kinds = [
            (socket.AF_INET, socket.SOCK_STREAM),
            (socket.AF_INET, socket.SOCK_DGRAM),
            (socket.AF_UNIX, socket.SOCK_STREAM),
        ]
        made = [self.make(*kind) for kind in kinds]
        inherited = self.take(variables(3, "a:b:c"), self.put(*made))
        self.assertEqual(inherited.diagnostics, ())
        self.assertEqual([(one.sock.family, one.sock.type) for one in inherited.sockets], kinds)
        self.assertEqual([one.is_stream for one in inherited.sockets], [True, False, True])
        ports = [one.getsockname()[1] for one in made[:2]]
        self.assertEqual(
            [one.describe() for one in inherited.sockets],
            [*(f"127.0.0.1:{port}" for port in ports), f"unix {self.path}"],
        )

    def test_unix_datagrams(self) -> None:
        """A UNIX datagram socket with an abstract name can be served."""
        made = self.make(socket.AF_UNIX, socket.SOCK_DGRAM, bound=False)
        made.bind("")
        inherited = self.take(variables(1), self.put(made))
        (one,) = inherited.sockets
        self.assertEqual((one.address, one.is_stream), (made.getsockname(), False))
        self.assertTrue(one.describe().startswith("unix \\x00"), one.describe())

    def test_ipv6(self) -> None:
        """An IPv6 socket is one, whatever the machine has for it to be bound to."""
        made = self.make(socket.AF_INET6, socket.SOCK_STREAM, bound=False)
        (one,) = self.take(variables(1), self.put(made)).sockets
        self.assertEqual(one.sock.family, socket.AF_INET6)
        self.assertEqual(one.describe(), f"[::]:{made.getsockname()[1]}")

    def test_the_same_socket(self) -> None:
        """
        The socket is the one that was handed over: a client of it is accepted, and
        it still has its number.
        """
        made = self.listening()
        first = self.put(made)
        (one,) = self.take(variables(1), first).sockets
        self.assertEqual(one.sock.fileno(), first)
        with socket.create_connection(made.getsockname()) as peer:
            accepted, address = one.sock.accept()
            accepted.close()
            self.assertEqual(address, peer.getsockname())

    def test_prepared(self) -> None:
        """A socket that was taken does not block, and is not passed on."""
        made = self.listening()
        first = self.put(made)
        self.assertTrue(os.get_inheritable(first))
        self.assertTrue(os.get_blocking(first))
        (one,) = self.take(variables(1), first).sockets
        self.assertFalse(os.get_inheritable(first))
        self.assertFalse(os.get_blocking(first))
        self.assertEqual(one.sock.gettimeout(), 0.0)

    def test_variables_are_removed(self) -> None:
        """
        The variables are removed, and no others; those of another process, too, and
        those that are wrong.
        """
        for pid in (PID, PID + 1, "x"):
            environ = variables(1, "a", pid) | {"LISTEN_PIDFDID": "1"}
            self.take(environ, self.put(self.listening()))
            self.assertEqual(environ, {"PATH": "/bin"})


class NameTests(InheritedTestCase):
    """Tests for finding sockets by name."""

    def test_same_name(self) -> None:
        """All sockets with the same name are there."""
        made = [self.make(socket.AF_INET, kind) for kind in (1, 2, 1)]
        inherited = self.take(variables(3, "dns:dns:other"), self.put(*made))
        self.assertEqual(inherited.names(), ["dns", "other"])
        self.assertEqual([one.sock.type for one in inherited.named("dns")], [1, 2])
        self.assertEqual(inherited.named("other"), [inherited.sockets[2]])
        self.assertEqual(inherited.named("else"), [])

    def test_unnamed(self) -> None:
        """Sockets without names are called unknown, and so is one whose name is empty."""
        made = [self.listening() for _ in range(2)]
        first = self.put(*made)
        for names, expected in ((None, ["unknown"] * 2), ("", ["unknown"] * 2)):
            inherited = self.take(variables(2, names), first)
            self.assertEqual([one.name for one in inherited.sockets], expected)
            for one in inherited.sockets:
                one.sock.detach()
        inherited = self.take(variables(2, ":b"), first)
        self.assertEqual([one.name for one in inherited.sockets], ["unknown", "b"])

    def test_unclaimed(self) -> None:
        """The sockets that no listener names are listed."""
        made = [self.listening() for _ in range(3)]
        inherited = self.take(variables(3, "a:b:a"), self.put(*made))
        a, b, other = inherited.sockets
        self.assertEqual(inherited.unclaimed(["b", "c"]), [a, other])
        self.assertEqual(inherited.unclaimed({"a", "b"}), [])
        self.assertEqual(inherited.unclaimed(()), [a, b, other])


class NothingTests(InheritedTestCase):
    """Tests for when nothing is taken."""

    def test_not_ours(self) -> None:
        """Sockets for another process, or for none, are left alone without a diagnostic."""
        first = self.put(self.listening())
        half = [{"LISTEN_PID": str(PID)}, {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "a"}]
        for environ in (variables(1, pid=PID + 1), variables(1, "a:b", pid=0), {}, *half):
            inherited = self.take(environ, first)
            self.assertEqual((inherited.sockets, inherited.diagnostics), ((), ()))
        self.assertTrue(os.get_inheritable(first))
        self.assertTrue(os.get_blocking(first))

    def test_none(self) -> None:
        """No sockets at all are nothing to complain of."""
        inherited = self.take(variables(0), HIGH)
        self.assertEqual((inherited.sockets, inherited.diagnostics), ((), ()))

    def test_malformed(self) -> None:
        """Variables that make no sense are one complaint, and nothing is taken."""
        first = self.put(self.listening(), self.listening())
        names = "LISTEN_FDNAMES = {}: has {} names for 2 sockets; put one colon between two names"
        wrong = [
            (variables(2, pid=""), "LISTEN_PID = : is no number"),
            (variables(2, pid="-1"), "LISTEN_PID = -1: is no number"),
            (variables(2, pid="\u0664\u0667"), "LISTEN_PID = \u0664\u0667: is no number"),
            (variables(2, pid=f" {PID}"), f"LISTEN_PID =  {PID}: is no number"),
            (variables(""), "LISTEN_FDS = : is no number"),
            (variables("+2"), "LISTEN_FDS = +2: is no number"),
            (variables("2\n"), "LISTEN_FDS = 2\\n: is no number"),
            (variables("2.0"), "LISTEN_FDS = 2.0: is no number"),
            (variables("9" * 11), f"LISTEN_FDS = {'9' * 11}: is no number"),
            (variables(1025), "LISTEN_FDS = 1025: is more than 1024 sockets"),
            (variables("9" * 10), f"LISTEN_FDS = {'9' * 10}: is more than 1024 sockets"),
            (variables(2, "a"), names.format("a", 1)),
            (variables(2, "a:b:"), names.format("a:b:", 3)),
            (variables(2, "a\n"), names.format("a\\n", 1)),
        ]
        for environ, expected in wrong:
            inherited = self.take(environ, first)
            self.assertEqual((inherited.sockets, inherited.diagnostics), ((), (expected,)))
        self.assertTrue(os.get_blocking(first))

    def test_long_variables(self) -> None:
        """A complaint is short however long the variable is."""
        (complaint,) = self.take(variables(2, "a:" * 100_000), HIGH).diagnostics
        self.assertTrue(len(complaint) < 512, len(complaint))

    def test_bound(self) -> None:
        """The highest number of sockets is taken as such: each that is missing is told."""
        first = self.put(self.listening()) + 1
        while any(is_open(number) for number in range(first, first + MAX_INHERITED)):
            first += 1
        inherited = self.take(variables(MAX_INHERITED), first)
        self.assertEqual(inherited.sockets, ())
        self.assertEqual(len(inherited.diagnostics), MAX_INHERITED)


class UnusableTests(InheritedTestCase):
    """Tests for descriptors that cannot be served: a complaint, and the others are taken."""

    def test_types(self) -> None:
        """A socket of another type is told by the name of its type."""
        packets = self.make(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        found = self.complaint(packets, self.listening())
        self.assertEqual(found, f"is of type SOCK_SEQPACKET{SERVED}")

    def test_families(self) -> None:
        """A socket of another family is told by the number of its family."""
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM)
        self.addCleanup(netlink.close)
        found = self.complaint(netlink, self.listening())
        self.assertEqual(found, f"is of address family {int(socket.AF_NETLINK)}{SERVED}")

    def test_not_listening(self) -> None:
        """A stream that does not listen is a connection, or not ready: neither is served."""
        for made in (
            *socket.socketpair(),
            self.make(socket.AF_INET, socket.SOCK_STREAM, listening=False),
        ):
            self.addCleanup(made.close)
            self.assertEqual(self.complaint(made, self.listening()), f"does not listen{SERVED}")

    def test_not_bound(self) -> None:
        """A datagram socket without an address gets nothing, so it is not served."""
        for family in (socket.AF_INET, socket.AF_UNIX):
            made = self.make(family, socket.SOCK_DGRAM, bound=False)
            self.assertEqual(self.complaint(made, self.listening()), f"is not bound{SERVED}")

    def test_no_sockets(self) -> None:
        """A FIFO, a file, a folder and a device are told as such."""
        reading, writing = os.pipe()
        numbers = {"a FIFO": reading, "a device": os.open(os.devnull, os.O_RDONLY)}
        numbers["a file"] = os.open(self.path, os.O_CREAT)
        numbers["a directory"] = os.open(os.curdir, os.O_RDONLY)
        for number in (writing, *numbers.values()):
            self.addCleanup(os.close, number)
        for kind, number in numbers.items():
            self.assertEqual(self.complaint(number, self.listening()), f"is {kind}{SERVED}")

    def test_missing(self) -> None:
        """A number without a descriptor is told."""
        first = self.put(self.listening(), self.listening())
        os.close(first)
        inherited = self.take(variables(2, "a:b"), first)
        self.assertEqual([one.name for one in inherited.sockets], ["b"])
        expected = f"inherited descriptor {first} (a): Bad file descriptor"
        self.assertEqual(inherited.diagnostics, (expected,))

    def test_left_open(self) -> None:
        """What cannot be used stays open as it was, but is not passed on."""
        reading, writing = os.pipe()
        handed = (reading, self.make(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        first = self.put(*handed)
        os.close(reading)
        os.close(writing)
        inherited = self.take(variables(2), first)
        self.assertEqual(len(inherited.diagnostics), 2)
        for number in (first, first + 1):
            self.assertTrue(os.get_blocking(number))
            self.assertFalse(os.get_inheritable(number))

    def test_all_are_told(self) -> None:
        """There is a complaint for each, on one line, whatever the name is."""
        made = self.make(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        inherited = self.take(variables(2, "a\nb:\x1b"), self.put(made, made))
        self.assertEqual(
            [
                complaint.partition(" (")[2].partition(")")[0]
                for complaint in inherited.diagnostics
            ],
            ["a\\nb", "\\x1b"],
        )


class ProcessTests(InheritedTestCase):
    """Tests with a process of its own, which has its descriptors where systemd puts them."""

    def test_process(self) -> None:
        """
        A process takes its sockets from number 3 on, before Twisted can; nothing is
        left for Twisted then.
        """
        made = [self.make(socket.AF_INET, kind) for kind in (1, 2, 1)]
        first = self.put(*made, self.make(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        numbers = range(first, first + 4)
        told = self.run_child(numbers, LISTEN_FDS="4", LISTEN_FDNAMES="echo:echo:time:odd")
        (complaint,) = told.pop("complaints")
        expected = f"inherited descriptor 6 (odd): is of type SOCK_SEQPACKET{SERVED}"
        self.assertEqual(complaint, expected)
        where = [f"127.0.0.1:{one.getsockname()[1]}" for one in made]
        sockets = [
            ["echo", 3, where[0], True, False, False],
            ["echo", 4, where[1], False, False, False],
            ["time", 5, where[2], True, False, False],
        ]
        self.assertEqual(
            told, {"early": False, "left": [], "twisted": [], "sockets": sockets}
        )

    def run_child(self, numbers: range, **environ: str) -> Any:
        """Run a process with these descriptors; return what it told."""
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *map(str, numbers)],
            cwd=ROOT,
            env={**os.environ, **environ},
            pass_fds=tuple(numbers),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout)
