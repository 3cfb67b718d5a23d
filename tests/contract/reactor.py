"""Our reactor where Twisted's tests expect one of Twisted's own, and the tests that apply."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.trial.runner import TestLoader, TestSuite

from socketd.net.reactor.batch import BatchReactor
from socketd.settings.faults.values import Latency, Slices
from tests.contract.left_out import LEFT_OUT
from tests.net.faults.faulty_case import make_faults

#: What the names of the tests of a L{LateReactor} begin with.
LATE = "Late"


class ContractReactor(BatchReactor):
    """
    A reactor of its own in front of one of Twisted's.

    Twisted's tests build a reactor for each test and take it apart afterwards; what they
    need for that, and no interface has, is here.
    """

    def __init__(self) -> None:
        super().__init__(EPollReactor())

    _internalReaders = property(attrgetter("_reactor._internalReaders"))
    _uninstallHandler = property(attrgetter("_reactor._uninstallHandler"))
    _initThreadPool = property(attrgetter("_reactor._initThreadPool"))
    threadpool = property(attrgetter("_reactor.threadpool"))
    threadpoolShutdownID = property(attrgetter("_reactor.threadpoolShutdownID"))
    #: Ends all that is watched, this set too.
    disconnectAll = property(attrgetter("_reactor.disconnectAll"))

    def removeReader(self, reader: Any) -> None:
        """Let the reactor itself forget what it has watched from the start."""
        if reader in self._internalReaders:
            self._reactor.removeReader(reader)
        else:
            super().removeReader(reader)


class LateReactor(ContractReactor):
    """One whose connections have a fault profile that changes nothing but when bytes leave."""

    def __init__(self) -> None:
        super().__init__()
        timing = {"latency": Latency(0.001), "slice": Slices(1000, 50000)}
        self._service_state.faults = make_faults(**timing)


def row_of(holder: type, name: str) -> str:
    """Name a test as L{LEFT_OUT} does."""
    return f"{holder.__name__.removeprefix(LATE)}.{name}"


def applicable(classes: Iterable[Any]) -> TestSuite:
    """Collect the tests of classes, but for those that are left out."""
    return TestSuite(
        holder(name)
        for holder in classes
        for name in names_of(holder)
        if row_of(holder, name) not in LEFT_OUT
    )


def names_of(holder: Any) -> list[str]:
    """List the tests of a class."""
    return [f"test{name}" for name in TestLoader().getTestCaseNames(holder)]
