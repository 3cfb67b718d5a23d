"""Tests for L{socketd.protocols.rules.grammar}, and for how rules are written."""

from __future__ import annotations

import sys
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.rules import grammar
from socketd.protocols.rules.grammar import (
    MAX_ANSWER,
    MAX_MISTAKES,
    MAX_RULES,
    MAX_SEARCHES,
    parse_answer,
    parse_lines,
)
from socketd.protocols.rules.rule import Answer, Octets, Rule, quoted
from socketd.settings.diagnostics import SHOWN_VALUE, Mistake, Mistakes
from tests.settings.refusals import refusal

#: The example of the issue, as it is written out.
MODEM = r"""
"AT" -> "OK\r\n"
prefix "HELO " -> "250 hello\r\n"
contains "status" -> "up\r\n", after 200ms
/AT\+CSQ(\d*)/ -> "+CSQ: 24,\1\r\n"
hex 01 03 .. .. -> hex 01 83 02
"QUIT" -> "bye\r\n", close
every 3rd -> "BUSY\r\n"
idle 10s -> "are you there?\r\n"
* -> "ERROR\r\n"
""".strip()

#: Ways to write a rule, and the one way in which it is printed.
WRITTEN = [
    (r'  "a;b"->"c#d";note', r'"a;b" -> "c#d"'),
    (r'"a" -> close , after 2s', r'"a" -> after 2s, close'),
    ('"\\x41\\"\\\\\\t" -> "é\\x00"', r'"A\"\\\t" -> "\xc3\xa9\x00"'),
    ("hex 0103....->hex 0A 0b", "hex 01 03 .. .. -> hex 0a 0b"),
    ("prefix hex 01 .. -> silent", "prefix hex 01 .. -> silent"),
    ('contains hex 00 -> "x", times 3', 'contains hex 00 -> "x", times 3'),
    (r"/a\/b(.)/ -> hex \1 00 \1", r"/a\/b(.)/ -> hex \1 00 \1"),
    (r'/(.)(.)/ -> "\2\10"', r'/(.)(.)/ -> "\2\10"'),
    ("every 11th -> reset", "every 11th -> reset"),
    ("every 22th -> reset", "every 22nd -> reset"),
    ("every 1st -> reset", "every 1st -> reset"),
    *(
        (f"every {place} -> reset", f"every {place} -> reset")
        for place in ("3rd", "4th", "12th", "13th", "101st", "111th")
    ),
    ('idle 1.5s -> "", times 2', 'idle 1.5s -> "", times 2'),
    ('idle 2m -> "x"', 'idle 120s -> "x"'),
    ('"a" -> "b", after 1234.5678s', '"a" -> "b", after 1234.5678s'),
    ('\t* -> "x"\r', '* -> "x"'),
]

