"""Tests for L{socketd.settings.listeners}."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.endpoints import _parse
from twisted.trial.unittest import SynchronousTestCase

from socketd.settings.listener_syntax import MAX_PATH, _split, parse_http, parse_listener
from socketd.settings.listeners import (
    DEFAULT_BACKLOG,
    DEFAULT_MODE,
    Listener,
    BindAddress,
    bind_address,
    is_local,
)
from tests.settings.refusals import RUNTIME, refusal

#: A string, its listener, and how that is written for people.
GOOD = [
    ("tcp:7", Listener("tcp", port=7), "tcp *:7"),
    ("tcp:0", Listener("tcp"), "tcp *:0"),
    ("tcp:65535", Listener("tcp", port=65535), "tcp *:65535"),
    ("tcp:7:interface=", Listener("tcp", port=7), "tcp *:7"),
    ("tcp:7:interface=127.0.0.1:backlog=5",
     Listener("tcp", "127.0.0.1", 7, backlog=5), "tcp 127.0.0.1:7"),
    ("interface=127.0.0.1:tcp:7", Listener("tcp", "127.0.0.1", 7), "tcp 127.0.0.1:7"),
    ("tcp:7:interface=localhost", Listener("tcp", "localhost", 7), "tcp localhost:7"),
    ("tcp6:7", Listener("tcp6", port=7), "tcp6 *:7"),
    (r"tcp6:7:interface=\:\:1:optional=yes",
     Listener("tcp6", "::1", 7, optional=True), "tcp6 [::1]:7"),
    (r"tcp6:7:interface=fe80\:\:1%lo", Listener("tcp6", "fe80::1%lo", 7), "tcp6 [fe80::1%lo]:7"),
    ("tcp6:7:interface=localhost", Listener("tcp6", "localhost", 7), "tcp6 localhost:7"),
    ("udp:7:interface=10.0.0.1", Listener("udp", "10.0.0.1", 7), "udp 10.0.0.1:7"),
    ("udp:7:optional=no", Listener("udp", port=7), "udp *:7"),
    (r"udp6:7:interface=\:\:", Listener("udp6", "::", 7), "udp6 [::]:7"),
    ("unix:/run/a.sock", Listener("unix", path="/run/a.sock"), "unix /run/a.sock"),
    ("unix:/run/a.sock:mode=600:backlog=1",
     Listener("unix", path="/run/a.sock", mode=0o600, backlog=1), "unix /run/a.sock"),
    (r"unix:/run/a\:b\=c\\", Listener("unix", path="/run/a:b=c\\"), "unix /run/a:b=c\\"),
    ("unix:{runtime}/a", Listener("unix", path="/run/test/a"), "unix /run/test/a"),
    ("unixgram:a:mode=0", Listener("unixgram", path="a", mode=0), "unixgram a"),
    ("unixgram:a:mode=777", Listener("unixgram", path="a", mode=0o777), "unixgram a"),
    ("tls:443:backlog=9", Listener("tls", port=443, backlog=9, tls=True), "tls *:443"),
    ("tls6:443", Listener("tls6", port=443, tls=True), "tls6 *:443"),
    ("systemd:web", Listener("systemd", name="web"), "systemd web"),
    ("systemd:web:tls=yes", Listener("systemd", name="web", tls=True), "systemd web"),
    ("haproxy:tcp:7", Listener("tcp", port=7, proxied=True), "tcp *:7"),
    ("haproxy:tls:7", Listener("tls", port=7, tls=True, proxied=True), "tls *:7"),
    ("haproxy:unix:a", Listener("unix", path="a", proxied=True), "unix a"),
    ("haproxy:systemd:web", Listener("systemd", name="web", proxied=True), "systemd web"),
]  # fmt: skip

KINDS = "known are haproxy, systemd, tcp, tcp6, tls, tls6, udp, udp6, unix, unixgram"
FORMS = "write tcp:PORT, udp:PORT or unix:PATH"
PORT = "a port is a number from 0 to 65535"
BACKLOG = "a backlog is a number from 1 to 65535"
MODE = "a mode is octal, such as 660"

#: A string, and what is wrong with it.
BAD = {
    "": f"is not a listener; {FORMS}",
    "7": "is not a listener; write tcp:7 or udp:7",
    "tcp:/run/x": "has the port /run/x; a port is a number from 0 to 65535",
    "TCP:7": "has the unknown kind TCP:; write tcp:7",
    "tpc:7": "has the unknown kind tpc:; write tcp:7",
    "ssl:443": "has the unknown kind ssl:; write tls:443",
    "tcp": "takes one port: tcp:...",
    "udp:7:8": "takes one port: udp:...",
    "tcp:127.0.0.1:7": "takes one port: tcp:...; write tcp:7:interface=127.0.0.1",
    "tcp6:7:interface=::1": r"takes one port: tcp6:...; write tcp6:7:interface=\:\:1",
    "unix": "takes one path: unix:...",
    "unix:/a:/b": "takes one path: unix:...",
    "unix:": "has no path; write unix:/run/socketd/NAME.sock",
    "unix:~/a.sock": "has a ~, which is not expanded; write the whole path",
    r"tcp6:7:interface=\:\:ffff\:192.0.2.7":
        "has an IPv4 address written as one of IPv6; write tcp:7:interface=192.0.2.7",
    "unix:/" + "a" * MAX_PATH: f"has a path of over {MAX_PATH} bytes; choose a shorter one",
    "unix:/" + "ä" * 54: f"has a path of over {MAX_PATH} bytes; choose a shorter one",
    "tcp:": f"has the port ; {PORT}",
    "tcp:x": f"has the port x; {PORT}",
    "tcp:-1": f"has the port -1; {PORT}",
    "tcp:70000": f"has the port 70000; {PORT}",
    "tcp:65536": f"has the port 65536; {PORT}",
    "tcp: 7": f"has the port  7; {PORT}",
    "tcp:000007": f"has the port 000007; {PORT}",
    "tcp:٧": f"has the port ٧; {PORT}",
    "tcp:7:backlog=0": f"has the backlog 0; {BACKLOG}",
    "tcp:7:backlog=many": f"has the backlog many; {BACKLOG}",
    "unix:a:mode=888": f"has the mode 888; {MODE}",
    "unix:a:mode=1000": f"has the mode 1000; {MODE}",
    "unix:a:mode=1777": f"has the mode 1777; {MODE}",
    "unix:a:mode=-1": f"has the mode -1; {MODE}",
    "unix:a:mode=": f"has the mode ; {MODE}",
    "unix:a:mode=rw": f"has the mode rw; {MODE}",
    "tcp:7:optional=maybe": "has optional=maybe; write yes or no",
    "tcp:7:mode=660": "has the unknown argument mode=; known are backlog, interface, optional",
    "tcp:7:interfaces=lo": "has the unknown argument interfaces=; did you mean interface?",
    "udp:0:tls=yes": "has the unknown argument tls=; known are interface, optional",
    "udp:7:backlog=5": "has the unknown argument backlog=; known are interface, optional",
    "unix:a:interface=b": "has the unknown argument interface=; known are backlog, mode, optional",
    "unixgram:a:backlog=5": "has the unknown argument backlog=; known are mode, optional",
    r"tcp:7:interface=\:\:1": r"has an IPv6 interface; write tcp6:7:interface=\:\:1",
    r"udp:7:interface=\:\:": "has an IPv6 interface; write udp6:7",
    "tcp6:7:interface=127.0.0.1": "has an IPv4 interface; write tcp:7:interface=127.0.0.1",
    "udp6:7:interface=0.0.0.0": "has an IPv4 interface; write udp:7",
    r"tls:7:interface=\:\:1": r"has an IPv6 interface; write tls6:7:interface=\:\:1",
    "systemd": "takes one name, that of FileDescriptorName=: systemd:NAME",
    "systemd:": "takes one name, that of FileDescriptorName=: systemd:NAME",
    "systemd:a:b": "takes one name, that of FileDescriptorName=: systemd:NAME",
    "systemd:a:tls=maybe": "has tls=maybe; write yes or no",
    "systemd:a:backlog=5": "has the unknown argument backlog=; known are tls",
    "haproxy:": f"is not a listener; {FORMS}",
    "haproxy:udp:7": "has haproxy: in front of udp:; write it before tcp:",
    "haproxy:unixgram:a": "has haproxy: in front of unixgram:; write it before tcp:",
    "haproxy:haproxy:tcp:7": "has haproxy: in front of tcp:; write it before tcp:",
}

#: What other programs call a listener, and what is one here.
ELSEWHERE = {
    "7007": "tcp:7007 or udp:7007",
    ":7007": "tcp:7007 or udp:7007",
    "*:7007": "tcp:7007",
    "0.0.0.0:7007": "tcp:7007",
    "127.0.0.1:7007": "tcp:7007:interface=127.0.0.1",
    "localhost:7007": "tcp:7007:interface=localhost",
    "[::1]:7007": r"tcp6:7007:interface=\:\:1",
    "::1:7007": r"tcp6:7007:interface=\:\:1",
    "[::]:7007": "tcp6:7007",
    ":::7007": "tcp6:7007",
    "[fe80::1%eth0]:7007": r"tcp6:7007:interface=fe80\:\:1%eth0",
    "[::ffff:127.0.0.1]:7007": "tcp:7007:interface=127.0.0.1",
    "7007/tcp": "tcp:7007",
    "7007/udp": "udp:7007",
    "tcp/7007": "tcp:7007",
    "tcp 7007": "tcp:7007",
    "TCP:7007": "tcp:7007",
    "UDP:7": "udp:7",
    "UDP6:7:interface=\\:\\:1": r"udp6:7:interface=\:\:1",
    "UNIX:/Run/X:mode=600": "unix:/Run/X:mode=600",
    "tcp://127.0.0.1:7007": "tcp:7007:interface=127.0.0.1",
    "tcp://:7007": "tcp:7007",
    "tcp://*:7007/": "tcp:7007",
    "udp://[::]:7007": "udp6:7007",
    "http://localhost:8080/": "tcp:8080:interface=localhost",
    "https://0.0.0.0:8443": "tls:8443",
    "ssl:443": "tls:443",
    "tcp4:7": "tcp:7",
    "tcp:127.0.0.1:7": "tcp:7:interface=127.0.0.1",
    "tcp:[::1]:7": r"tcp6:7:interface=\:\:1",
    "tcp:7:127.0.0.1": "tcp:7:interface=127.0.0.1",
    "tcp:7:address=127.0.0.1": "tcp:7:interface=127.0.0.1",
    "tcp:7:bind=::1": r"tcp6:7:interface=\:\:1",
    "tcp:port=7": "tcp:7",
    "tcp6:7:interface=::1": r"tcp6:7:interface=\:\:1",
    "tcp6:7:interface=::1:backlog=5": r"tcp6:7:interface=\:\:1:backlog=5",
    "tcp:7:interface=[::1]": r"tcp6:7:interface=\:\:1",
    "tls:7:interface=::": "tls6:7",
    "tcp:7:interface=*": "tcp:7",
    "tcp:7:interface=any": "tcp:7",
    "tcp:7:interface=lo": "tcp:7:interface=127.0.0.1",
    "127.0.0.1:7:backlog=5": "tcp:7:interface=127.0.0.1:backlog=5",
    "tcp:7 udp:7": "tcp:7, udp:7",
    "7007 7008": "tcp:7007, tcp:7008",
    "tcp:7 127.0.0.1:8 unix:/a": "tcp:7, tcp:8:interface=127.0.0.1, unix:/a",
    "/run/x.sock": "unix:/run/x.sock",
    "unix:/a:0660": "unix:/a:mode=0660",
    "unix:/a b:600": "unix:/a b:mode=600",
    '"tcp:7"': "tcp:7",
    "'unix:/a'": "unix:/a",
    "haproxy:127.0.0.1:7": "haproxy:tcp:7:interface=127.0.0.1",
    "HAPROXY:tcp:7": "haproxy:tcp:7",
    "SYSTEMD:web": "systemd:web",
    "tpc:7:backlog=5": "tcp:7:backlog=5",
}

#: Names of devices, which hold for every address that these have.
DEVICES = ("eth0", "wlan0", "br-0a1b", "bond0", "enp3s0", "eno1", "ens3", "wlp2s0", "eth0.100")

#: Strings in the grammar of Twisted's endpoints, sense or not.
SPLIT = [
    "",
    ":",
    "=",
    "a",
    "a:b:c",
    "a:b=c",
    "a:b=c=d",
    "b=c:a",
    "a:=c",
    "a:b=",
    "a:b=c:b=d",
    "a::b",
    r"a\:b",
    r"a\=b:c",
    r"a:b\=c=d",
    r"a:b=c\:d",
    r"a:b=c\=d",
    r"a\\:b",
    r"a\\\:b",
    r"\a\b",
    r"tcp6:7:interface=\:\:1",
    "tcp:80:interface=127.0.0.1:backlog=50",
    "unix:/var/run/ä b:mode=660",
    "a:==",
    "==a:b",
]


class ParseListenerTests(SynchronousTestCase):
    """Tests for L{parse_listener} and L{Listener}."""

    def test_good(self) -> None:
        """A string becomes a listener, which people can read again."""
        read = [(text, parse_listener(text, RUNTIME)) for text, *_ in GOOD]
        self.assertEqual([(text, found, str(found)) for text, found in read], GOOD)

    def test_bad(self) -> None:
        """What is wrong is said, and what would be right."""
        self.assertEqual({text: refusal(parse_listener, text, RUNTIME) for text in BAD}, BAD)

    def test_elsewhere(self) -> None:
        """What is a listener of another program is spelled as one of ours, which is right."""
        found = {
            text: refusal(parse_listener, text, RUNTIME).partition("; write ")[2]
            for text in ELSEWHERE
        }
        self.maxDiff = None
        self.assertEqual(found, ELSEWHERE)
        for right in ELSEWHERE.values():
            for text in right.replace(" or ", ", ").split(", "):
                parse_listener(text, RUNTIME)

    def test_devices(self) -> None:
        """A device is no address; it has an option of its own."""
        for name in DEVICES:
            found = refusal(parse_listener, f"udp:7:interface={name}", RUNTIME)
            expected = f"is a device; write udp:7 and so_bindtodevice = {name}"
            self.assertEqual(found, f"has the interface {name}, which {expected}")
        for name in ("loki", "eth", "enterprise", "br.example.org", "docker", "localhost"):
            self.assertEqual(parse_listener(f"tcp:7:interface={name}", "").interface, name)

    def test_no_guess(self) -> None:
        """Neither a long text nor one of many words is guessed at."""
        for text in ("x" * 300 + ":7", "tcp:7 " * 40):
            found = refusal(parse_listener, text, RUNTIME)
            self.assertNotIn("; write tcp:7", found)

    def test_longest_path(self) -> None:
        """The longest path that fits an address of the kernel's is taken."""
        path = "/" + "a" * (MAX_PATH - 1)
        self.assertEqual(parse_listener(f"unix:{path}", RUNTIME).path, path)

    def test_runtime_counts(self) -> None:
        """The path's length is that with the directory put in."""
        message = refusal(parse_listener, "unix:{runtime}/a", "/" + "r" * 105)
        self.assertEqual(message, f"has a path of over {MAX_PATH} bytes; choose a shorter one")

    def test_no_positional(self) -> None:
        """A string of arguments alone names no kind."""
        for text in ("interface=a", "mode=660:backlog=3"):
            message = "has no kind; write tcp:PORT, udp:PORT or unix:PATH"
            self.assertEqual(refusal(parse_listener, text, RUNTIME), message)

    def test_defaults(self) -> None:
        """What is not given is what suits most: a long queue, no stranger."""
        found = parse_listener("unix:a", RUNTIME)
        self.assertEqual((found.backlog, found.mode), (DEFAULT_BACKLOG, DEFAULT_MODE))
        self.assertEqual(found.mode & 0o007, 0)

    def test_sockets(self) -> None:
        """Each kind has its family and type."""
        inet, inet6, unix = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX
        expected: dict[str, Any] = {
            "tcp": (inet, socket.SOCK_STREAM, True),
            "tcp6": (inet6, socket.SOCK_STREAM, True),
            "unix": (unix, socket.SOCK_STREAM, True),
            "udp": (inet, socket.SOCK_DGRAM, False),
            "udp6": (inet6, socket.SOCK_DGRAM, False),
            "unixgram": (unix, socket.SOCK_DGRAM, False),
        }
        listeners = {kind: Listener(kind) for kind in expected}
        found = {kind: (one.family, one.type, one.is_stream) for kind, one in listeners.items()}
        self.assertEqual(found, expected)


