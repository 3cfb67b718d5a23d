"""A test with a datagram port on a socket of this machine, whose reactor is turned by hand."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.net.datagram.batch_port import BatchedDatagramPort
from socketd.net.datagram.port import DatagramTerms
from tests.support.fakes import DatagramRecorder, HandReactor, make_service_state


class DatagramCase(SynchronousTestCase):
    """
    Serves datagrams, and has clients.

    An address is a host and a port, or that of a UNIX socket.
    """

    def setUp(self) -> None:
        self.reactor = HandReactor()
        self.service_state, self.events = make_service_state(self.reactor)

    def path(self) -> str:
        """Give a path that is short enough for a UNIX socket."""
        return str(os.path.relpath(self.mktemp()))

    def bound(self, address: Any) -> socket.socket:
        """Bind a socket that does not block, with room for all that a test sends."""
        family = socket.AF_UNIX
        if isinstance(address, tuple):
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.setblocking(False)
        sock.bind(address)
        return sock

    def listen(self, protocol: Any, address: Any, terms: DatagramTerms) -> Any:
        """Serve, with an echo if there is no protocol; return the address."""
        sock = self.bound(address)
        self.protocol = DatagramRecorder() if protocol is None else protocol
        self.port = BatchedDatagramPort(
            self.reactor, sock, self.protocol, self.service_state, terms
        )
        self.port.startListening()
        self.addCleanup(self.port.close)
        return sock.getsockname()

    def replies(self, client: socket.socket) -> list[tuple[bytes, Any]]:
        """Read what has come back, with the addresses that it came from."""
        found = []
        while True:
            try:
                found.append(client.recvfrom(1 << 17))
            except BlockingIOError:
                return found
