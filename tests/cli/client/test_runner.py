"""Tests for L{socketd.cli.client.runner}."""

from __future__ import annotations

import signal
import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.client.runner import ClientRun
from tests.support.client_fakes import CommandTestCase


class ClientRunTests(SynchronousTestCase):
    """Tests for L{ClientRun}."""

    def test_error_that_no_code_took(self) -> None:
        """An unhandled error that only the log gets ends the run; other events do not."""
        self.addCleanup(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        run = ClientRun(MemoryReactor())

        async def client(reactor: Any) -> None:
            run.log_event({"log_format": "nothing happened"})
            self.assertTrue(reactor.running)
            run.log_event({"log_failure": Failure(ValueError("surprise"))})
            self.assertFalse(reactor.running)
            await Deferred()

        error = self.assertRaises(ValueError, run.until_done, client)
        self.assertEqual(str(error), "surprise")


class CommandTests(CommandTestCase):
    """Tests for L{run_client} in each subcommand as a process."""

    async def test_failed(self) -> None:
        """A failed connection is an error of one line, without output and without waiting."""
        stream = f"127.0.0.1:{self.refusing_port()}"
        datagrams = f"udp:127.0.0.1:{self.refusing_port(socket.SOCK_DGRAM)}"
        for arguments, why in (
            (("send", stream, "x"), "connection refused"),
            (("send", datagrams, "x"), "connection refused"),
            (("send", "./no.sock", "x"), "no such file or directory"),
            (("chat", stream), "connection refused"),
            (("ping", stream), "connection refused"),
        ):
            outcome = await self.command(*arguments, stdin=b"one\n")
            complaint = f"socketd {arguments[0]}: {arguments[1]}: {why}\n"
            self.assertEqual(outcome, (b"", complaint.encode(), 1), arguments)
