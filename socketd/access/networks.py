"""The networks that a service allows and denies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from socketd.settings.networks import ANY, Network

#: A kind of network: its address size (bytes), and the host bits to shift out.
Length = tuple[int, int]

#: A network: the two of its L{Length}, and its prefix.
Place = tuple[int, int, int]


class Networks:
    """The networks that are allowed and denied."""

    def __init__(self, allow: Iterable[Network], deny: Iterable[Network]) -> None:
        allow, deny = tuple(allow), tuple(deny)
        self._is_open = not deny and set(ANY) <= set(allow)
        self._verdicts = {place_of(network): True for network in allow}
        # The later of two equal networks wins, so a tie is a denial.
        self._verdicts |= {place_of(network): False for network in deny}
        self._lengths = lengths_of(self._verdicts)

    def admits(self, address: bytes) -> bool:
        """Say whether an address is allowed: the longest match decides; none is a denial."""
        if self._is_open:
            return True
        verdicts = map(self._verdicts.get, places_around(address, self._lengths))
        return next((verdict for verdict in verdicts if verdict is not None), False)


def place_of(network: Network) -> Place:
    """Find the place of a network."""
    shift = network.max_prefixlen - network.prefixlen
    return network.max_prefixlen // 8, shift, int(network.network_address) >> shift


def lengths_of(places: Iterable[Place]) -> list[Length]:
    """List the lengths of some networks, the longest prefix first."""
    return sorted({(size, shift) for size, shift, _ in places})


def places_around(address: bytes, lengths: Iterable[Length]) -> Iterator[Place]:
    """List the networks of these lengths that an address is in."""
    number, own_size = int.from_bytes(address, "big"), len(address)
    return ((size, shift, number >> shift) for size, shift in lengths if size == own_size)
