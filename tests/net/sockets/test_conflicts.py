"""Tests for L{socketd.net.sockets.conflicts}: what is said is what bind(2) would say."""

from __future__ import annotations

import os
from contextlib import ExitStack
from itertools import product
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from socketd.net.listen import bind
from socketd.net.sockets.bind import CannotListen
from socketd.net.sockets.conflicts import conflicts
from socketd.net.sockets.holders import THIS
from socketd.settings.model import Settings
from tests.settings.refusals import parsed
from tests.support.ports import free_port

HEAD = "[echo]\nlisten = "

#: What a file says, and which of its listeners cannot be had.
TABLE: list[tuple[str, list[str]]] = [
    # One address, however it is spelled.
    (
        HEAD + "tcp:7:backlog=1, tcp:7:backlog=2\n",
        ["FILE:2: [echo] listen = tcp *:7: is taken already, by [echo]"],
    ),
    (
        HEAD + "tcp:7\n[b]\nprotocol = echo\nlisten = haproxy:tcp:7\nproxy_from = any\n",
        ["FILE:5: [b] listen = tcp *:7: is taken already, by [echo]"],
    ),
    (
        # TLS is TCP, so one port serves one of them.
        HEAD + "tcp:7, tls:7, tls6:8, tcp6:8, tls6:7\ntls_certificate = a.pem\n",
        [
            "FILE:2: [echo] listen = tls *:7: is taken already, by tcp *:7 of [echo]",
            "FILE:2: [echo] listen = tcp6 *:8: is taken already, by tls6 *:8 of [echo]",
        ],
    ),
    (
        HEAD + r"tcp6:7:interface=\:\:1, tcp6:7:interface=0\:0\:\:01" + "\n",
        [
            "FILE:2: [echo] listen = tcp6 [0:0::01]:7: is taken already,"
            " by tcp6 [::1]:7 of [echo]"
        ],
    ),
    (
        HEAD + "udp:7:interface=127.0.0.1, udp:7:interface=localhost, udp:7:interface=127.1\n",
        [
            "FILE:2: [echo] listen = udp localhost:7: is taken already,"
            " by udp 127.0.0.1:7 of [echo]",
            "FILE:2: [echo] listen = udp 127.1:7: is taken already,"
            " by udp 127.0.0.1:7 of [echo]",
        ],
    ),
    # The wildcard address.
    (
        HEAD + "tcp:7:interface=127.0.0.1, tcp:7\n",
        [
            "FILE:2: [echo] listen = tcp *:7: is taken already,"
            " by tcp 127.0.0.1:7 of [echo]; tcp *:7 is every address"
        ],
    ),
    (
        HEAD + r"udp6:7:interface=\:\:, udp6:7:interface=\:\:1" + "\n",
        [
            "FILE:2: [echo] listen = udp6 [::1]:7: is taken already,"
            " by udp6 [::]:7 of [echo]; udp6 [::]:7 is every address"
        ],
    ),
    (HEAD + "tcp:7, udp:7, tcp6:7, udp6:7, tcp:8:interface=127.0.0.1\n", []),
    (HEAD + "tcp:7:interface=127.0.0.1, tcp:7:interface=127.0.0.2\n", []),
    # Port 0 is always a free one.
    (HEAD + "tcp:0, tcp:0:interface=127.0.0.1, tcp:0\n", []),
    # What is shared on purpose; two that are equal would have half of what comes each.
    (HEAD + "tcp:7, tcp:7:interface=127.0.0.1\nso_reuseport = yes\n", []),
    (HEAD + "udp:7, udp:7:interface=127.0.0.1\nso_reuseaddr = yes\n", []),
    (
        HEAD + "tcp:7, tcp:7\nso_reuseport = yes\n",
        ["FILE:2: [echo] listen = tcp *:7: is taken already, by [echo]"],
    ),
    (
        HEAD + "tcp:7\nso_reuseport = yes\n[stream]\nlisten = tcp:7:interface=127.0.0.1\n",
        [
            "FILE:5: [stream] listen = tcp 127.0.0.1:7: is taken already,"
            " by tcp *:7 of [echo]; tcp *:7 is every address"
        ],
    ),
    # Devices keep two apart, if each has its own.
    (
        HEAD + "tcp:7\nso_bindtodevice = lo\n[stream]\nlisten = tcp:7\nso_bindtodevice = eth0\n",
        [],
    ),
    (
        HEAD + "tcp:7\nso_bindtodevice = lo\n[stream]\nlisten = tcp:7\n",
        ["FILE:5: [stream] listen = tcp *:7: is taken already, by [echo]"],
    ),
    # Paths: one file is one socket, whatever is spoken there.
    (
        HEAD + "unix:/run/a:mode=600\n[b]\nprotocol = echo\nlisten = tcp:8, unix:/run//a\n",
        ["FILE:5: [b] listen = unix /run//a: is taken already, by unix /run/a of [echo]"],
    ),
    (
        HEAD + "unix:/run/a, unixgram:/run/../run/./a\n",
        [
            "FILE:2: [echo] listen = unixgram /run/../run/./a: is taken already,"
            " by unix /run/a of [echo]"
        ],
    ),
    # What systemd hands over.
    (
        HEAD + "systemd:a\n[stream]\nlisten = systemd:b, systemd:a\n",
        ["FILE:4: [stream] listen = systemd a: is taken already, by [echo]"],
    ),
    # The daemon's own.
    (
        "[socketd]\nhttp = tcp:7\ncontrol = /run/a\n[echo]\nlisten = tcp:7, unix:/run/a\n",
        [
            "FILE:2: [socketd] http = tcp 127.0.0.1:7: is taken already,"
            " by tcp *:7 of [echo]; tcp *:7 is every address",
            "FILE:3: [socketd] control = unix /run/a: is taken already, by [echo]",
        ],
    ),
    (
        "[socketd]\nhttp = unix:{runtime}/a\ncontrol = {runtime}/a\n[echo]\nlisten = tcp:7\n",
        [
            "FILE:3: [socketd] control = unix /run/test/a: is taken already,"
            " by [socketd] http"
        ],
    ),
    # Sections that are off do not count.
    (HEAD + "tcp:7\n[stream]\nlisten = tcp:7\nenabled = no\n", []),
]

