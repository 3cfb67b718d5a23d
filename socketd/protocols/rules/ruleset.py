"""The rules of a service, compiled."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from itertools import compress
from typing import Any

import attrs
from attrs import define, field, frozen

from socketd.protocols.rules.expressions import ExpressionSet
from socketd.protocols.rules.rule import CONTAINS, PREFIX, WHOLE, Expression, Idle, Octets, Rule


@frozen
class Shape:
    """What octets have in common that are looked up in one step."""

    where: str
    length: int
    any: frozenset[int]

    @classmethod
    def of(cls, octets: Octets) -> Shape:
        """Return the shape of octets; whole messages without any octet left open have one."""
        is_whole = octets.where == WHOLE and not octets.any
        return cls(octets.where, 0 if is_whole else len(octets.value), octets.any)

    def key(self, message: bytes) -> bytes | None:
        """Return the octets of a message that decide; C{None} if its length does not fit."""
        if not self.any:
            return message[: self.length] if self.where == PREFIX else message
        length = len(message)
        if length < self.length or length > self.length and self.where == WHOLE:
            return None
        return bytes(compress(message, (at not in self.any for at in range(self.length))))


@define(eq=False)
class Matcher:
    """
    Finds the rules that match a message, at a cost that hardly grows with their number.

    Octets of one shape are one look-up, and all expressions are one pass over the message; only
    C{contains} is tried rule by rule.
    """

    _tables: dict[Shape, dict[bytes | None, list[int]]] = field(factory=dict, init=False)
    # What a message has to contain, nothing included, or C{None} for an expression. As text, of
    # which CPython's "in" takes a tenth of the time that it takes with bytes.
    _others: list[tuple[int, str | None]] = field(factory=list, init=False)
    _expressions: ExpressionSet = field(factory=ExpressionSet, init=False)

    @classmethod
    def of(cls, rules: tuple[Rule, ...]) -> Matcher:
        """
        Compile rules.

        @raise ValueError: if their expressions are too large together.
        """
        matcher = cls()
        for index, rule in enumerate(rules):
            matcher._add(index, rule)
        matcher._expressions.compile()
        return matcher

    def _add(self, index: int, rule: Rule) -> None:
        pattern = rule.pattern
        if isinstance(pattern, Expression):
            self._expressions.add(index, pattern.compiled)
            self._others.append((index, None))
        elif isinstance(pattern, Octets) and pattern.where != CONTAINS:
            shape = Shape.of(pattern)
            key = Shape(PREFIX, len(pattern.value), pattern.any).key(pattern.value)
            self._tables.setdefault(shape, {}).setdefault(key, []).append(index)
        elif not isinstance(pattern, Idle):
            needle: bytes = getattr(pattern, "value", b"")
            self._others.append((index, needle.decode("latin-1")))

    @property
    def size(self) -> int:
        """The most steps per byte of a message: the instructions of all expressions."""
        return self._expressions.size

    def matching(self, message: bytes) -> Iterator[int]:
        """Yield the indexes of the rules that match, in their order."""
        known = [sys.maxsize]
        for shape, table in self._tables.items():
            known += table.get(shape.key(message), ())
        known.sort(reverse=True)
        text = message.decode("latin-1")
        found: Collection[int] | None = None
        for index, needle in self._others:
            while known[-1] < index:
                yield known.pop()
            if needle is None:
                found = self._expressions.matching(message) if found is None else found
                if index in found:
                    yield index
            elif needle in text:
                yield index
        while len(known) > 1:
            yield known.pop()


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

    def __reduce__(self) -> tuple[type[RuleSet], tuple[Any, ...]]:
        """Go to a worker as rules, which it compiles: a set of RE2 cannot be pickled."""
        return RuleSet, (self.rules, self.file)

    @matcher.default
    def _compile(self) -> Matcher:
        return Matcher.of(self.rules)

    @idle.default
    def _find_idle(self) -> tuple[tuple[int, Rule, float], ...]:
        rules = enumerate(self.rules)
        return tuple((i, r, r.pattern.seconds) for i, r in rules if isinstance(r.pattern, Idle))
