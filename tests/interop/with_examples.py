"""The clients for which C{etc/examples} has servers: swaks, pymodbus and redis-cli."""

from __future__ import annotations

import subprocess

from pymodbus.client import ModbusTcpClient

from tests.interop.client_case import InteropCase
from tests.support.examples import example
from tests.support.needs import locate
from tests.support.polling import DEADLINE


class ExampleClientTests(InteropCase):
    """Each client takes the example for a server of its protocol."""

    def run_client(self, *command: str) -> tuple[int, str]:
        """Run a client to its end; return its status and what it wrote."""
        ran = subprocess.run(
            [locate(command[0]), *command[1:]], text=True, timeout=DEADLINE,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=self.environment(),
        )  # fmt: skip
        return ran.returncode, ran.stdout

    def test_swaks(self) -> None:
        """swaks has its mail queued, and says that a mailbox is full."""
        with self.serve(example("smtp")) as daemon:
            server = "{}:{}".format(*daemon.address("smtp"))
            command = ("swaks", "--server", server, "--from", "a@example.org", "--to")
            status, text = self.run_client(*command, "b@mail.example")
            self.assertEqual((status, "250 2.0.0 queued" in text), (0, True), text)
            status, text = self.run_client(*command, "full@mail.example")
            self.assertEqual((status, "452 4.2.2" in text), (24, True), text)

    def test_pymodbus(self) -> None:
        """pymodbus reads registers, writes one, and is told of one that is not there."""
        with self.serve(example("modbus")) as daemon:
            host, port = daemon.address("modbus")
            with ModbusTcpClient(host, port=port, timeout=DEADLINE, retries=0) as client:
                read = client.read_holding_registers
                self.assertEqual(read(0, count=2, device_id=3).registers, [42, 666])
                self.assertEqual(read(1).registers, [666])
                self.assertFalse(client.write_register(0, 7).isError())
                self.assertEqual(read(50).exception_code, 2)
                self.assertEqual(client.read_coils(0).exception_code, 1)

    def test_redis_cli(self) -> None:
        """redis-cli gets its PONG, what it has echoed, and an error for what is not known."""
        with self.serve(example("redis")) as daemon:
            host, port = daemon.address("redis")
            command = ("redis-cli", "-h", host, "-p", str(port))
            self.assertEqual(self.run_client(*command, "PING"), (0, "PONG\n"))
            self.assertEqual(self.run_client(*command, "PING", "hello you"), (0, "hello you\n"))
            status, text = self.run_client(*command, "GET", "a")
            self.assertIn("ERR unknown command", text)
            # RESP3 is asked for, and does without.
            status, text = self.run_client(*command, "-3", "PING")
            self.assertIn("PONG", text)
