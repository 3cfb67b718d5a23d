"""Tests for L{socketd.cli.system.try_rules}, and for the rules that C{socketd check} shows."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from socketd.common.errors import BAD_CONFIGURATION, FAILED, GOOD, USAGE
from tests.support.command_line import run_main

MODEM = r"""[modem]
protocol = reply
listen = tcp:7023
framing = line
reply = what?
greeting = "hi"
rules =
    ; a comment
    /^AT(.)/ -> "\1", after 200ms, times 1
    "AT" -> hex 4f 4b
    "S" -> silent
    "Q" -> reset
[echo]
listen = tcp:7007
"""


class TryCase(SynchronousTestCase):
    """Tries a file."""

    def setUp(self) -> None:
        self.file = Path(self.mktemp()).absolute()
        self.file.write_text(MODEM)

    def run_command(self, name: str, *arguments: str) -> tuple[int, str, str]:
        """Return the exit status, standard output and standard error without the file's path."""
        status, out, errors = run_main(name, *arguments)
        return status, out.replace(str(self.file), "FILE"), errors.replace(str(self.file), "FILE")

    def attempt(self, *messages: str) -> tuple[int, list[str]]:
        """Try messages; return the status and the rows, without their blanks."""
        status, out, errors = self.run_command("try", str(self.file), "modem", *messages)
        self.assertEqual(errors, "")
        return status, [" ".join(line.split()) for line in out.splitlines()[1:]]


class TryTests(TryCase):
    """Tests for C{socketd try}."""

    def test_conversation(self) -> None:
        """Messages are one conversation; their line ends do not matter, as with C{framing}."""
        status, rows = self.attempt("ATZ", r"ATZ\r\n", "AT", "S")
        self.assertEqual(status, GOOD)
        expected = [
            '(connection) "hi"',
            r'"ATZ" "Z" FILE:9 /^AT(.)/ -> "\1", after 200ms, times 1',
            r'"ATZ\r\n" "what?" FILE:5 * -> "what?"',
            '"AT" "OK" FILE:10 "AT" -> hex 4f 4b',
            '"S" - FILE:11 "S" -> silent',
        ]
        self.assertEqual(rows, expected)

    def test_closed(self) -> None:
        """Behind the end of the connection nothing is answered, which is a failure."""
        status, rows = self.attempt("Q", "AT")
        self.assertEqual(status, FAILED)
        self.assertEqual(
            rows[1:], ['"Q" - FILE:12 "Q" -> reset', '"AT" - the connection is closed']
        )
        self.file.write_text(MODEM.replace("reply = what?", "close = yes"))
        status, rows = self.attempt("S", "AT", "AT")
        self.assertEqual((status, rows[-1]), (FAILED, '"AT" - the connection is closed'))

    def test_no_rule(self) -> None:
        """A message without a rule is a failure."""
        self.file.write_text(MODEM.replace("reply = what?", ""))
        status, rows = self.attempt("x", "AT")
        self.assertEqual((status, rows[1]), (FAILED, '"x" - no rule matches'))

    def test_file(self) -> None:
        """A rule of another file is named there."""
        rules = Path(self.mktemp()).absolute()
        rules.write_text('\n"a" -> "b"\n')
        self.file.write_text(f"[modem]\nprotocol = reply\nlisten = tcp:7\nrules = {rules}\n")
        self.assertEqual(self.attempt("a"), (GOOD, [f'"a" "b" {rules}:2 "a" -> "b"']))

    def test_json(self) -> None:
        """As JSON each message has its answer, rule, delay and end."""
        status, out, _ = self.run_command(
            "try", "--json", str(self.file), "modem", r"AT\xff", "Q", "AT"
        )
        answer, reset, none = json.loads(out)["messages"]
        self.assertEqual(status, FAILED)
        self.assertEqual(
            answer,
            {
                "message": r"AT\xff",
                "answer": r"\xff",
                "rule": r'/^AT(.)/ -> "\1", after 200ms, times 1',
                "place": "FILE:9",
                "after": 0.2,
                "closes": False,
            },
        )
        self.assertEqual(
            (reset["answer"], reset["closes"], reset["place"]), (None, True, "FILE:12")
        )
        self.assertEqual((none["rule"], none["place"]), (None, "the connection is closed"))
        found = {name: value for name, value in json.loads(out).items() if name != "messages"}
        self.assertEqual(found, {"ok": False, "service": "modem", "greeting": "hi"})

    def test_wrong_file(self) -> None:
        """A file that is wrong is complained of as by C{socketd check}."""
        self.file.write_text("[modem]\nprotocol = reply\nlisten = tcp:7\nrules = x ->\n")
        complaint = "FILE:4:9: [modem] rules: x is no pattern;"
        for name in ("try", "check"):
            arguments = [str(self.file), *(["modem", "a"] if name == "try" else [])]
            status, out, errors = self.run_command(name, *arguments)
            self.assertEqual((status, out), (BAD_CONFIGURATION, ""))
            self.assertTrue(errors.startswith(complaint), errors)
            status, out, _ = self.run_command(name, "--json", *arguments)
            [found] = json.loads(out)["complaints"]
            self.assertEqual((status, found["line"], found["column"]), (BAD_CONFIGURATION, 4, 9))

    def test_wrong_arguments(self) -> None:
        """A service that is not there or has no rules, and a message with a wrong escape."""
        for words, status, message in (
            (["mode", "a"], FAILED, "FILE has no service mode; did you mean modem?"),
            (["echo", "a"], FAILED, "[echo] has no rules: its protocol is echo"),
            (["modem", r"\q"], USAGE, r"argument TEXT: has the unknown escape \q"),
        ):
            found = self.run_command("try", str(self.file), *words)
            self.assertEqual(found[0], status)
            self.assertTrue(found[2].startswith(f"socketd try: {message}"), found[2])


class CheckTests(TryCase):
    """Tests for C{socketd check}."""

    def test_rules(self) -> None:
        """It shows the rules of each service that has some, with their places."""
        status, out, _ = self.run_command("check", str(self.file))
        rows = [" ".join(line.split()) for line in out.splitlines()[3:]]
        expected = [
            "PLACE RULES OF modem",
            r'FILE:9 /^AT(.)/ -> "\1", after 200ms, times 1',
            'FILE:10 "AT" -> hex 4f 4b',
            'FILE:11 "S" -> silent',
            'FILE:12 "Q" -> reset',
            'FILE:5 * -> "what?"',
            "FILE: configuration OK",
        ]
        self.assertEqual((status, rows), (GOOD, expected))

    def test_json(self) -> None:
        """So it does as JSON; other services have none."""
        _, out, _ = self.run_command("check", "--json", str(self.file))
        modem, echo = json.loads(out)["services"]
        self.assertEqual(modem["rules"][2], {"place": "FILE:11", "rule": '"S" -> silent'})
        self.assertEqual((len(modem["rules"]), echo["rules"]), (5, []))
