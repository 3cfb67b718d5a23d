"""Runs a client subcommand in the reactor."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Coroutine
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, globalLogBeginner

from socketd.cli.common.address import Address
from socketd.cli.transport.error_text import explain
from socketd.common.errors import GOOD, CommandError, Terminated

#: The coroutine function of a subcommand; it gets the reactor.
Client = Callable[[Any], Coroutine[Deferred[Any], Any, None]]


def run_client(address: Address, client: Client) -> int:
    """
    Run the reactor until a client is done; raise C{BrokenPipeError} when the reader of standard
    output is gone, L{Terminated} after a signal, and L{CommandError} for any other failure.
    """
    _open_missing_descriptors()
    from twisted.internet import reactor

    process_reactor: Any = reactor
    # Timers on the monotonic clock.
    process_reactor.seconds = time.monotonic
    run = ClientRun(process_reactor)
    # Otherwise Twisted's log would print an unexpected error as a traceback beside our message.
    observers = [cast(ILogObserver, run.log_event)]
    globalLogBeginner.beginLoggingTo(observers, discardBuffer=True, redirectStandardIO=False)
    try:
        run.until_done(client)
    except (BrokenPipeError, Terminated):
        raise
    except Exception as error:
        raise CommandError(f"{address.text}: {explain(error)}") from error
    return GOOD


class ClientRun:
    """One run of a reactor."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._failure: BaseException | None = Terminated()

    def until_done(self, client: Client) -> None:
        """Run the reactor until the client is done or interrupted, and raise its failure."""
        signal.signal(signal.SIGINT, self._interrupted)
        self._reactor.callWhenRunning(self._start, client)
        self._reactor.run()
        if self._failure is not None:
            raise self._failure

    def log_event(self, event: LogEvent) -> None:
        """Stop on an unhandled error: the client would wait for the code that raised it."""
        failure = event.get("log_failure")
        if failure is not None:
            self._stop(failure.value)

    def _start(self, client: Client) -> None:
        self._done = Deferred.fromCoroutine(client(self._reactor))
        self._done.addCallbacks(self._stop, lambda failure: self._stop(failure.value))

    def _interrupted(self, *_: object) -> None:
        # A second Ctrl-C ends the process even if a name lookup or a write still blocks.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._reactor.callFromThread(self._stop, KeyboardInterrupt())

    def _stop(self, failure: BaseException | None) -> None:
        if self._reactor.running and isinstance(self._failure, Terminated):
            self._failure = failure
            self._reactor.stop()


def _open_missing_descriptors() -> None:
    # Otherwise the next socket would get the number of a closed standard descriptor, and output
    # would go to it.
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
