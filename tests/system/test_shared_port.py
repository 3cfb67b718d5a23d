"""Two daemons at one port: C{so_reuseport}."""

from __future__ import annotations

import socket
from itertools import count

from tests.support.processes import SystemCase
from tests.support.sockets import read_to_end

#: The kernel spreads connections by a hash of their addresses: that so many all go
#: to one of two daemons happens once in 2 ** 63 runs.
TRIES = 64

INI = """
[reply]
listen = tcp:{port}:interface=127.0.0.1
so_reuseport = yes
reply = {name}
"""


class SharedPortTests(SystemCase):
    """Tests of daemons that share a port."""

    timeout = 60

    def test_both_answer(self) -> None:
        """Both are asked; neither is refused the port."""
        with self.daemon(INI.format(port=0, name="first")) as first:
            address = first.address("reply")
            with self.daemon(INI.format(port=address[1], name="second")) as second:
                second.address("reply")
                answers = set()
                for number in count():
                    answers.add(self._ask(address))
                    if len(answers) == 2 or number == TRIES:
                        break
        self.assertEqual(answers, {b"first", b"second"})

    def _ask(self, address: tuple[str, int]) -> bytes:
        with socket.create_connection(address, timeout=self.timeout) as client:
            client.sendall(b"?")
            client.shutdown(socket.SHUT_WR)
            return read_to_end(client)