class PlaceTests(SynchronousTestCase):
    """Tests for L{bind_address}."""

    def places(self, *texts: str) -> set[BindAddress]:
        return {bind_address(parse_listener(text, "/run/x")) for text in texts}

    def test_same(self) -> None:
        """
        What is spoken, and how many may wait, does not change the place; nor does how an
        address or a path is spelled.
        """
        for same in (
            ("tcp:7", "tls:7", "haproxy:tcp:7", "tcp:7:backlog=9", "tcp:7:optional=yes"),
            ("tcp:7", "tcp:7:interface=0.0.0.0", "tcp:7:interface=0"),
            ("udp:7:interface=127.0.0.1", "udp:7:interface=127.1", "udp:7:interface=LocalHost"),
            (r"tcp6:7:interface=\:\:1", r"tcp6:7:interface=0\:0\:\:1"),
            (r"tcp6:7:interface=\:\:1", "tcp6:7:interface=localhost"),
            (r"tcp6:7:interface=fe80\:\:a%lo", r"tcp6:7:interface=fe80\:\:A%1"),
            ("tcp6:7", r"tcp6:7:interface=\:\:"),
            ("tcp:7:interface=a.example", "tcp:7:interface=A.Example"),
            ("unix:{runtime}/a", "unix:/run/x/a:mode=600", "unix://run//x/./a"),
            ("unix:/run/x/a", "unix:/run/y/../x/a"),
            ("unix:a", f"unix:{os.getcwd()}/a"),
        ):
            self.assertEqual(len(self.places(*same)), 1, same)

    def test_different(self) -> None:
        """Family, type, address and port do."""
        different = ["tcp:7", "tcp6:7", "udp:7", "udp6:7", "tcp:8", "tcp:7:interface=127.0.0.1"]
        different += ["unix:@a", "unixgram:@a", "unix:/a", "unix:/b", "unixgram:/a"]
        different += ["tcp:7:interface=127.0.0.1.example"]
        self.assertEqual(len(self.places(*different)), len(different))

    def test_abstract(self) -> None:
        """The name of an abstract socket is no path, so it is not made another one."""
        place = bind_address(Listener("unix", path="\0a/../b"))
        self.assertEqual(place.path, "\0a/../b")


