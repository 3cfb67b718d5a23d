"""
The client subcommands in a network that a test makes.
"""

from __future__ import annotations

import subprocess
import sys

from tests.system.namespaces import Namespace
from tests.system.running import DEADLINE, SystemCase, in_thread

#: A link-local address that the test gives to the interface C{lo}.
ADDRESS = "fe80::7"


class LinkLocalTests(SystemCase):
    """
    Tests for addresses that hold on one interface only.
    """

    @in_thread
    def test_refused(self) -> None:
        """
        The interface that is named with such an address is used, by datagram as by stream:
        the machine itself refuses, where an address without interface could not be sent to.
        """
        network = Namespace()
        self.addCleanup(network.close)
        network.run("ip", "address", "add", f"{ADDRESS}/64", "dev", "lo", "nodad")
        for command in (["ping", "-c", "1"], ["time"], ["send"]):
            for scheme in ("udp", "tcp"):
                name, *options = command
                address = f"{scheme}:[{ADDRESS}%lo]:7"
                found = subprocess.run(
                    [*network.command, sys.executable, "-m", "socketd", name, address, *options],
                    stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE,
                )  # fmt: skip
                self.assertEqual(found.returncode, 1)
                self.assertIn(f"{address}: connection refused", found.stderr)
