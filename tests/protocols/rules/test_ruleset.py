"""Tests for L{socketd.protocols.rules.ruleset}."""

from __future__ import annotations

import os
import pickle
import re
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.rules import ruleset
from socketd.protocols.rules.grammar import parse_lines
from socketd.protocols.rules.rule import CONTAINS, PREFIX, Anything, Every, Expression, Octets
from socketd.protocols.rules.ruleset import ExpressionSet, Matcher, RuleSet, compile_expression
from tests.settings.refusals import refusal

ALPHABET = b"ab\x00\n"

_octet = st.sampled_from(["61", "62", "00", "0a", ".."])
_bytes = st.lists(st.sampled_from(["a", "b", r"\x00", r"\n"]), max_size=4).map("".join)
_hex = st.lists(_octet, min_size=1, max_size=4).map(" ".join).map("hex {}".format)
_patterns = st.one_of(
    _bytes.map('"{}"'.format),
    _bytes.map('prefix "{}"'.format),
    _bytes.map('contains "{}"'.format),
    _hex,
    _hex.map("prefix {}".format),
    st.sampled_from(["/a/", "/^a+$/", r"/(a|b)*\x00/", "/./", "/^$/", "/b{2,3}.b/", "/(?i)A/"]),
    st.sampled_from(["*", "every 2nd", "idle 1s"]),
)
_rules = st.lists(_patterns, min_size=1, max_size=12)
_messages = st.lists(st.sampled_from(list(ALPHABET)), max_size=8).map(bytes)

limited = settings(max_examples=300, derandomize=True, deadline=None, database=None)


def matches(pattern: object, message: bytes) -> bool:
    """Say whether a pattern matches, in the plainest way."""
    if isinstance(pattern, Octets):
        whole = {PREFIX: len(message) >= len(pattern.value), CONTAINS: True}
        if pattern.where == CONTAINS:
            return pattern.value in message
        pairs = zip(pattern.value, message)
        same = all(at in pattern.any or one == other for at, (one, other) in enumerate(pairs))
        return same and whole.get(pattern.where, len(message) == len(pattern.value))
    if isinstance(pattern, Expression):
        # Python's $ matches before a line end at the end, too.
        source = pattern.source.replace("$", r"\Z").encode()
        return re.search(source, message, re.DOTALL) is not None
    return isinstance(pattern, Anything | Every)


class MatcherTests(SynchronousTestCase):
    """Tests for L{Matcher}."""

    @limited
    @given(_rules, st.lists(_messages, max_size=5))
    def test_same(self, patterns: list[str], messages: list[bytes]) -> None:
        """It finds what trying rule by rule finds, in the same order."""
        rules = parse_lines("\n".join(f'{pattern} -> "x"' for pattern in patterns))
        matcher = Matcher(rules)
        for message in messages:
            expected = [i for i, rule in enumerate(rules) if matches(rule.pattern, message)]
            self.assertEqual(list(matcher.matching(message)), expected, message)

    def test_lazy(self) -> None:
        """What stands behind the first match is not tried."""
        rules = parse_lines('"a" -> "1"\nprefix "b" -> "2"\n/./ -> "3"')
        matcher = Matcher(rules)
        with mock.patch.object(ExpressionSet, "matching", side_effect=AssertionError):
            self.assertEqual(next(matcher.matching(b"a")), 0)
            self.assertEqual(next(matcher.matching(b"bc")), 1)

    def test_one_pass(self) -> None:
        """A hundred expressions are searched once for a message."""
        rules = [rf"/^AT\+C{number}(\d*)$/" for number in range(100)]
        matcher = Matcher(parse_lines("\n".join(f'{rule} -> "x"' for rule in rules)))
        with mock.patch.object(
            ExpressionSet, "matching", autospec=True, side_effect=ExpressionSet.matching
        ) as searched:
            self.assertEqual(list(matcher.matching(b"AT+C99")), [9, 99])
        self.assertEqual(searched.call_count, 1)

    def test_tables(self) -> None:
        """Octets of one shape are one look-up, however many there are."""
        patterns = [f'"{n}"' for n in range(100)] + [f'prefix "{n}"' for n in range(100, 200)]
        patterns += [f"hex {n} .. 0a" for n in range(10, 99)]
        matcher = Matcher(parse_lines("\n".join(f'{one} -> "x"' for one in patterns)))
        self.assertEqual((len(matcher._tables), matcher._others), (3, []))
        self.assertEqual(list(matcher.matching(b"1500")), [150])


class PickleTests(SynchronousTestCase):
    """Tests for rules that go to a worker."""

    def test_there_and_back(self) -> None:
        """They are the same rules, and match the same."""
        rules = RuleSet(parse_lines('/a+b/ -> "1"\n"c" -> "2"\nidle 3s -> "?"'), "a.rules")
        found = pickle.loads(pickle.dumps(rules))
        self.assertEqual((found, found.file, found.idle), (rules, "a.rules", rules.idle))
        self.assertEqual(list(found.matcher.matching(b"xaab")), [0])


class ExpressionTests(SynchronousTestCase):
    """Tests for expressions."""

    def test_octets(self) -> None:
        """A dot is any octet, a line end too; a group is bytes, or nothing."""
        found = compile_expression(r"^(.)\xff(x)?").search(b"\n\xff")
        self.assertEqual((found[1], found[2]), (b"\n", None))

    def test_memory(self) -> None:
        """Without memory for all at once, each is searched alone, and the result is the same."""
        sources = {3: "a", 5: "b+", 8: "^c"}
        compiled = {key: compile_expression(one) for key, one in sources.items()}
        both = ExpressionSet(compiled)
        self.assertEqual(both.size, sum(one.programsize for one in compiled.values()))
        # With -1 for the empty one, as long as there is memory.
        self.assertEqual(sorted(both.matching(b"xbac")), [-1, 3, 5])
        with mock.patch.object(both, "_set") as failing:
            failing.Match.return_value = None
            self.assertEqual(both.matching(b"xbac"), [3, 5])

    def test_too_large(self) -> None:
        """An expression beyond its memory is refused, and so are all together beyond theirs."""
        self.assertIn("too large", refusal(compile_expression, "a{1000}b{1000}" * 20))
        with mock.patch.object(ruleset, "SET_MEMORY", 2000):
            found = {0: compile_expression("a{50}")}
            self.assertIn("write shorter ones", refusal(ExpressionSet, found))

    def test_quiet(self) -> None:
        """RE2 itself writes nothing, or a peer could fill the log."""
        stderr = os.dup(2)
        self.addCleanup(os.close, stderr)
        with open(self.mktemp(), "wb") as log:
            os.dup2(log.fileno(), 2)
            try:
                refusal(compile_expression, "(")
            finally:
                os.dup2(stderr, 2)
            self.assertEqual(os.fstat(log.fileno()).st_size, 0)

    def test_linear(self) -> None:
        """
        Expressions that take a backtracking engine more than the age of the world take steps that
        are counted: at most their size for each byte, whatever is sent.
        """
        for source in (r"(x+x+)+y", r"(a|aa)+$", r"(.*)*,(.*)*;", r"((a*)*)*b"):
            expression = compile_expression(source)
            self.assertLess(expression.programsize, 50, source)
            for message in (b"x" * 65536, b"a" * 65535 + b"c"):
                self.assertIsNone(expression.search(message), source)
