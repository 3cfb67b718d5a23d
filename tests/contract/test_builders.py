"""
Twisted's tests that build a reactor for each test, on ours; and once more where all connections
have a fault profile.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from twisted.trial.runner import TestSuite
from twisted.trial.unittest import SynchronousTestCase

from tests.contract.reactor import LATE, ContractReactor, LateReactor, applicable
from tests.support.ports import free_port

#: Those of C{twisted.internet.test} that are about transports, ports or a reactor's timers
#: and threads.  Processes, signals and host names are the reactor's own, which is Twisted's.
MODULES = (
    "test_core",
    "test_fdset",
    "test_newtls",
    "test_socket",
    "test_stdio",
    "test_tcp",
    "test_threads",
    "test_time",
    "test_tls",
    "test_udp",
    "test_unix",
)

#: A test that hangs is ended after so many seconds.
PATIENCE = 60.0

#: By this Twisted names the class that it makes of each builder for the epoll reactor.
_MADE = "_EPollReactorTests"


def _find_free_port(
    interface: str = "127.0.0.1",
    family: int = socket.AF_INET,
    type: int = socket.SOCK_STREAM,
) -> tuple[str, int]:
    """
    Stand in for Twisted's function, whose port is one of those for clients: another process
    may get it before the test has it.
    """
    return interface, free_port()


class _Changed:
    """What is different here in each of Twisted's cases."""

    def getTimeout(self) -> float:
        return PATIENCE

    def setUp(self: Any) -> None:
        module = import_module(self.tested)
        if hasattr(module, "findFreePort"):
            self.patch(module, "findFreePort", _find_free_port)
        super().setUp()  # type: ignore[misc]  # that of the case


def _classes() -> Iterator[type]:
    """Make a test case of each builder."""
    for module in (f"twisted.internet.test.{name}" for name in MODULES):
        for name, found in vars(import_module(module)).items():
            if name.endswith(_MADE):
                builder = found.__bases__[0]
                bases = (_Changed, builder, SynchronousTestCase)
                for prefix, factory in (("", ContractReactor), (LATE, LateReactor)):
                    made = {"__module__": __name__, "reactorFactory": factory, "tested": module}
                    yield type(prefix + builder.__name__, bases, made)


CLASSES = tuple(_classes())

# trial finds a test that it is to run again, in another process, by its class's name here.
globals().update({found.__name__: found for found in CLASSES})


def testSuite() -> TestSuite:
    """Give trial the tests that apply."""
    return applicable(CLASSES)
