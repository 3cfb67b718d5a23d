"""
C{ntp}: the time of day for NTP and SNTP clients (RFC 5905, RFC 4330).

A stateless server: it answers clients (mode 3) and symmetric active peers (mode 1) of versions 1
to 4, and drops all else. That includes mode 0, which some version 1 clients send, and the control
and private modes 6 and 7, whose replies are longer than their requests.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from socketd.common.system_clock import ClockState
from socketd.protocols.batches import Groups, IBatchProtocol, IDatagramBatch
from socketd.protocols.clock.ntp_answer import NtpOptions, answer
from socketd.protocols.clock.ntp_batch import REQUEST, BatchWriter
from socketd.protocols.clock.ntp_time import LENGTH, Instant, instant
from socketd.protocols.spec import ProtocolContext, ProtocolSpec

#: The rate limit per source (requests per second) and its burst: enough for a NAT with 256 clients
#: that each poll once in 64 s (RFC 5905, section 7.2, MINPOLL 6), and all at once after a power
#: failure. A reply is no longer than its request and is never a request itself, so it allows
#: neither amplification nor loops.
NAT_RATE = 4.0
NAT_BURST = 256

_V4_CLIENT = 4 << 3 | 3


@implementer(IBatchProtocol)
class NtpDatagrams(DatagramProtocol):
    """
    Answers the requests of one port.

    The receive time is the kernel's timestamp (C{received_at} of the transport) if there is one,
    otherwise the current time.
    """

    transport: Any

    def __init__(
        self,
        options: NtpOptions,
        now: Callable[[], Instant],
        clock_state: Callable[[], ClockState],
    ) -> None:
        self._options = options
        self._now = now
        self._clock_state = clock_state
        self._writer = BatchWriter(options)
        self._groups = Groups()

    def batch_received(self, batch: IDatagramBatch) -> None:
        times = batch.received_at

        def answer_from(at: int, count: int) -> bool:
            if batch.lengths[at : at + count].count(LENGTH) < count:
                return False
            requests: list[Any] = [*zip(batch.read(REQUEST, count), times[at:])]
            # What takes long is done before the clock is read.
            self._writer.prepare(requests[0], self._clock_state())
            self._groups.send(batch, self._now, partial(self._writer.answers, requests))
            return True

        self._groups.serve(batch, self._now, answer_from)

    def _received(self) -> Instant:
        """Tell when the current datagram came."""
        received: Instant | None = self.transport.received_at
        return self._now() if received is None else received

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        received, state = self._received(), self._clock_state()
        reply = answer(datagram, received, self._now, state, self._options)
        if reply is not None:
            self.transport.write(reply, addr)


class NtsDatagrams(NtpDatagrams):
    """Answers the requests of a port with Network Time Security, too (RFC 8915)."""

    def __init__(self, options: NtpOptions, context: ProtocolContext) -> None:
        # Lazy: plain NTP needs no cryptography, whose import takes 0.1 s.
        from socketd.protocols.clock.nts_answers import NtsAnswers
        from socketd.protocols.clock.nts_key_file import key_file

        super().__init__(options, lambda: instant(context.wall_clock()), context.clock_state)
        keys = key_file(context.references["nts"].keys, context)
        self._nts = NtsAnswers(keys, context.record.counters)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if len(datagram) <= LENGTH or len(datagram) % 4 or datagram[0] & 0x3F != _V4_CLIENT:
            super().datagramReceived(datagram, addr)
            return
        received, state = self._received(), self._clock_state()
        header = partial(answer, datagram[:LENGTH], received, self._now, state, self._options)
        reply = self._nts.answer(datagram, header)
        if reply is not None:
            self.transport.write(reply, addr)


def make_datagrams(options: NtpOptions, context: ProtocolContext) -> NtpDatagrams:
    """Make the protocol of one port."""
    if options.nts:
        return NtsDatagrams(options, context)
    return NtpDatagrams(options, lambda: instant(context.wall_clock()), context.clock_state)


# A NAT maps port 123 to any other, reserved ones included; and only requests are answered, never
# replies, so that no loop can arise.
declaration = ProtocolSpec(
    options=NtpOptions,
    datagram=make_datagrams,
    source_ports=range(1, 65536),
    udp_rate=NAT_RATE,
    udp_burst=NAT_BURST,
    timestamped=True,
    references={"nts": "nts-ke"},
)