#: What is wrong, with the column.
WRONG = [
    ('foo -> "x"', 1, f"foo is no pattern; {grammar._PATTERNS}"),
    (' -> "x"', 2, f"-> is no pattern; {grammar._PATTERNS}"),
    ('"x" - > "y"', 5, "- is not expected here; write -> between a pattern and its answer"),
    ('"x" "y"', 5, '"y" is not expected here; write -> between a pattern and its answer'),
    ('"x"', 4,
     "the end of the line is not expected here; write -> between a pattern and its answer"),
    (' "x', 2, 'a quote begins here and does not end; write " behind it'),
    ('"x" -> "y\\"', 8, 'a quote begins here and does not end; write " behind it'),
    ('/abc -> "z"', 1, "an expression begins here and does not end; write / behind it"),
    ('"x" -> clsoe', 8, "clsoe is no answer or action; did you mean close?"),
    ('"x" -> "y",', 12,
     "the end of the line is no answer or action; known are after, close, reset,"
     " silent, times"),
    ('"x" -> "y" close', 12,
     "close is not expected here; write a comma before an action, and one answer"),
    ('"x" -> "y" # z', 12, "# is not expected here; a comment begins with a semicolon"),
    ('"x" -> "y", close, close', 20, "close is given twice; write it once"),
    ('"x" -> "y", after 3x', 19, "3x is not a duration; write 250ms, 10s, 5m or 1h"),
    ('"x" -> "y", after', 18,
     "the end of the line is not a duration; write 250ms, 10s, 5m or 1h"),
    ('"x" -> "y", after 2h', 19, "2h is out of range; write 1ms to 1h"),
    ('"x" -> "y", times 0', 19, "0 is out of range; write 1 to 1000000"),
    ('"x" -> "y", close, reset', 8, "has close and reset; write one of them"),
    ('"x" -> "y", silent', 8, "silent sends no answer; write one of the two"),
    ('"x" -> after 2s', 8, "this does nothing; write an answer in front, or silent"),
    (r'"x" -> "\1"', 8, r"there is no group \1: no expression has one; a \ is \\"),
    (r'/(a)/ -> "\2"', 10, r"there is no group \2: the expression has 1"),
    (r'/(a)/ -> hex \2', 14, r"there is no group \2: the expression has 1"),
    ('/(a)/ -> "' + r"\1" * 10 + '"', 10, "there are too many groups; write up to 9"),
    (r'"\1" -> "a"', 1, r"there is no group \1: no expression has one; a \ is \\"),
    ('/(/ -> "a"', 1, "/(/ is no expression of RE2: missing ): ("),
    (r'/(a)\1/ -> "a"', 1, r"/(a)\1/ is no expression of RE2: invalid escape sequence: \1"),
    ('/é/ -> "x"', 1,
     r"/\xe9/ has a character that is not ASCII; write each of its octets as \xNN"),
    ('hex 0 -> "x"', 5,
     "0 is not hexadecimal; write two digits for each octet, or .. for any"),
    ('hex -> "x"', 5, "-> is not hexadecimal; write two digits for each octet, or .. for any"),
    ('"x" -> hex ..', 12,
     r".. is not hexadecimal; write two digits for each octet, or \1 for a group"),
    ('contains hex 01 .. -> "x"', 14, r"contains takes no ..; write /REGEX/, with \xNN and dots"),
    ('prefix -> "x"', 8, '-> is no text; write prefix "TEXT", or prefix hex 01 03'),
    ('every 3 -> "x"', 7, "3 is no place; write 2nd, 3rd or 10th"),
    ('idle 1 -> "x"', 6, "1 is not a duration; write 250ms, 10s, 5m or 1h"),
    ('idle 1ms -> "x"', 6, "1ms is out of range; write 100ms to 24h"),
    (r'"a\q" -> "y"', 1,
     r'"a\q" has the unknown escape \q; known are \n \r \t \xNN and \\'),
    ('x' * 100, 1, f"{'x' * SHOWN_VALUE}... is no pattern; {grammar._PATTERNS}"),
]  # fmt: skip


def mistakes(text: str) -> list[Mistake]:
    """List what is wrong with rules."""
    try:
        parse_lines(text)
    except Mistakes as error:
        return list(error.found)
    return []


def written(text: str) -> list[str]:
    """Write the rules of a text as they are understood."""
    return [str(rule) for rule in parse_lines(text)]


