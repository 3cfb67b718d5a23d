"""The interfaces of input and output for client subcommands, so that tests can substitute them."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred


class IInputUser(Protocol):
    """Consumer of the input."""

    def input_received(self, data: bytes) -> None:
        """
        Data was read.

        @param data: at least one byte.
        """

    def input_ended(self) -> None:
        """EOF was reached."""

    def input_failed(self, error: OSError) -> None:
        """
        Reading failed; no more data follows.

        @param error: the error of the read.
        """


class IInput(Protocol):
    """Input: the source of the bytes to send."""

    is_terminal: bool

    def start(self, user: IInputUser) -> None:
        """
        Start reading.

        @param user: the consumer of the input.
        """

    def pause(self) -> None:
        """Stop reading until L{resume}."""

    def resume(self) -> None:
        """Resume reading."""


class IOutput(Protocol):
    """Output: the destination of the peer's data."""

    def write(self, data: bytes) -> None:
        """
        Buffer data for writing.

        @param data: the bytes.
        """

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Register the producer to pause while the buffer is full, as in Twisted's C{IConsumer}.

        @param producer: the C{IPushProducer}; it is stopped when the output cannot be written.
        @param streaming: C{True}.
        """

    def unregisterProducer(self) -> None:
        """Unregister the producer."""

    def finish(self) -> Deferred[None]:
        """
        Flush the buffer, and accept no more data.

        @return: fires when all is written; fails with C{BrokenPipeError} when the reader has
            closed the pipe, with C{CommandError} on another write error.
        """
