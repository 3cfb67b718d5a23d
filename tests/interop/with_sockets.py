"""The clients of plain sockets, which send a message and show the answer."""

from __future__ import annotations

from tests.interop.client_case import InteropCase
from tests.interop.table import rows


class SocketClientTests(InteropCase):
    """
    Each client is told by each service what its protocol says, over each transport that
    both have: the whole answer, and nothing else.
    """

    def ask_all(self, name: str) -> None:
        """Run all rows of one client against one daemon."""
        with self.serve() as daemon:
            self.report(self.ask(daemon, row) for row in rows() if row.client.name == name)

    def test_ncat(self) -> None:
        """ncat is answered over TCP, UDP and UNIX sockets; its streams are half-closed."""
        self.ask_all("ncat")

    def test_socat(self) -> None:
        """socat is answered over TCP, UDP and UNIX sockets; its streams are half-closed."""
        self.ask_all("socat")

    def test_nc_openbsd(self) -> None:
        """OpenBSD's nc is answered over TCP, UDP and UNIX sockets; its streams are half-closed."""
        self.ask_all("nc.openbsd")

    def test_busybox(self) -> None:
        """busybox's nc is answered over TCP, half-closed; it has neither UDP nor UNIX sockets."""
        self.ask_all("busybox")

    def test_telnet(self) -> None:
        """telnet is answered with text while it does not close."""
        self.ask_all("telnet")

    def test_curl(self) -> None:
        """curl's telnet is answered with text while it does not close."""
        self.ask_all("curl")
