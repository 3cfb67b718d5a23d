"""The value types of C{rules} and C{greeting}; their parsers are imported when they are used."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from socketd.settings.diagnostics import Mistake, Mistakes
from socketd.settings.value_types import ValueType, read_text

if TYPE_CHECKING:
    from socketd.protocols.rules.ruleset import RuleSet

# A comment behind a path, or instead of one.
_COMMENT = re.compile(r"(?:^|\s);.*")


def parse_rules(text: str) -> RuleSet:
    """
    Parse rules, or the path of a file that has them.

    @raise Mistakes: with all that is wrong inside them.
    @raise ValueError: if the file cannot be read.
    """
    from socketd.protocols.rules.grammar import parse_lines
    from socketd.protocols.rules.ruleset import RuleSet

    path = "".join(files_of(text))
    found = read_text(path, "rules") if path else text
    rules = parse_lines(found, 1 if path else 0, path)
    try:
        return RuleSet(rules, path)
    except ValueError as error:
        raise Mistakes([Mistake(rules[0].line, rules[0].column, str(error))], path) from None


def files_of(text: str) -> tuple[str, ...]:
    """List the file that has the rules: one line that is no rule is its path."""
    path = _COMMENT.sub("", text).strip()
    is_rules = not path or "\n" in path or "->" in path or path.startswith('"')
    return () if is_rules else (path,)


def parse_greeting(text: str) -> bytes:
    """Parse an answer that stands alone; raise C{Mistakes} if it is none."""
    from socketd.protocols.rules.grammar import parse_answer

    return parse_answer(text)


RULES = ValueType(
    "rules (PATTERN -> ANSWER, one per line), or the path of a file of them",
    parse_rules,
    files_of,
    verbatim=True,
)
GREETING = ValueType('"TEXT" or hex OCTETS', parse_greeting, verbatim=True)
