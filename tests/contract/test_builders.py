"""
Twisted's tests that build a reactor for each test, on ours; and once more where all connections
have a fault profile.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from twisted.trial.runner import TestSuite
from twisted.trial.unittest import SynchronousTestCase

from tests.contract.reactor import LATE, ContractReactor, LateReactor, applicable

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


def _timeout(case: Any) -> float:
    return PATIENCE


def _classes() -> Iterator[type]:
    """Make a test case of each builder."""
    more: dict[str, Any] = {"__module__": __name__, "getTimeout": _timeout}
    for module in MODULES:
        for name, found in vars(import_module(f"twisted.internet.test.{module}")).items():
            if name.endswith(_MADE):
                builder = found.__bases__[0]
                for prefix, factory in (("", ContractReactor), (LATE, LateReactor)):
                    made = {**more, "reactorFactory": factory}
                    yield type(prefix + builder.__name__, (builder, SynchronousTestCase), made)


CLASSES = tuple(_classes())

# trial finds a test that it is to run again, in another process, by its class's name here.
globals().update({found.__name__: found for found in CLASSES})


def testSuite() -> TestSuite:
    """Give trial the tests that apply."""
    return applicable(CLASSES)