class LocalTests(SynchronousTestCase):
    """Tests for L{is_local}."""

    def test_local(self) -> None:
        """Loopback addresses, C{localhost} and UNIX sockets are reached by this machine only."""
        for text in (
            "tcp:7:interface=127.0.0.1", "tcp:7:interface=127.1", "udp:7:interface=LocalHost",
            r"tcp6:7:interface=\:\:1", "unix:/a", "unixgram:@a",
        ):  # fmt: skip
            self.assertTrue(is_local(parse_listener(text, RUNTIME)), text)

    def test_elsewhere(self) -> None:
        """Others are not; nor is a host name, which is not looked up."""
        for text in (
            "tcp:7", "tcp6:7", "tcp:7:interface=0.0.0.0", "tcp:7:interface=192.0.2.1",
            r"tcp6:7:interface=fe80\:\:1%lo", "tcp:7:interface=srv.example",
        ):  # fmt: skip
            self.assertFalse(is_local(parse_listener(text, RUNTIME)), text)


#: Where HTTP may be served, and where that is.
HTTP = [
    ("tcp:9155", Listener("tcp", "127.0.0.1", 9155)),
    ("tcp6:9155:backlog=5", Listener("tcp6", "::1", 9155, backlog=5)),
    ("tcp:9155:interface=192.0.2.1", Listener("tcp", "192.0.2.1", 9155)),
    (r"tcp6:9155:interface=\:\:", Listener("tcp6", "::", 9155)),
    ("unix:{runtime}/http:mode=600", Listener("unix", path="/run/test/http", mode=0o600)),
]

