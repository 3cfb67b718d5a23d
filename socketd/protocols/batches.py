"""How a protocol answers many datagrams at once."""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import Attribute, Interface


class IDatagramBatch(Interface):
    """
    Datagrams that were received together, and may be answered.

    They are answered from the first one on: each method answers the next ones. What is longer
    than it may be is dropped and counted, as C{transport.write} does.
    """

    lengths: Sequence[int] = Attribute("The length of each datagram.")

    def answer_all(answer: bytes) -> None:
        """Give each datagram that is left the same answer."""

    def echo() -> None:
        """Send each datagram that is left back as it came."""

    def answer(answers: Sequence[bytes | None]) -> None:
        """Answer the next datagrams one by one; C{None}: not at all."""

    def deliver(count: int) -> None:
        """Pass the next datagrams to C{datagramReceived}."""


class IBatchProtocol(Interface):
    """
    A protocol of datagrams that can take many at once.

    Whether it is asked, or C{datagramReceived} for each one, has to be the same to a client: it
    is not where messages are watched or logged, and where faults are on.
    """

    def batch_received(batch: IDatagramBatch) -> None:
        """
        Answer the datagrams of a batch; none of it is kept. What is left of it is then passed to
        C{datagramReceived}.
        """
