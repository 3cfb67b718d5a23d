"""
What a protocol file offers, and what it is handed in return.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import DatagramProtocol

from socketd.operator import OperatorQueue


@frozen
class Surroundings:
    """
    What the daemon lends to its protocols.

    @ivar wall_clock: the time of day, in seconds since 1970.
    @ivar operator: the queue of connections that wait for the operator's word.
    """

    wall_clock: Callable[[], float]
    operator: OperatorQueue


@frozen
class NoOptions:
    """
    The options of a protocol that has none of its own.
    """


@frozen
class Declaration:
    """
    One protocol, as its file declares it.

    @ivar options: an attrs class made of L{socketd.settings.options.option}.
    @ivar stream: makes the protocol of one connection; C{None} if there is
        no stream form.
    @ivar datagram: makes the protocol of one port; C{None} if there is no
        datagram form.
    """

    options: type[Any] = NoOptions
    stream: Callable[[Any, Surroundings], IProtocol] | None = None
    datagram: Callable[[Any, Surroundings], DatagramProtocol] | None = None
