"""Any rules, right or wrong, and conversations by them with peers that say anything."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import StringTransport

from socketd.protocols.rules.conversation import Conversation, Script
from socketd.protocols.rules.grammar import MAX_ANSWER, MAX_GROUPS, MAX_MISTAKES, parse_lines
from socketd.protocols.rules.rule import Expression, Rule
from socketd.protocols.rules.ruleset import MAX_STEPS, RuleSet, refusals_of
from socketd.settings.diagnostics import Mistakes
from tests.protocols.fakes import context, make_stream

#: Messages are not longer here.
MAX_MESSAGE = 4096


def read_rules(text: str) -> RuleSet | None:
    """Read rules: they are right, or each mistake has its place in the text."""
    try:
        found = RuleSet(parse_lines(text))
    except Mistakes as error:
        lines = text.split("\n")
        assert len(error.found) <= MAX_MISTAKES
        for mistake in error.found:
            assert 1 <= mistake.column <= len(lines[mistake.line]) + 1, mistake
            assert mistake.message
        return None
    for rule in found.rules:
        check_written(rule)
    return found


def check_written(rule: Rule) -> None:
    """See that a rule is printed in a line, which says the same again."""
    text = str(rule)
    assert text.isprintable() and text.isascii(), ascii(text)
    [again] = parse_lines(text)
    assert str(again) == text, (text, str(again))


def check_rules(data: bytes) -> None:
    """
    Any text is rules or complained of; any message is answered by the first rule that matches, in
    no more steps than are counted, and with no more bytes than are bounded.
    """
    text, *messages = data.split(b"\0")
    rules = read_rules(text.decode("utf-8", "replace"))
    if rules is None or list(refusals_of(rules, "chunk", MAX_MESSAGE, ())):
        return
    conversation = Conversation(Script(rules))
    for message in (part[:MAX_MESSAGE] for part in messages):
        assert rules.matcher.size * len(message) <= MAX_STEPS
        found = list(rules.matcher.matching(message))
        assert found == sorted(set(found))
        for index, rule in enumerate(rules.rules):
            if isinstance(rule.pattern, Expression):
                assert (rule.pattern.compiled.search(message) is not None) is (index in found)
        chosen = conversation.choose(message)
        if chosen is not None:
            assert rules.rules.index(chosen) in found
            assert len(chosen.answer_to(message)) <= MAX_ANSWER + MAX_GROUPS * len(message)


def check_conversations(data: bytes) -> None:
    """
    Whatever the rules, the data and the time, nothing is raised, and no timer is left.
    """
    text, *steps = data.split(b"\0")
    rules = read_rules(text.decode("utf-8", "replace"))
    if rules is None:
        return
    around, wire = context(), StringTransport()
    protocol: Any = make_stream("reply", around, rules=rules, framing="line")
    clock: Any = around.clock
    protocol.makeConnection(wire)
    for step in steps:
        if wire.disconnecting or wire.disconnected:
            break
        if step[:1] == b"+":
            clock.advance(len(step) / 2)
        elif step == b"more" and wire.producer is not None:
            protocol.resumeProducing()
        elif step == b"end":
            protocol.readConnectionLost()
        else:
            protocol.dataReceived(step)
    protocol.connectionLost()
    assert not clock.getDelayedCalls()
