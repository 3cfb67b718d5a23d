"""What is drawn for one connection."""

from __future__ import annotations

from attrs import define, field

from socketd.faults.dice import delay, draw
from socketd.settings.faults.profile import STREAM_FAULTS, FaultOptions, FaultProfile


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
