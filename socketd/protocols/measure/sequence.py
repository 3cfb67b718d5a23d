"""Loss, duplicates and reordering, as sequence numbers show them."""

from __future__ import annotations

from attrs import define

#: Numbers below the highest that are told apart: a duplicate from a late one (RFC 4737 calls what
#: is later than its successor reordered). Older ones count as late.
WINDOW = 1024

#: A larger gap (numbers) is a sender that restarts, not loss: ten minutes at 100/s.
MAX_GAP = 65536

#: What numbers show beside what has come.
LOST, LATE, DUPLICATE = "lost", "late", "duplicate"


@define(eq=False)
class Arrivals:
    """
    The numbers of one sender that have come.

    A gap counts as lost at once; what fills it later counts as late and is in C{lost} still, so
    that neither number ever goes back: C{lost - late} are lost for good.

    @ivar size: how many numbers there are, after which they begin again at 0.
    """

    size: int = 1 << 32
    received: int = 0
    lost: int = 0
    duplicate: int = 0
    late: int = 0
    _highest: int = 0
    # The last ones of those that have come, one behind another; and of the others, bit N: whether
    # the number N below the highest of them has come.
    _in_order: int = 0
    _seen: int = 0

    def add(self, number: int) -> tuple[str, int] | None:
        """
        Count a number.

        @return: what was counted beside it: L{LOST}, L{DUPLICATE} or L{LATE}, and how many;
            C{None} if it was the next one.
        """
        self.received += 1
        if number == self._highest + 1 and self._seen:
            self._highest = number
            self._in_order += 1
            return None
        if self._in_order:
            self._note(self._in_order, self._in_order)
            self._in_order = 0
        return self._place(number)

    def _place(self, number: int) -> tuple[str, int] | None:
        """Count a number that is not the next one, or the first."""
        ahead = (number - self._highest) % self.size
        behind = self.size - ahead
        if not self._seen or MAX_GAP < ahead and MAX_GAP < behind:
            self._highest, self._seen = number, 1
            return None
        if ahead and ahead <= behind:
            return self._advance(number, ahead)
        return self._add_old(behind % self.size)

    def _advance(self, number: int, ahead: int) -> tuple[str, int] | None:
        self.lost += ahead - 1
        self._highest = number
        self._note(ahead, 1)
        return (LOST, ahead - 1) if ahead > 1 else None

    def _note(self, ahead: int, come: int) -> None:
        """Note that the highest number is so much higher, and that the last ones have come."""
        # No longer than the window, however large the gap.
        newest = (1 << min(come, WINDOW)) - 1
        self._seen = (self._seen << min(ahead, WINDOW) | newest) & (1 << WINDOW) - 1

    def _add_old(self, behind: int) -> tuple[str, int]:
        if behind < WINDOW and self._seen >> behind & 1:
            self.duplicate += 1
            return DUPLICATE, 1
        self.late += 1
        self._seen |= 1 << behind if behind < WINDOW else 0
        return LATE, 1