class GrammarTests(SynchronousTestCase):
    """Tests for L{parse_lines}."""

    def test_example(self) -> None:
        """Every pattern and action of the issue is understood, and printed as it is written."""
        self.assertEqual(written(MODEM), MODEM.split("\n"))

    def test_written(self) -> None:
        """Blanks, comments and spellings do not matter; what is printed says the same again."""
        for text, expected in WRITTEN:
            self.assertEqual(written(text), [expected], text)
            self.assertEqual(written(expected), [expected])

    def test_places(self) -> None:
        """A rule knows its line and column; comments and empty lines count."""
        text = '\n; one\n  # two\n\n  "a" -> "b"\n*->silent'
        self.assertEqual([(r.line, r.column) for r in parse_lines(text)], [(4, 3), (5, 1)])
        self.assertEqual([r.line for r in parse_lines(text, 7)], [11, 12])

    def test_wrong(self) -> None:
        """Each mistake is named with its column and what would be right."""
        for text, column, message in WRONG:
            self.assertEqual(mistakes(text), [Mistake(0, column, message)], text)

    def test_all_at_once(self) -> None:
        """All lines are complained of in one run, each once."""
        text = "\n".join(text for text, *_ in WRONG)
        expected = [Mistake(n, column, message) for n, (_, column, message) in enumerate(WRONG)]
        self.assertEqual(mistakes(text), expected)

    def test_none(self) -> None:
        """Comments alone are no rules."""
        for text in ("", "\n\n", "; a\n# b"):
            message = 'there is no rule; write "TEXT" -> "ANSWER"'
            self.assertEqual(mistakes(text), [Mistake(0, 1, message)])

    def test_bounds(self) -> None:
        """Rules, searches, mistakes and the length of an answer have a limit."""
        one = '"a" -> "b"\n'
        self.assertEqual(len(parse_lines(one * MAX_RULES)), MAX_RULES)
        [found] = mistakes(one * MAX_RULES + f"   {one}" * 9)
        self.assertEqual(found.column, 4)
        self.assertEqual((found.line, found.message[:24]), (MAX_RULES, "this is one too many; wr"))
        search = 'contains "a" -> "b"\n/a/ -> "b"\n' * (MAX_SEARCHES // 2)
        self.assertEqual(len(parse_lines(search + one)), MAX_SEARCHES + 1)
        found = mistakes(f'{search}{one}  contains "c" -> "d"\n')[0]
        self.assertEqual((found.line, found.column), (MAX_SEARCHES + 1, 3))
        limit = f"write up to {MAX_SEARCHES} rules with contains or /REGEX/"
        self.assertEqual(found.message, f"this is one too many; {limit}")
        self.assertEqual(mistakes('/(a)/ -> "' + r"\1" * 9 + '"'), [])
        self.assertEqual(len(mistakes("x\n" * 1000)), MAX_MISTAKES)
        self.assertEqual(mistakes(f'"a" -> "{"x" * MAX_ANSWER}"'), [])
        [found] = mistakes(f'"a" -> "{"x" * MAX_ANSWER}y"')
        self.assertEqual(
            (found.column, found.message), (8, f"this is too long; write up to {MAX_ANSWER} bytes")
        )

    def test_without_re2(self) -> None:
        """Where RE2 is missing, only rules with an expression are refused."""
        with mock.patch.dict(sys.modules, re2=None):
            [found] = mistakes('"a" -> "b"\n/a/ -> "b"')
        self.assertEqual(found, Mistake(1, 1, "/a/ needs the Python package google-re2"))

    def test_not_imported(self) -> None:
        """Without an expression RE2 is not even imported."""
        with mock.patch.dict(sys.modules):
            sys.modules.pop("re2", None)
            parse_lines('"a" -> "b"\nprefix hex .. 01 -> "c"')
            self.assertNotIn("re2", sys.modules)

    @settings(max_examples=200, derandomize=True, deadline=None, database=None)
    @given(st.binary(max_size=20), st.binary(max_size=20))
    def test_any_bytes(self, question: bytes, answer: bytes) -> None:
        """Any bytes can be written as a rule, as text or hexadecimal, and are read back."""
        rule = Rule(Octets(question), Answer((answer,) if answer else ()), column=1)
        self.assertEqual(parse_lines(str(rule)), (rule,))
        self.assertEqual(parse_answer(quoted(answer)), answer)
        if question:
            text = str(Octets(question, is_hex=True))
            [read] = parse_lines(f"{text} -> silent")
            self.assertEqual(read.pattern, Octets(question, is_hex=True))


class AnswerTests(SynchronousTestCase):
    """Tests for L{parse_answer}."""

    def test_right(self) -> None:
        """A text in quotes, or octets; a comment may stand behind it."""
        for text, expected in (
            (r' "220 ready; #1\r\n" ; a comment', b"220 ready; #1\r\n"),
            ("hex 0d 0A", b"\r\n"),
            ('""', b""),
        ):
            self.assertEqual(parse_answer(text), expected)

    def test_wrong(self) -> None:
        """What is not, and what is more, is refused with the right form."""
        for text in ("hello", "", '"a" "b"', '"a", close'):
            self.assertIn(
                'is not expected; write one "TEXT" in quotes', refusal(parse_answer, text)
            )
        self.assertIn("there is no group", refusal(parse_answer, r'"\1"'))
