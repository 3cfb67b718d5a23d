r"""
The grammar of rules: one in a line, C{PATTERN -> ANSWER, ACTION, ...}.

docs/RULES.md has it as a table. A comment begins with a semicolon that is in no quotes.
"""

from __future__ import annotations

import re
from typing import Any

from socketd.protocols.rules.rule import (
    CONTAINS,
    PREFIX,
    Answer,
    Anything,
    Every,
    Expression,
    Idle,
    Octets,
    Pattern,
    Rule,
)
from socketd.protocols.rules.ruleset import compile_expression
from socketd.protocols.rules.tokens import Line, WrongError
from socketd.settings.diagnostics import Mistake, Mistakes, nearest
from socketd.settings.value_types import DURATION, NUMBER, parse_text, within

#: More than a person writes; a recorded conversation has hundreds.
MAX_RULES = 1000

#: The most rules with C{contains} or an expression: each has to look at the whole message.
MAX_SEARCHES = 100

#: Bytes: an answer fits the memory limit of a connection.
MAX_ANSWER = 64 * 1024

#: The most groups in an answer: each may hold a whole message.
MAX_GROUPS = 9

#: The longest list of mistakes: a file that has more is of another kind.
MAX_MISTAKES = 50

_OCTET = re.compile(r"[0-9A-Fa-f]{2}|\.\.")
_ANSWERED = re.compile(r"[0-9A-Fa-f]{2}|\\[1-9]")
_ORDINAL = re.compile(r"([1-9]\d{0,8})(?:st|nd|rd|th)", re.ASCII)

# A part of a text in quotes: a group, a quote, or what every text may have.
_PIECE = re.compile(r'\\([1-9])|\\(")|(?:\\[^1-9"]|[^\\])+', re.DOTALL)

_DELAY = within(DURATION, 0.001, 3600.0, "write 1ms to 1h")
_SILENCE = within(DURATION, 0.1, 86400.0, "write 100ms to 24h")
_TIMES = within(NUMBER, 1, 1_000_000, "write 1 to 1000000")

_PATTERNS = 'write "TEXT", prefix, contains, /REGEX/, hex, every 3rd, idle 10s or *'
_ACTIONS = ("after", "close", "reset", "silent", "times")


def parse_lines(text: str, first_line: int = 0, file: str = "") -> tuple[Rule, ...]:
    """
    Parse rules.

    @param first_line: the number of the first line.
    @param file: the path of the file, for mistakes.
    @raise Mistakes: with all of them.
    """
    rules: list[Rule] = []
    mistakes: list[Mistake] = []
    for number, line in enumerate(text.split("\n"), first_line):
        try:
            rules += _parse_line(line, number)
            _check_counts(rules)
        except WrongError as wrong:
            mistakes.append(Mistake(number, wrong.column, str(wrong)))
        if len(mistakes) == MAX_MISTAKES or len(rules) > MAX_RULES:
            break
    if not rules and not mistakes:
        mistakes = [Mistake(first_line, 1, 'there is no rule; write "TEXT" -> "ANSWER"')]
    if mistakes:
        raise Mistakes(mistakes, file)
    return tuple(rules)


def parse_answer(text: str) -> bytes:
    """Parse an answer that stands alone in a line; raise C{Mistakes} if it is none."""
    try:
        line = Line.of(text)
        answer = _answer(line, 0)
        if answer is None or line.tokens:
            line.refuse(r'is not expected; write one "TEXT" in quotes, or hex 0d 0a')
    except WrongError as wrong:
        raise Mistakes([Mistake(0, wrong.column, str(wrong))]) from None
    return answer.fixed


def _check_counts(rules: list[Rule]) -> None:
    """Refuse the last rule if it is one too many."""
    if len(rules) > MAX_RULES:
        raise WrongError(rules[-1].column, f"this is one too many; write up to {MAX_RULES} rules")
    if rules and _searches(rules[-1]) and sum(map(_searches, rules)) > MAX_SEARCHES:
        limit = f"{MAX_SEARCHES} rules with contains or /REGEX/"
        raise WrongError(rules.pop().column, f"this is one too many; write up to {limit}")


def _searches(rule: Rule) -> bool:
    pattern = rule.pattern
    return isinstance(pattern, Expression) or getattr(pattern, "where", "") == CONTAINS


def _parse_line(text: str, number: int) -> list[Rule]:
    line = Line.of(text)
    if not line.tokens:
        return []
    column, pattern = line.column, _pattern(line)
    if not line.take("arrow"):
        line.refuse("is not expected here; write -> between a pattern and its answer")
    at = line.column
    answer = _answer(line, pattern.compiled.groups if isinstance(pattern, Expression) else 0)
    does = _actions(line) if answer is None or line.take("comma") else {}
    if line.tokens:
        remedy = "write a comma before an action, and one answer"
        if line.tokens[0].text.startswith("#"):
            remedy = "a comment begins with a semicolon"
        line.refuse(f"is not expected here; {remedy}")
    _check(answer, does, at)
    return [Rule(pattern, answer, line=number, column=column, **does)]


