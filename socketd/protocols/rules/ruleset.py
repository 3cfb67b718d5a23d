"""The rules of a service, compiled."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import attrs
from attrs import define, field, frozen

from socketd.protocols.rules.expressions import ExpressionSet
from socketd.protocols.rules.rule import WHOLE, Expression, Idle, Octets, Rule

#: Says whether a message matches; C{None} for an expression.
Test = Callable[[bytes], object] | None


@define(eq=False)
class Matcher:
    """
    Finds the rules that match a message, at a cost that hardly grows with their number.

    Whole messages are one look-up and all expressions one pass; only the rest is tried one by one.
    """

    _whole: dict[bytes, list[int]] = field(factory=dict, init=False)
    _others: list[tuple[int, Test]] = field(factory=list, init=False)
    _expressions: ExpressionSet = field(factory=ExpressionSet, init=False)

    @classmethod
    def of(cls, rules: tuple[Rule, ...]) -> Matcher:
        """
        Compile rules.

        @raise ValueError: if their expressions are too large together.
        """
        matcher = cls()
        for index, rule in enumerate(rules):
            pattern = rule.pattern
            if isinstance(pattern, Octets) and pattern.where == WHOLE and not pattern.any:
                matcher._whole.setdefault(pattern.value, []).append(index)
            elif isinstance(pattern, Expression):
                matcher._expressions.add(index, pattern.compiled)
                matcher._others.append((index, None))
            elif not isinstance(pattern, Idle):
                test = pattern.test if isinstance(pattern, Octets) else _always
                matcher._others.append((index, test))
        matcher._expressions.compile()
        return matcher

    @property
    def size(self) -> int:
        """The most steps per byte of a message: the instructions of all expressions."""
        return self._expressions.size

    def matching(self, message: bytes) -> Iterator[int]:
        """Yield the indexes of the rules that match, in their order."""
        whole = self._whole.get(message, [])
        place = 0
        found: Collection[int] | None = None
        for index, test in self._others:
            while place < len(whole) and whole[place] < index:
                yield whole[place]
                place += 1
            if test is None:
                found = self._expressions.matching(message) if found is None else found
                if index in found:
                    yield index
            elif test(message):
                yield index
        yield from whole[place:]


@frozen
class RuleSet:
    """
    Rules in their order.

    @ivar file: the path of their file; empty if they are in the configuration.
    @ivar idle: the rules of silences, with their indexes and seconds.
    """

    rules: tuple[Rule, ...] = ()
    file: str = ""
    matcher: Matcher = attrs.field(init=False, eq=False, repr=False)
    idle: tuple[tuple[int, Rule, float], ...] = attrs.field(init=False, eq=False, repr=False)

    @matcher.default
    def _compile(self) -> Matcher:
        return Matcher.of(self.rules)

    @idle.default
    def _find_idle(self) -> tuple[tuple[int, Rule, float], ...]:
        rules = enumerate(self.rules)
        return tuple((i, r, r.pattern.seconds) for i, r in rules if isinstance(r.pattern, Idle))


def _always(message: bytes) -> bool:
    return True
