"""What rules count in one conversation: with a connection, or with all sources of a port."""

from __future__ import annotations

from attrs import define, field, frozen

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
            if self._is_turn(index, rule) and self._use(index, rule):
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

    def idle(self, silence: float) -> Rule | None:
        """Choose the first rule of a silence (seconds), and use it."""
        chosen = None
        for index, rule, seconds in self.script.rules.idle:
            if self._due(index, seconds) <= silence:
                self._idled[index] = self._idled.get(index, 0) + 1
                if chosen is None and self._use(index, rule):
                    chosen = rule
        return chosen

    def _due(self, index: int, seconds: float) -> float:
        return (self._idled.get(index, 0) + 1) * seconds

    def _is_turn(self, index: int, rule: Rule) -> bool:
        """Count a message that reaches a rule with C{every}."""
        if not isinstance(rule.pattern, Every):
            return True
        reached = self._reached[index] = self._reached.get(index, 0) + 1
        return reached % rule.pattern.count == 0

    def _is_used_up(self, index: int, rule: Rule) -> bool:
        return rule.times is not None and self._used.get(index, 0) >= rule.times

    def _use(self, index: int, rule: Rule) -> bool:
        if rule.times is None:
            return True
        if self._is_used_up(index, rule):
            return False
        self._used[index] = self._used.get(index, 0) + 1
        return True
