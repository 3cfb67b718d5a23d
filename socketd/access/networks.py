"""The networks that a service allows and denies."""

from __future__ import annotations

from collections.abc import Iterable

from socketd.access.addresses import IPV4_BYTES, IPV6_BYTES
from socketd.settings.networks import ANY, Network


class Networks:
    """The networks that are allowed and denied."""

    def __init__(self, allow: Iterable[Network], deny: Iterable[Network]) -> None:
        allow, deny = tuple(allow), tuple(deny)
        self._is_open = not deny and set(ANY) <= set(allow)
        verdicts = [(network, True) for network in allow]
        # The later of two equal networks wins, so a tie is a denial.
        verdicts += [(network, False) for network in deny]
        tables: dict[int, dict[int, dict[int, bool]]] = {IPV4_BYTES: {}, IPV6_BYTES: {}}
        for network, verdict in verdicts:
            size, shift, prefix = position(network)
            tables[size].setdefault(shift, {})[prefix] = verdict
        # By address size; the longest prefix first.
        self._tables = {size: sorted(table.items()) for size, table in tables.items()}

    def admits(self, address: bytes) -> bool:
        """Say whether an address is allowed: the longest match decides; none is a denial."""
        if self._is_open:
            return True
        number = int.from_bytes(address, "big")
        for shift, verdicts in self._tables[len(address)]:
            verdict = verdicts.get(number >> shift)
            if verdict is not None:
                return verdict
        return False


def position(network: Network) -> tuple[int, int, int]:
    """Compute the address size (bytes), the host bits to shift out, and the prefix."""
    shift = network.max_prefixlen - network.prefixlen
    return network.max_prefixlen // 8, shift, int(network.network_address) >> shift
