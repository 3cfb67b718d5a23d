"""The faults of one service: numbers its connections and datagrams, and draws for each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from random import SystemRandom

from socketd.faults.draws import ConnectionDraw, DatagramDraw, draw, draw_datagram
from socketd.settings.faults.profile import DATAGRAM_FAULTS, STREAM_FAULTS, FaultProfile

#: Sources of datagrams whose numbers are kept, about 1 MB: as many as have a rate limit. A
#: source that came back later than so many others begins at 1 again.
MAX_SOURCES = 4096

#: As many seeds as the option C{seed} can have, so that each one that is logged can be written.
SEEDS = 10**9


class ServiceFaults:
    """
    A profile that is on at one service.

    What is drawn depends on the seed, the service and the number of a connection, or the
    source and the number of its datagram, and so not on who else comes, or when.

    @ivar seed: that of the profile, or drawn.
    @ivar connections: the number of connections so far.
    """

    def __init__(
        self,
        profile: FaultProfile,
        service: str,
        random_below: Callable[[int], int] = SystemRandom().randrange,
    ) -> None:
        self.profile = profile
        self.service = service
        seed = profile.options.seed
        self.seed = random_below(SEEDS) if seed is None else seed
        self._on_streams = bool(profile.options.given(STREAM_FAULTS))
        self._on_datagrams = bool(profile.options.given(DATAGRAM_FAULTS))
        self.connections = 0
        self._sources: OrderedDict[Hashable, tuple[int, bool]] = OrderedDict()

    def draw_connection(self) -> ConnectionDraw | None:
        """
        Draw for a connection that was accepted.

        @return: C{None} if it has no faults.
        """
        self.connections += 1
        key = f"{self.seed}/{self.service}/{self.connections}"
        if self._on_streams and self._hits(key, self.connections):
            return ConnectionDraw(self.profile, key, self.connections)
        return None

    def draw_datagram(self, source: Hashable) -> DatagramDraw | None:
        """
        Draw for a datagram that was received.

        @param source: its address without the port, which clients let the system choose.
        @return: C{None} if its answers have no faults.
        """
        number, lost_before = self._sources.pop(source, (0, False))
        number += 1
        key = f"{self.seed}/{self.service}/{source}/{number}"
        drawn = None
        if self._on_datagrams and self._hits(key, number):
            drawn = draw_datagram(self.profile.options, key, number, lost_before)
            lost_before = drawn.lost
        self._sources[source] = number, lost_before
        if len(self._sources) > MAX_SOURCES:
            self._sources.popitem(last=False)
        return drawn if drawn is not None and drawn.faults else None

    def _hits(self, key: str, number: int) -> bool:
        options = self.profile.options
        past = number - options.skip
        if past < 1 or (options.first is not None and past > options.first):
            return False
        return options.share == 1 or draw(key, "share") < options.share
