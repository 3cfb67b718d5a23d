"""The silences of a peer, for rules with C{idle}."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from socketd.protocols.rules.conversation import Conversation
from socketd.protocols.rules.rule import Rule

#: Seconds: a silence that lacks less is complete, since sums of floats are not exact.
TOLERANCE = 1e-6


@define(eq=False)
class Silence:
    """
    Measures the silence of a peer, with one timer that received data does not touch.

    @ivar act: follows a rule.
    @ivar is_busy: whether this side has still to answer, so that the peer waits.
    """

    _conversation: Conversation
    _clock: IReactorTime
    _act: Callable[[Rule], None]
    _is_busy: Callable[[], bool]
    _since: float = field(default=0.0, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)

    def start(self) -> None:
        """Begin, at the start of a connection."""
        self.end()
        self._wait()

    def end(self) -> None:
        """End a silence; the next one begins."""
        self._since = self._clock.seconds()
        self._conversation.heard()

    def stop(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        due = self._conversation.next_idle()
        if due is not None:
            rest = max(0.0, self._since + due - self._clock.seconds())
            self._timer = self._clock.callLater(rest, self._check, due)

    def _check(self, due: float) -> None:
        self._timer = None
        if self._is_busy():
            self.end()
        elif self._clock.seconds() - self._since >= due - TOLERANCE:
            rule = self._conversation.idle(due)
            if rule is not None:
                self._act(rule)
        self._wait()