def _check(answer: Answer | None, does: dict[str, Any], column: int) -> None:
    """Refuse actions that contradict each other, or do nothing."""
    ends = {"close", "reset", "silent"} & does.keys()
    if answer is not None and "silent" in ends:
        raise WrongError(column, "silent sends no answer; write one of the two")
    if len(ends) > 1:
        raise WrongError(column, f"has {' and '.join(sorted(ends))}; write one of them")
    if answer is None and not ends:
        raise WrongError(column, "this does nothing; write an answer in front, or silent")


# Patterns


def _pattern(line: Line) -> Pattern:
    source = line.tokens[0].text
    if line.tokens[0].kind == "expression":
        found = line.take_value("expression", lambda text: compile_expression(text[1:-1]))
        return Expression(source[1:-1], found)
    where = line.take("word", PREFIX, CONTAINS)
    if line.take("word", "hex"):
        return _hex(line, where)
    if line.tokens and line.tokens[0].kind == "text":
        return Octets(_text(line, 0).fixed, where)
    if where:
        line.refuse(f'is no text; write {where} "TEXT", or {where} hex 01 03')
    if line.take("word", "*"):
        return Anything()
    if line.take("word", "every"):
        return Every(line.take_value("word", _ordinal))
    if line.take("word", "idle"):
        return Idle(line.take_value("word", _SILENCE.parse))
    line.refuse(f"is no pattern; {_PATTERNS}")


def _ordinal(text: str) -> int:
    match = _ORDINAL.fullmatch(text)
    if match is None:
        raise ValueError("is no place; write 2nd, 3rd or 10th")
    return int(match[1])


def _hex(line: Line, where: str) -> Octets:
    column = line.column
    octets = _octets(line, _OCTET, "two digits for each octet, or .. for any")
    wild = frozenset(index for index, octet in enumerate(octets) if octet == "..")
    if wild and where == CONTAINS:
        raise WrongError(column, r"contains takes no ..; write /REGEX/, with \xNN and dots")
    return Octets(bytes.fromhex("".join(octets).replace("..", "00")), where, True, wild)


def _octets(line: Line, octet: re.Pattern[str], remedy: str) -> list[str]:
    """Take the octets of C{hex}, in one word or several."""

    def parse(text: str) -> list[str]:
        found = octet.findall(text)
        if not found or "".join(found) != text:
            raise ValueError(f"is not hexadecimal; write {remedy}")
        return found

    found: list[str] = line.take_value("word", parse)
    while line.tokens and line.tokens[0].kind == "word":
        found += line.take_value("word", parse)
    return found


# Answers and actions


def _answer(line: Line, groups: int) -> Answer | None:
    """Take an answer, if there is one; C{groups}: how many groups the expression has."""
    if line.take("word", "hex"):
        column = line.column
        octets = _octets(line, _ANSWERED, r"two digits for each octet, or \1 for a group")
        parts = [int(o[1]) if o[0] == "\\" else bytes.fromhex(o) for o in octets]
        return _checked(Answer(_joined(parts), is_hex=True), groups, column)
    if line.tokens and line.tokens[0].kind == "text":
        return _text(line, groups)
    return None


def _text(line: Line, groups: int) -> Answer:
    def parse(text: str) -> list[bytes | int]:
        return [
            int(match[1]) if match[1] else b'"' if match[2] else parse_text(match[0])
            for match in _PIECE.finditer(text[1:-1])
        ]

    column = line.column
    return _checked(Answer(_joined(line.take_value("text", parse))), groups, column)


def _joined(parts: list[bytes | int]) -> tuple[bytes | int, ...]:
    """Join neighbouring bytes."""
    joined: list[bytes | int] = []
    for part in parts:
        if joined and isinstance(part, bytes) and isinstance(joined[-1], bytes):
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


def _checked(answer: Answer, groups: int, column: int) -> Answer:
    if max(answer.groups, default=0) > groups:
        has = f"the expression has {groups}" if groups else r"no expression has one; a \ is \\"
        raise WrongError(column, rf"there is no group \{max(answer.groups)}: {has}")
    if len(answer.groups) > MAX_GROUPS:
        raise WrongError(column, f"there are too many groups; write up to {MAX_GROUPS}")
    if len(answer.fixed) > MAX_ANSWER:
        raise WrongError(column, f"this is too long; write up to {MAX_ANSWER} bytes")
    return answer


def _actions(line: Line) -> dict[str, Any]:
    does: dict[str, Any] = {}
    while True:
        name = line.tokens[0].text if line.tokens else ""
        if name not in _ACTIONS:
            line.refuse(f"is no answer or action; {nearest(name, _ACTIONS)}")
        if name in does:
            line.refuse("is given twice; write it once")
        line.take("word")
        parse = {"after": _DELAY.parse, "times": _TIMES.parse}.get(name)
        does[name] = True if parse is None else line.take_value("word", parse)
        if not line.take("comma"):
            return does
