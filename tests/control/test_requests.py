"""Tests for L{socketd.control.requests}; L{tests.control.test_commands} has those for lines."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from socketd.common.errors import USAGE, CommandError
from socketd.control.requests import parse_request


class ObjectTests(SynchronousTestCase):
    """Tests for requests that are JSON objects."""

    def refused(self, line: str) -> str:
        """Say why a request cannot be used."""
        problem = self.assertRaises(CommandError, parse_request, line)
        self.assertEqual(problem.status, USAGE)
        self.assertTrue(str(problem).isprintable(), ascii(str(problem)))
        return str(problem)

    def test_arguments(self) -> None:
        """Each argument is a key; an id may be a number; one that is left out is empty."""
        cases = {
            '{"command": "status"}': ("status", []),
            '{"command": "exit"}': ("quit", []),
            '{"command": "watch"}': ("watch", [""]),
            '{"id": 7, "command": "show"}': ("show", ["7"]),
            '{"command": "reply", "id": "7", "text": "a\\n\\u00e9"}': ("reply", ["7", "a\n\xe9"]),
            '{"command": "reply", "id": 7, "data": "/wA="}': ("reply", ["7", "\udcff\0"]),
            '{"command": "answer", "id": 7, "data": ""}': ("answer", ["7", ""]),
            '{"command": "ban", "source": "any", "duration": "1h"}': ("ban", ["any", "1h"]),
        }
        for line, expected in cases.items():
            request = parse_request(line)
            self.assertEqual((request.command.name, request.values), expected)

    def test_log(self) -> None:
        """The log has it as the line that would request the same, escaped."""
        line = '{"command": "reply", "data": "Af8g", "id": 7}'
        self.assertEqual(str(parse_request(line)), r"reply 7 \x01\xff ")
        line = '{"command": "ban", "duration": "1h", "source": "192.0.2.1"}'
        self.assertEqual(str(parse_request(line)), "ban 192.0.2.1 for 1h")
        self.assertEqual(str(parse_request("ban 192.0.2.1 for  1h")), "ban 192.0.2.1 for 1h")

    def test_wrong(self) -> None:
        """Whatever is wrong with it is said, with what would be right."""
        expected = {
            "{": "the line is no JSON object",
            '{"command": "status"} x': "the line is no JSON object",
            '{"command": "\udcff"}': "the line is no JSON object",
            '{"command": "status", "\\ud800": 1}': "the line is no JSON object",
            '{"a":' * 5000: "the line is no JSON object",
            "{}": " is no command; help lists all",
            '{"command": "stauts"}': "stauts is no command; did you mean status?",
            '{"command": ["status"]}': "command is neither text nor a number",
            '{"command": "show"}': "write show ID",
            '{"command": "show", "id": null}': "id is neither text nor a number",
            '{"command": "show", "id": true}': "id is neither text nor a number",
            '{"command": "show", "id": ""}': "write show ID",
            '{"command": "show", "id": 7, "\\u001b": 1}': r"\x1b is no argument; write show ID",
            '{"command": "show", "id": 7, "data": ""}': "data is no argument; write show ID",
            '{"command": "reply", "id": 7, "data": "a"}': "data is not Base64",
            '{"command": "reply", "id": 7, "data": 1}': "data is not Base64",
            '{"command": "reply", "id": 7, "data": "é"}': "data is not Base64",
            '{"command": "reply", "text": "", "data": ""}': "write text or data, not both",
        }
        self.assertEqual({line: self.refused(line) for line in expected}, expected)

    def test_number(self) -> None:
        """A number that is no id is refused as any other text, however large it is."""
        self.assertEqual(parse_request('{"command": "show", "id": -1}').values, ["-1"])
        self.refused(json.dumps({"command": "show", "id": 1.5}))
        self.refused('{"command": "show", "id": ' + "1" * 5000 + "}")
