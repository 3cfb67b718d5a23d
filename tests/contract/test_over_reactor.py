"""Twisted's tests that use the reactor of the process, with ours in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.runner import TestSuite
from twisted.trial.unittest import SynchronousTestCase

from socketd.net.reactor.batch import BatchReactor
from tests.contract.reactor import applicable

#: Transports, ports and endpoints, and protocols that listen at a reactor.
MODULES = (
    "twisted.internet.test.test_endpoints",
    "twisted.mail.test.test_imap",
    "twisted.mail.test.test_pop3client",
    "twisted.names.test.test_names",
    "twisted.spread.test.test_pb",
    "twisted.test.test_amp",
    "twisted.test.test_ftp",
    "twisted.test.test_loopback",
    "twisted.test.test_policies",
    "twisted.test.test_protocols",
    "twisted.test.test_ssl",
    "twisted.test.test_sslverify",
    "twisted.test.test_tcp",
    "twisted.test.test_udp",
    "twisted.test.test_unix",
    "twisted.web.test.test_distrib",
    "twisted.web.test.test_xmlrpc",
    "twisted.words.test.test_service",
)


def over(case: Any, module: ModuleType) -> type:
    """Make a test case whose module has our reactor."""

    class Over(case):  # type: ignore[misc]
        __module__ = __name__

        def setUp(self) -> Any:
            self.batch = BatchReactor(reactor)
            self.patch(module, "reactor", self.batch)
            return super().setUp()

        def tearDown(self) -> Any:
            # Not a cleanup: trial has these before, while the test's own end needs ours.
            ended = maybeDeferred(super().tearDown)
            return ended.addBoth(_end, self.batch)

    # Classes of several modules have the same name.
    prefix = module.__name__.rpartition(".")[2].removeprefix("test_")
    Over.__name__ = Over.__qualname__ = f"{prefix}_{case.__name__}"
    return Over


def _end(result: Any, batch: BatchReactor) -> Deferred[Any]:
    """End our reactor in the next turn: the last callback of a test may run within ours."""

    def end() -> Any:
        for call in batch.getDelayedCalls():
            if getattr(call.func, "__self__", None) is batch._service_state.event_bus:
                call.cancel()
        reactor.removeReader(batch)
        batch.connectionLost(Failure(ConnectionDone()))
        return result

    return deferLater(reactor, 0, end)


def _classes() -> Iterator[type]:
    for name in MODULES:
        module = import_module(name)
        for found in list(vars(module).values()):
            is_case = isinstance(found, type) and issubclass(found, SynchronousTestCase)
            if is_case and found.__module__ == name:
                yield over(found, module)


CLASSES = tuple(_classes())

# trial finds a test that it is to run again, in another process, by its class's name here.
globals().update({found.__name__: found for found in CLASSES})


def testSuite() -> TestSuite:
    """Give trial the tests that apply."""
    return applicable(CLASSES)
