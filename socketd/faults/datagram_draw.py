"""What is drawn for one datagram."""

from __future__ import annotations

from attrs import frozen

from socketd.faults.dice import delay, draw
from socketd.settings.faults.profile import FaultOptions
from socketd.settings.faults.values import NEVER_READ, SILENT

#: The faults for which a datagram is not answered.
UNANSWERED = ("loss", SILENT, NEVER_READ)

#: The faults that need no draw.
ALWAYS = ("latency", "bandwidth")


@frozen(eq=False)
class DatagramDraw:
    """
    The faults of the answers to one datagram.

    @ivar key: the seed, the service, the source and the number.
    @ivar number: the number of the datagram from its source, from 1.
    @ivar faults: the names of all that was drawn, at least one; what is not answered has no
        other fault.
    @ivar gap: how many later answers overtake it; 0: none.
    @ivar delay: seconds.
    @ivar bandwidth: bytes per second of all answers to its source; 0: no limit.
    """

    key: str
    number: int
    faults: tuple[str, ...]
    gap: int = 0
    delay: float = 0.0
    bandwidth: int = 0

    @property
    def lost(self) -> bool:
        """Whether it is not sent."""
        return "loss" in self.faults

    @property
    def unanswered(self) -> str:
        """The fault for which nothing is sent: C{loss}, C{silent} or C{never-read}; else empty."""
        return self.faults[0] if self.faults[0] in UNANSWERED else ""

    @property
    def duplicated(self) -> bool:
        """Whether it is sent twice."""
        return "duplicate" in self.faults

    def corrupt(self, data: bytes) -> bytes:
        """Invert one bit, if that was drawn; an empty datagram has none."""
        if "corrupt" not in self.faults or not data:
            return data
        byte, bit = divmod(int(draw(self.key, "bit") * len(data) * 8), 8)
        return data[:byte] + bytes([data[byte] ^ 1 << bit]) + data[byte + 1 :]

    def truncate(self, data: bytes) -> bytes:
        """Cut the end off, one byte at least, if that was drawn."""
        if "truncate" not in self.faults:
            return data
        return data[: int(draw(self.key, "length") * len(data))]


def draw_datagram(options: FaultOptions, key: str, number: int, lost_before: bool) -> DatagramDraw:
    """
    Draw all faults of one datagram.

    @param lost_before: whether the one before it from the same source was lost.
    """
    if options.action in UNANSWERED:
        return DatagramDraw(key, number, (options.action,))
    if is_lost(options, key, lost_before):
        return DatagramDraw(key, number, ("loss",))
    rates = {
        "duplicate": options.duplicate,
        "reorder": options.reorder and options.reorder.rate,
        "corrupt": options.corrupt,
        "truncate": options.truncate,
    }
    faults = tuple(name for name, rate in rates.items() if rate and draw(key, name) < rate)
    gap = options.reorder.gap if options.reorder and "reorder" in faults else 0
    always = tuple(name for name in ALWAYS if getattr(options, name) is not None)
    late = 0.0 if options.latency is None else delay(options.latency, key, "latency")
    return DatagramDraw(key, number, always + faults, gap, late, options.bandwidth or 0)


def is_lost(options: FaultOptions, key: str, lost_before: bool) -> bool:
    """
    Draw whether a datagram is lost.

    The two probabilities make a Markov chain whose share of lost ones is the rate, and whose
    correlation of one with the next is the burst.
    """
    if options.loss is None:
        return False
    rate, burst = options.loss.rate, options.loss.burst
    chance = rate + burst * (1 - rate) if lost_before else rate * (1 - burst)
    return draw(key, "loss") < chance