#: Where it may not.
NO_HTTP = [
    "udp:9155", "udp6:9155", "unixgram:a", "tls:9155", "tls6:9155", "systemd:web",
    "haproxy:tcp:9155", "haproxy:unix:a", "tcp:9155:optional=yes", "unix:a:optional=yes",
]  # fmt: skip


class ParseHttpTests(SynchronousTestCase):
    """Tests for L{parse_http}."""

    def test_good(self) -> None:
        """HTTP is served on loopback where no other interface is given, or at a path."""
        self.assertEqual([(text, parse_http(text, RUNTIME)) for text, _ in HTTP], HTTP)

    def test_bad(self) -> None:
        """It is served on plain streams only, and never left out in silence."""
        message = "is not a listener for HTTP; write tcp:PORT[:interface=A], tcp6: or unix:PATH"
        found = {text: refusal(parse_http, text, RUNTIME) for text in NO_HTTP}
        self.assertEqual(found, dict.fromkeys(NO_HTTP, message))

    def test_no_listener(self) -> None:
        """What is no listener is refused in the words for listeners."""
        self.assertEqual(refusal(parse_http, "tcp:x", RUNTIME), f"has the port x; {PORT}")


class SplitTests(SynchronousTestCase):
    """Tests for the grammar, which is a copy of Twisted's."""

    def test_as_twisted(self) -> None:
        """Every string is taken apart as L{twisted.internet.endpoints} does it."""
        self.assertEqual([_split(text) for text in SPLIT], [_parse(text) for text in SPLIT])

    def test_backslash_at_the_end(self) -> None:
        """A backslash with nothing behind it, at which Twisted's fails, is dropped."""
        self.assertEqual(_split("a:b\\"), (["a", "b"], {}))
