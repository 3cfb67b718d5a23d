"""What rules count in one conversation: with a connection, or with all sources of a port."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime

from socketd.common.timer import Timer
from socketd.protocols.rules.rule import Every, Rule
from socketd.protocols.rules.ruleset import RuleSet


@frozen
class Script:
    """
    All that C{reply} says.

    @ivar fallback: what answers a message that no rule matches.
    @ivar close: whether the first answer closes.
    """

    rules: RuleSet
    fallback: Rule | None = None
    greeting: bytes = b""
    close: bool = False


@define(eq=False)
class Conversation:
    """Chooses the rule of each message, and of a silence."""

    script: Script
    _reached: dict[int, int] = field(factory=dict, init=False)
    _used: dict[int, int] = field(factory=dict, init=False)
    _idled: dict[int, int] = field(factory=dict, init=False)

    def choose(self, message: bytes) -> Rule | None:
        """Choose the first rule that matches a message and is not used up, and use it."""
        rules = self.script.rules
        for index in rules.matcher.matching(message):
            rule = rules.rules[index]
            if isinstance(rule.pattern, Every):
                reached = self._reached[index] = self._reached.get(index, 0) + 1
                if reached % rule.pattern.count:
                    continue
            if self._use(index, rule):
                return rule
        return self.script.fallback

    def heard(self) -> None:
        """End a silence."""
        self._idled.clear()

    def next_idle(self) -> float | None:
        """Return how long the silence has to be for the next rule (seconds)."""
        return min(
            (
                self._due(index, seconds)
                for index, rule, seconds in self.script.rules.idle
                if not self._is_used_up(index, rule)
            ),
            default=None,
        )

    def idle(self, silence: float) -> Rule:
        """Choose the first rule of a silence, as long as L{next_idle} said, and use it."""
        due = [one for one in self.script.rules.idle if self._due(one[0], one[2]) <= silence]
        for index, _, _ in due:
            self._idled[index] = self._idled.get(index, 0) + 1
        return next(rule for index, rule, _ in due if self._use(index, rule))

    def _due(self, index: int, seconds: float) -> float:
        return (self._idled.get(index, 0) + 1) * seconds

    def _is_used_up(self, index: int, rule: Rule) -> bool:
        return rule.times is not None and self._used.get(index, 0) >= rule.times

    def _use(self, index: int, rule: Rule) -> bool:
        if self._is_used_up(index, rule):
            return False
        self._used[index] = self._used.get(index, 0) + 1
        return True


#: Seconds: a silence that lacks less is complete, since sums of floats are not exact.
TOLERANCE = 1e-6


@define(eq=False)
class Silence:
    """
    Measures the silence of a peer, with one timer that received data does not touch.

    @ivar is_busy: whether this side has still to answer, so that the peer waits.
    """

    _conversation: Conversation
    _clock: IReactorTime
    _act: Callable[[Rule], None]
    _is_busy: Callable[[], bool]
    _since: float = field(default=0.0, init=False)
    _timer: Timer = field(init=False)

    @_timer.default
    def _make_timer(self) -> Timer:
        return Timer(self._clock)

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
        self._timer.stop()

    def _wait(self) -> None:
        due = self._conversation.next_idle()
        if due is not None:
            rest = max(0.0, self._since + due - self._clock.seconds())
            self._timer.start(rest, self._check, due)

    def _check(self, due: float) -> None:
        if self._is_busy():
            self.end()
        elif self._clock.seconds() - self._since >= due - TOLERANCE:
            self._act(self._conversation.idle(due))
        self._wait()
