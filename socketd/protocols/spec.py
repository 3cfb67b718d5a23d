"""
What a protocol file offers, and what it is handed in return.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import DatagramProtocol

from socketd.common.operator_queue import OperatorQueue
from socketd.common.system_clock import ClockState


@frozen
class ProtocolContext:
    """
    What the daemon lends to its protocols.

    @ivar wall_clock: the time of day, in seconds since 1970.
    @ivar operator: the queue of connections that wait for the operator's word.
    @ivar clock_state: what the kernel knows of its clock, not older than a second or two.
    """

    wall_clock: Callable[[], float]
    operator: OperatorQueue
    clock_state: Callable[[], ClockState] = ClockState


@frozen
class NoOptions:
    """
    The options of a protocol that has none of its own.
    """


@frozen
class ProtocolSpec:
    """
    One protocol, as its file declares it.

    @ivar options: an attrs class made of L{socketd.settings.options.option}.
    @ivar stream: makes the protocol of one connection; C{None} if there is
        no stream form.
    @ivar datagram: makes the protocol of one port; C{None} if there is no
        datagram form.
    @ivar reply_floor: of the options, so many bytes may answer a datagram however
        short it was; a longer answer must not exceed what it answers.
    @ivar shortest_reply: of the options, how long the shortest answer to an empty datagram
        is.
    @ivar source_ports: reserved ports that its datagrams may come from all the same; a
        protocol that has any must not answer answers.
    @ivar udp_rate: datagrams of one source that are answered (per second), where the
        configuration does not say.
    @ivar udp_burst: how many of them may come at once.
    @ivar timestamped: whether its C{DatagramProtocol} reads C{transport.received_at}.
    """

    options: type[Any] = NoOptions
    stream: Callable[[Any, ProtocolContext], IProtocol] | None = None
    datagram: Callable[[Any, ProtocolContext], DatagramProtocol] | None = None
    reply_floor: Callable[[Any], int] = lambda options: 0
    shortest_reply: Callable[[Any], int] = lambda options: 0
    source_ports: Container[int] = frozenset()
    udp_rate: float = 1.0
    udp_burst: int = 8
    timestamped: bool = False
