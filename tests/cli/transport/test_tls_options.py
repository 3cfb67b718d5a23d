"""Tests for L{socketd.cli.transport.tls_options}."""

from __future__ import annotations

import argparse
import contextlib
import io

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.common.arguments import add_address, seconds
from socketd.cli.main import Parser, main
from socketd.cli.transport.tls_options import (
    MAX_PROTOCOL,
    MAX_PROTOCOLS,
    ClientTlsOptions,
    add_tls,
    tls_options,
)
from socketd.common.errors import USAGE, CommandError

GOOD: dict[tuple[str, ...], ClientTlsOptions | None] = {
    ("a:1",): None,
    ("tls:a:1:b=c",): None,
    ("--tls", "A:1"): ClientTlsOptions("a"),
    ("tls:a:1",): ClientTlsOptions("a"),
    ("--tls", "tls6:a.:1"): ClientTlsOptions("a"),
    ("--tls", "[fe80::1%eth0]:1"): ClientTlsOptions("fe80::1"),
    ("--tls", "my_host:1"): ClientTlsOptions("my_host"),
    ("--tls", "/run/a", "--server-name", "B.example"): ClientTlsOptions("b.example"),
    ("--tls", "/run/a", "--insecure"): ClientTlsOptions("", is_verified=False),
    ("tls:1.2.3.4:1", "--server-name", "0::1", "-v"): ClientTlsOptions("::1", is_verbose=True),
    ("tls:a:1", "--insecure", "--server-name", "b"): ClientTlsOptions("b", is_verified=False),
    ("tls:a:1", "--alpn", "x", "--alpn", "y"): ClientTlsOptions("a", protocols=(b"x", b"y")),
    ("tls:a:1", "--ca", "f", "--cert", "g"): ClientTlsOptions(
        "a", authorities="f", certificate="g", key="g"
    ),
    ("tls:a:1", "--cert", "g", "--key", "h"): ClientTlsOptions("a", certificate="g", key="h"),
    ("tls:a:1", "--pause", "3"): ClientTlsOptions("a"),
}

BAD: dict[tuple[str, ...], str] = {
    ("--tls", "udp:a:1"): "--tls does not go with udp: TLS needs a stream",
    ("--tls", "unixgram:/a"): "--tls does not go with unixgram",
    ("--tls", "tls:a:1:b=c"): "not with an endpoint string",
    ("--tls", "/run/a"): "needs --server-name",
    ("--tls", "b\u00fccher.example:1"): "xn-- form",
    ("--tls", "a" * 300 + ":1"): "too long a name",
    ("--tls", "a:1", "--insecure", "--ca", "f"): "--insecure does not go with --ca",
    ("--tls", "a:1", "--key", "f"): "--key needs --cert",
    ("--tls", "a:1", *["--alpn", "x"] * (MAX_PROTOCOLS + 1)): "--alpn 17 times",
    ("a:1", "--ca", "f"): "--ca needs --tls",
    ("a:1", "--server-name", "b"): "--server-name needs --tls",
    ("a:1", "--cert", "f"): "--cert needs --tls",
    ("a:1", "--key", "f"): "--key needs --tls",
    ("a:1", "--alpn", "x"): "--alpn needs --tls",
    ("udp:a:1", "--insecure"): "--insecure needs --tls",
    ("tls:a:1:b=c", "-v"): "--verbose needs --tls",
    ("a:1", "--pause", "0"): "--pause needs --tls",
}


class TlsOptionsTests(SynchronousTestCase):
    """Tests for L{tls_options}."""

    def parse(self, argv: tuple[str, ...]) -> argparse.Namespace:
        parser = Parser()
        add_address(parser)
        add_tls(parser)
        parser.add_argument("--pause", type=seconds)
        return parser.parse_args(argv)

    def test_good(self) -> None:
        """What goes together is put together; without TLS there is nothing."""
        for argv, expected in GOOD.items():
            self.assertEqual(tls_options(self.parse(argv)), expected)

    def test_bad(self) -> None:
        """What does not go together, or would be ignored, is refused as a wrong use."""
        for argv, part in BAD.items():
            error = self.assertRaises(CommandError, tls_options, self.parse(argv))
            self.assertIn(part, str(error))
            self.assertEqual(error.status, USAGE)


class MainTests(SynchronousTestCase):
    """Tests for the options in each subcommand."""

    def complaint(self, *argv: str) -> str:
        """Use the command wrongly."""
        error = io.StringIO()
        with contextlib.redirect_stderr(error):
            self.assertEqual(main(argv), USAGE)
        self.assertEqual(error.getvalue().count("\n"), 1)
        return error.getvalue()

    def test_subcommands(self) -> None:
        """Every client refuses TLS over datagrams, before it does anything, with status 2."""
        for name in ("send", "chat", "time"):
            line = self.complaint(name, "--tls", "udp:127.0.0.1:9")
            self.assertTrue(line.startswith(f"socketd {name}: --tls does not go with udp"), line)

    def test_values(self) -> None:
        """A name that is none, and a protocol that cannot be offered, are refused."""
        cases = {
            ("--server-name", "a b"): "no host name",
            ("--server-name", "*.example.com"): "no host name",
            ("--alpn", ""): "a protocol of 0 bytes",
            ("--alpn", "x" * (MAX_PROTOCOL + 1)): "a protocol of 256 bytes",
            ("--pause", "-1"): "no number of seconds",
        }
        for argv, part in cases.items():
            self.assertIn(part, self.complaint("send", "tls:a:1", *argv))
