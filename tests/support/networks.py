"""A test of the real daemon in a network namespace."""

from __future__ import annotations

from tests.support.forging import Forger, queues
from tests.support.namespaces import Namespace
from tests.support.polling import wait_until
from tests.support.processes import Daemon, SystemCase


class NetworkCase(SystemCase):
    """A daemon in a network of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.namespace = Namespace()
        self.addCleanup(self.namespace.close)

    def daemon_inside(self, ini: str) -> Daemon:
        return self.daemon(ini, before=self.namespace.command)

    def forger(self, namespace: Namespace) -> Forger:
        """Make what forges datagrams."""
        forger = Forger(namespace)
        self.addCleanup(forger.close)
        return forger

    def wait_for_queues(self, allowed: int) -> None:
        """Wait until no service has more bytes waiting than that."""
        wait_until(
            lambda: max(waiting for waiting, _ in queues(self.namespace)) <= allowed,
            "the daemon does not read",
        )
