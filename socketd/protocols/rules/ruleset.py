"""The rules of a service, compiled, and what is wrong with them there."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any

import attrs
from attrs import evolve, frozen

from socketd.protocols.frames import Delimited, parse_framing
from socketd.protocols.rules.rule import (
    CONTAINS,
    PREFIX,
    WHOLE,
    Anything,
    Expression,
    Idle,
    Octets,
    Pattern,
    Rule,
)
from socketd.settings.diagnostics import Mistake, Mistakes
from socketd.settings.listeners import Listener, only_datagrams

#: Bytes that one expression may use, as compiled and for the states that it remembers. Beyond, RE2
#: forgets states, and takes longer, in linear time still.
EXPRESSION_MEMORY = 256 * 1024

#: The same for all expressions of a service together.
SET_MEMORY = 4 * 1024 * 1024


def compile_expression(source: str) -> Any:
    """
    Compile an expression; a dot is any octet, and C{^} and C{$} are the ends of the message.

    @raise ValueError: if it is wrong or too large, or there is no RE2.
    """
    if not source.isascii():
        raise ValueError(r"has a character that is not ASCII; write each of its octets as \xNN")
    try:
        import re2
    except ImportError:
        raise ValueError("needs the Python package google-re2") from None
    try:
        return re2.compile(source.encode(), _options(re2, EXPRESSION_MEMORY))
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        text = reason.decode("ascii", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"is no expression of RE2: {text}") from None


class ExpressionSet:
    """
    Several expressions, searched in one pass over a message.

    @ivar size: their instructions: a message takes at most so many steps for each byte.
    """

    def __init__(self, expressions: Mapping[int, Any]) -> None:
        """
        @param expressions: those that are compiled, by the keys that L{matching} gives for them.
        @raise ValueError: if they are too large together.
        """
        self.size: int = sum(one.programsize for one in expressions.values())
        self._expressions = expressions
        if not expressions:
            return
        import re2

        self._set = re2.Set.SearchSet(_options(re2, SET_MEMORY))
        # The empty one matches always: without it, the memory was not enough.
        self._keys = [*expressions, -1]
        for pattern in (*(one.pattern for one in expressions.values()), b""):
            self._set.Add(pattern)
        try:
            self._set.Compile()
        except re2.error:
            raise ValueError("has expressions that are too large; write shorter ones") from None

    def matching(self, message: bytes) -> Collection[int]:
        """Return the keys of the expressions that match."""
        found = [self._keys[index] for index in self._set.Match(message) or ()]
        if -1 in found:
            return found
        return [key for key, one in self._expressions.items() if one.search(message)]


def _options(re2: Any, memory: int) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = memory
    options.dot_nl = True
    # Else a peer could fill the log: RE2 writes to stderr when its memory is used up.
    options.log_errors = False
    return options


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


class Matcher:
    """
    Finds the rules that match a message, at a cost that hardly grows with their number.

    Octets of one shape are one look-up, and all expressions are one pass over the message; only
    C{contains} is tried rule by rule.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        """@raise ValueError: if their expressions are too large together."""
        self._tables: dict[Shape, dict[bytes | None, list[int]]] = {}
        # What a message has to contain, nothing included, or C{None} for an expression. As text,
        # of which CPython's "in" takes a tenth of the time that it takes with bytes.
        self._others: list[tuple[int, str | None]] = []
        patterns = [*enumerate(rule.pattern for rule in rules)]
        for index, pattern in patterns:
            self._add(index, pattern)
        self._expressions = ExpressionSet(
            {index: one.compiled for index, one in patterns if isinstance(one, Expression)}
        )

    def _add(self, index: int, pattern: Pattern) -> None:
        if isinstance(pattern, Expression):
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
        return Matcher(self.rules)

    @idle.default
    def _find_idle(self) -> tuple[tuple[int, Rule, float], ...]:
        rules = enumerate(self.rules)
        return tuple((i, r, r.pattern.seconds) for i, r in rules if isinstance(r.pattern, Idle))


#: The most steps of expressions for one message: 80 ms, if an expression and a message are made
#: to take long; all others take microseconds.
MAX_STEPS = 8 * 1024 * 1024


def refusals_of(
    rules: RuleSet, framing: str, max_message: int, listeners: Sequence[Listener]
) -> Iterator[ValueError]:
    """List what is wrong with rules in their service."""
    found = list(_mistakes(rules, framing, only_datagrams(listeners)))
    if found:
        yield Mistakes(found, rules.file)
    if rules.matcher.size * max_message > MAX_STEPS:
        fits = MAX_STEPS // rules.matcher.size
        yield Mistakes(
            [
                Mistake(
                    rules.rules[0].line,
                    rules.rules[0].column,
                    f"the expressions are too large for messages of {max_message} bytes;"
                    f" write shorter ones, or max_message = {fits}",
                )
            ],
            rules.file,
        )


def _mistakes(rules: RuleSet, framing: str, no_streams: bool) -> Iterator[Mistake]:
    cut = parse_framing(framing)(1)
    mark = cut.delimiter if isinstance(cut, Delimited) else None
    all_taken = False
    for rule in rules.rules:
        pattern = rule.pattern
        text = ""
        if all_taken and not isinstance(pattern, Idle):
            text = "no message reaches this rule: * above takes all; write it above that"
        elif mark is not None and isinstance(pattern, Octets) and mark in pattern.value:
            right = evolve(pattern, value=cut.unterminated(pattern.value).replace(mark, b""))
            text = f"matches nothing: the end of a message is no part of it; write {right}"
        elif no_streams:
            text = _about_stream(rule)
        if text:
            yield Mistake(rule.line, rule.column, text)
        all_taken = all_taken or isinstance(pattern, Anything) and rule.times is None


def _about_stream(rule: Rule) -> str:
    """Say what a rule does that datagrams do not have."""
    if isinstance(rule.pattern, Idle):
        return "a silence is for connections, and no listener here has any"
    does = [name for name in ("close", "reset") if getattr(rule, name)]
    return f"{does[0]} is for connections, and no listener here has any" if does else ""
