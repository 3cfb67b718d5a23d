"""Fault profiles of the real daemon: switched while it serves, by the command, at a reload."""

from __future__ import annotations

import json
import signal
import socket
import time

from tests.support.polling import DEADLINE, wait_until
from tests.support.processes import Daemon, SystemCase
from tests.support.sockets import is_silent, read_exactly, read_to_end

#: The time that a stop has for what is held (seconds).
DRAIN = 2.0

INI = f"""
[socketd]
control = {{runtime}}/control.sock
drain_timeout = {DRAIN:g}s
[fault:hold]
seed = 7
latency = 1h
[fault:cut]
reset = after 3B
[echo]
listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1
"""


class FaultTests(SystemCase):
    """Tests for C{socketd fault} and C{socketd faults}."""

    def acted(self) -> dict[str, int]:
        """Ask how often each fault has acted at the service while its profile is on."""
        answer = json.loads(self.output_of("faults", "--json"))
        found: dict[str, int] = answer["acted"].get("echo", {})
        return found

    def hold(self, daemon: Daemon, number: int) -> socket.socket:
        """Send something to a new connection, and see that its answer is held."""
        client = daemon.connect("echo")
        client.sendall(b"hello")
        wait_until(lambda: self.acted().get("latency") == number, "nothing is held")
        self.assertTrue(is_silent(client, 0.1))
        return client

    def test_live(self) -> None:
        """
        New connections get the profile before they are accepted, open ones do not; what is
        held is sent when it ends; the log has who did what.
        """
        with self.daemon(INI) as daemon, daemon.connect("echo") as before:
            self.check_echo(before)
            text = self.output_of("fault", "echo", "hold")
            self.assertEqual(text, "fault of echo: hold, seed 7\n")
            self.check_echo(before)
            with self.hold(daemon, 1) as client:
                shown = self.output_of("show", f"{self.second}")
                self.assertIn("hold 7/echo/1: latency 3600s", shown)
                self.output_of("fault", "echo", "off")
                self.assertTrue(is_silent(client, 0.1))
                text = self.output_of("fault", "echo", "off", "now")
                self.assertEqual(text, "fault of echo: off; 2 open connections switched\n")
                self.assertEqual(read_exactly(client, 5), b"hello")
            daemon.output.wait_for(r"fault of echo: hold, seed 7: latency 3600s\n")
            daemon.output.wait_for(r"\S+: fault echo off now\n")

    def test_now(self) -> None:
        """Open connections can get it at once: three bytes, then a reset."""
        with self.daemon(INI) as daemon, daemon.connect("echo") as client:
            self.check_echo(client)
            self.output_of("fault", "echo", "cut", "now")
            client.sendall(b"hello")
            self.assertEqual(read_exactly(client, 3), b"hel")
            self.assertRaises(ConnectionResetError, client.recv, 1)
            self.assertEqual(self.acted(), {"reset": 1})

    def test_reload(self) -> None:
        """A reload switches it, too."""
        with self.daemon(INI) as daemon:
            daemon.address("echo")
            self.write("socketd.ini", INI + "fault = hold\n")
            daemon.signal(signal.SIGHUP)
            daemon.output.wait_for(r"fault of echo: hold, seed 7: latency 3600s\n")
            daemon.output.wait_for("reloaded: ")
            with self.hold(daemon, 1) as client:
                self.write("socketd.ini", INI)
                self.assertEqual(self.output_of("reload"), "reloaded\n[echo] fault changed\n")
                self.output_of("fault", "echo", "off", "now")
                self.assertEqual(read_exactly(client, 5), b"hello")

    def test_stop(self) -> None:
        """With an answer held for an hour the daemon ends within C{drain_timeout}, and well."""
        with self.daemon(INI + "fault = hold\n") as daemon:
            with self.hold(daemon, 1) as client, daemon.connect("echo", "udp") as asker:
                asker.send(b"hello")
                wait_until(lambda: self.acted().get("latency") == 2, "nothing is held")
                began = time.monotonic()
                daemon.stop()
                self.assertLess(time.monotonic() - began, DRAIN + DEADLINE)
                try:
                    self.assertIn(read_to_end(client), (b"", b"hello"))
                except ConnectionResetError:
                    self.assertGreater(time.monotonic() - began, DRAIN)

    def test_refused(self) -> None:
        """What is not there has a line of error, and changes nothing."""
        with self.daemon(INI) as daemon:
            daemon.address("echo")
            ended = self.run_socketd("fault", "echo", "hodl")
            self.assertEqual(ended.status, 1)
            self.assertIn("hodl is no fault profile; did you mean hold?", ended.errors)
            with daemon.connect("echo") as client:
                self.check_echo(client)
