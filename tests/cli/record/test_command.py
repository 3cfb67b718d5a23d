"""Tests for L{socketd.cli.record.command}."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.record.command import listen_address, listener_at
from socketd.settings.listener_syntax import parse_listener
from tests.settings.refusals import refusal


class ListenTests(SynchronousTestCase):
    """Tests for where the command listens, and then the service."""

    def test_listener(self) -> None:
        """The service listens where the command did."""
        here = os.getcwd()
        for text, expected in (
            ("127.0.0.1:7007", "tcp 127.0.0.1:7007"),
            ("tcp:localhost:7007", "tcp localhost:7007"),
            ("[::1]:7007", "tcp6 [::1]:7007"),
            ("tcp6:[fe80::1%lo]:7007", "tcp6 [fe80::1%lo]:7007"),
            ("./a=b:c.sock", f"unix {here}/a=b:c.sock"),
            ("/run/a.sock", "unix /run/a.sock"),
        ):
            listener = parse_listener(listener_at(listen_address(text)), "/run")
            self.assertEqual(str(listener), expected)

    def test_refused(self) -> None:
        """What no stream can be accepted at is refused."""
        for text in ("udp:127.0.0.1:7", "tls:a:7", "unixgram:/a", "ssl:host=a:port=7"):
            self.assertIn("is no place to listen", refusal(listen_address, text), text)