#: Addresses of this machine that are, or are not, among each other.
LISTENERS = [
    f"{kind}:{{port}}{interface}"
    for kind, interface in [
        *product(("tcp", "udp"), ("", ":interface=127.0.0.1", ":interface=127.0.0.2")),
        *product(("tcp6", "udp6"), ("", r":interface=\:\:1")),
        ("tls", ":interface=127.1"),
    ]
]

#: Options of both sections.
OPTIONS = [("", ""), ("so_reuseport", "so_reuseport"), ("so_reuseport", ""), ("so_reuseaddr",) * 2]


def said(settings: Settings) -> list[str]:
    """List what is complained of, as the operator reads it."""
    found = sorted(conflicts(settings), key=lambda complaint: complaint.line)
    return [str(complaint) for complaint in found]


class ConflictTests(SynchronousTestCase):
    """Tests for L{conflicts}."""

    def test_table(self) -> None:
        """Each listener whose address another one has is named, with that one."""
        self.maxDiff = None
        self.assertEqual([(text, said(parsed(text))) for text, _ in TABLE], TABLE)

    def test_link(self) -> None:
        """
        A directory by another name is the same directory; a link in place of the socket
        is another file.
        """
        Path(directory := self.mktemp()).mkdir()
        os.symlink(os.path.abspath(directory), f"{directory}.link")
        text = f"{HEAD}unix:{directory}/a, unix:{directory}.link/a\n"
        self.assertEqual(len(said(parsed(text))), 1)
        text = f"{HEAD}unix:{directory}/a, unix:{directory}.link\n"
        self.assertEqual(said(parsed(text)), [])

    def test_many(self) -> None:
        """Each is compared with few others, however many there are."""
        ports = ", ".join(f"tcp:{port}" for port in range(1, 5001))
        hosts = ", ".join(f"tcp:7000:interface=127.0.{n // 250}.{n % 250}" for n in range(1, 5001))
        found = said(parsed(f"{HEAD}{ports}\n[stream]\nlisten = {hosts}, tcp:7000\n"))
        self.assertEqual(len(found), 1)

    def test_as_the_kernel(self) -> None:
        """
        Two listeners are complained of if and only if the second cannot be bound; two at
        one address that the kernel lets share what comes are not tried.
        """
        for first, second in product(LISTENERS, repeat=2):
            if first != second:
                is_one = "127.1" in first + second and "127.0.0.1" in first + second
                for options in OPTIONS[:1] if is_one else OPTIONS:
                    with self.subTest(first=first, second=second, options=options):
                        self.check_pair(first, second, options)

    def check_pair(self, first: str, second: str, options: tuple[str, str]) -> None:
        """Have two listeners bound, at a port that was free a moment ago."""
        port = free_port()
        names = ("a", "b")
        text = "".join(
            f"[{name}]\nprotocol = echo\nlisten = {listen.format(port=port)}\n"
            + (f"{option} = yes\n" if option else "")
            + ("tls_certificate = a.pem\n" if listen.startswith("tls") else "")
            for name, listen, option in zip(names, (first, second), options, strict=True)
        )
        settings = parsed(text)
        with ExitStack() as stack:
            refused = False
            for service in settings.services:
                try:
                    found = bind(service.listeners[0], service.sockets)
                except CannotListen as problem:
                    self.assertIn(THIS, str(problem))
                    refused = True
                else:
                    stack.callback(found.close)
        self.assertEqual(bool(said(settings)), refused, text)
