"""
Twisted's own tests of what a TCP transport must do, run on our transports.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.test.test_tcp import (
    AbortConnectionTests as AbortConnectionTestsBuilder,
)
from twisted.internet.test.test_tcp import (
    TCPConnectionTestsBuilder,
)
from twisted.trial.unittest import SynchronousTestCase

from socketd.net.batch import BatchReactor


#: A test that hangs is ended after so many seconds.
PATIENCE = 20.0


class ServingReactor(EPollReactor):
    """
    Twisted's reactor, whose TCP servers are ours.
    """

    def __init__(self) -> None:
        super().__init__()
        self.batch = BatchReactor(self)

    def listenTCP(self, *arguments: Any, **more: Any) -> Any:
        """
        Accept connections with our port.
        """
        return self.batch.listenTCP(*arguments, **more)

    def getReaders(self) -> list[Any]:
        """
        List what is watched for input, by either.
        """
        return [*super().getReaders(), *self.batch.getReaders()]

    def removeAll(self) -> list[Any]:
        """
        Remove what is watched by either.
        """
        return [*self.batch.removeAll(), *super().removeAll()]


class ConnectionContractTests(TCPConnectionTestsBuilder, SynchronousTestCase):
    """
    Pausing, resuming, half-close and the end of a connection.
    """

    reactorFactory = ServingReactor

    def getTimeout(self) -> float:
        """
        Say how many seconds a test may take: none of them waits for long.
        """
        return PATIENCE


class AbortContractTests(AbortConnectionTestsBuilder, SynchronousTestCase):
    """
    Every way in which a connection is aborted.
    """

    reactorFactory = ServingReactor

    def getTimeout(self) -> float:
        """
        Say how many seconds a test may take: none of them waits for long.
        """
        return PATIENCE
