"""
What is drawn for one connection and for one datagram, from a key alone.

A generator with a state would make a draw depend on those before it, and so on the order in
which connections come, and would cost 2.5 KB for each of them.
"""

from __future__ import annotations

from hashlib import blake2b
from math import cos, exp, log, pi, sqrt

from attrs import define, field, frozen

from socketd.settings.faults import values
from socketd.settings.faults.profile import STREAM_FAULTS, FaultOptions, FaultProfile

#: A float has 53 bits; with one less, and a half added, a draw is neither 0 nor 1.
_BITS = 52
_RANGE = float(1 << _BITS)


def draw(*key: object) -> float:
    """Draw a number between 0 and 1, both excluded, from a uniform distribution."""
    text = "/".join(map(str, key))
    digest = blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 64 - _BITS) + 0.5) / _RANGE


def delay(latency: values.Latency, *key: object) -> float:
    """
    Draw a delay in seconds, from 0 to C{MAX_SECONDS}.

    The jitter is half of the width of C{uniform}, and the standard deviation of the other
    two; the base is the mean.
    """
    base, jitter = latency.base, latency.jitter
    if not jitter:
        return base
    if latency.distribution == values.UNIFORM:
        found = base + jitter * (2 * draw(*key) - 1)
    elif latency.distribution == values.LOGNORMAL:
        variance = log(1 + (jitter / base) ** 2)
        found = exp(log(base) - variance / 2 + sqrt(variance) * _normal(*key))
    else:
        found = base + jitter * _normal(*key)
    return min(max(found, 0.0), values.MAX_SECONDS)


def _normal(*key: object) -> float:
    """Draw from the standard normal distribution (the transform of Box and Muller)."""
    return sqrt(-2 * log(draw(*key))) * cos(2 * pi * draw(*key, "angle"))


@define(eq=False)
class ConnectionDraw:
    """
    The faults of one connection.

    Each delay depends on its own number only, and each size, so that the one that the peer's
    timing causes earlier does not change the other.

    @ivar key: the seed, the service and the connection's number.
    @ivar number: the number of the connection since the service has the profile, from 1.
    """

    profile: FaultProfile
    key: str
    number: int
    _delays: int = field(default=0, init=False)
    _slices: int = field(default=0, init=False)

    @property
    def options(self) -> FaultOptions:
        """The options of the profile."""
        return self.profile.options

    @property
    def text(self) -> str:
        """The profile, what the draws depend on, and the faults, for people."""
        return f"{self.profile.name} {self.key}: {self.profile.describe(STREAM_FAULTS)}"

    def next_delay(self) -> float:
        """Draw the next delay in seconds; 0 without C{latency}."""
        latency = self.profile.options.latency
        if latency is None:
            return 0.0
        self._delays += 1
        return delay(latency, self.key, "latency", self._delays)

    def next_slice(self) -> int:
        """
        Draw the size of the next piece in bytes.

        The profile has C{slice}.
        """
        slices = self.profile.options.slice
        assert slices is not None
        self._slices += 1
        drawn = draw(self.key, "slice", self._slices)
        return slices.low + int(drawn * (slices.high - slices.low + 1))


#: The faults for which a datagram is not answered.
UNANSWERED = ("loss", values.SILENT, values.NEVER_READ)

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
