"""
What the client subcommands need of an input and an output, so that tests can bring their own.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred


class IInputUser(Protocol):
    """
    Who takes the input.
    """

    def input_received(self, data: bytes) -> None:
        """
        Some bytes came.

        @param data: at least one byte.
        """

    def input_ended(self) -> None:
        """
        Nothing more will come.
        """

    def input_failed(self, error: OSError) -> None:
        """
        Nothing more can be read.

        @param error: why.
        """


class IInput(Protocol):
    """
    Where the bytes to send come from.
    """

    is_terminal: bool

    def start(self, user: IInputUser) -> None:
        """
        Begin to read.

        @param user: who takes what is read.
        """

    def pause(self) -> None:
        """
        Read nothing until L{resume}.
        """

    def resume(self) -> None:
        """
        Read on.
        """


class IOutput(Protocol):
    """
    Where the bytes of the peer go.
    """

    def write(self, data: bytes) -> None:
        """
        Write in time.

        @param data: the bytes.
        """

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Take somebody to pause while too much is unwritten, as in Twisted's C{IConsumer}.

        @param producer: the C{IPushProducer}; it is stopped when the output cannot be written.
        @param streaming: C{True}.
        """

    def unregisterProducer(self) -> None:
        """
        Forget who was registered.
        """

    def finish(self) -> Deferred[None]:
        """
        Write nothing new from now on.

        @return: fires when all is written; fails with C{BrokenPipeError} when nobody reads it,
            with C{CommandError} when it cannot be written.
        """
