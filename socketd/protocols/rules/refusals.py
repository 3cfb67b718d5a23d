"""What is wrong with rules in a service: with its framing, its longest message, its listeners."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import evolve

from socketd.protocols.frames import Delimited, parse_framing
from socketd.protocols.rules.rule import Anything, Idle, Octets, Rule
from socketd.protocols.rules.ruleset import RuleSet
from socketd.settings.diagnostics import Mistake, Mistakes
from socketd.settings.listeners import Listener, only_datagrams

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
