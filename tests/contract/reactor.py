"""Our reactor where Twisted's tests expect one of Twisted's own, and the tests that apply."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.trial.runner import TestLoader, TestSuite

from socketd.net.reactor.batch import BatchReactor
from tests.contract.left_out import LEFT_OUT


class ContractReactor(BatchReactor):
    """
    A reactor of its own in front of one of Twisted's.

    Twisted's tests build a reactor for each test and take it apart afterwards; what they
    need for that, and no interface has, is here.
    """

    def __init__(self) -> None:
        super().__init__(EPollReactor())

    @property
    def _internalReaders(self) -> Any:
        return self._reactor._internalReaders

    @property
    def _uninstallHandler(self) -> Any:
        return self._reactor._uninstallHandler

    @property
    def disconnectAll(self) -> Any:
        """What ends all that is watched, this set too."""
        return self._reactor.disconnectAll

    @property
    def threadpool(self) -> Any:
        """The threads of the reactor itself."""
        return self._reactor.threadpool

    @property
    def _initThreadPool(self) -> Any:
        return self._reactor._initThreadPool

    @property
    def threadpoolShutdownID(self) -> Any:
        """What Twisted's tests of threads look for."""
        return self._reactor.threadpoolShutdownID

    def removeReader(self, reader: Any) -> None:
        """Let the reactor itself forget what it has watched from the start."""
        if reader in self._internalReaders:
            self._reactor.removeReader(reader)
        else:
            super().removeReader(reader)


def applicable(classes: Iterable[Any]) -> TestSuite:
    """Collect the tests of classes, but for those that are left out."""
    return TestSuite(
        holder(name)
        for holder in classes
        for name in names_of(holder)
        if f"{holder.__name__}.{name}" not in LEFT_OUT
    )


def names_of(holder: Any) -> list[str]:
    """List the tests of a class."""
    return [f"test{name}" for name in TestLoader().getTestCaseNames(holder)]
