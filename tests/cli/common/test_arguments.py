"""Tests for L{socketd.cli.common.arguments}."""

from __future__ import annotations

import argparse

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.common.address import parse
from socketd.cli.common.arguments import (
    add_address,
    add_timeout,
    argument_type,
    seconds,
    whole_number,
)


class SecondsTests(SynchronousTestCase):
    """Tests for L{seconds}."""

    def test_good(self) -> None:
        """Whole and broken numbers are read, and zero."""
        for text, number in {"0": 0, "10": 10, "0.25": 0.25, "1e3": 1000}.items():
            self.assertEqual(seconds(text), number)

    def test_bad(self) -> None:
        """What no timer could wait for is refused, with what would be right."""
        for text in ("", "x", "-1", "-0.1", "nan", "inf", "1e7", "10s"):
            error = self.assertRaises(argparse.ArgumentTypeError, seconds, text)
            self.assertIn("no number of seconds; 0 to 1000000 would be right", str(error))


class WholeNumberTests(SynchronousTestCase):
    """Tests for L{whole_number}."""

    def test_range(self) -> None:
        """A number is a whole one in its range."""
        parse_number = whole_number(100)
        self.assertEqual([parse_number(text) for text in ("1", "100")], [1, 100])
        for text in ("0", "101", "x", "-1", "1.5", "", "9" * 5000, "١"):
            self.assertRaises(argparse.ArgumentTypeError, parse_number, text)


class ArgumentTypeTests(SynchronousTestCase):
    """Tests for L{argument_type}."""

    def test_value(self) -> None:
        """A valid argument is parsed."""
        self.assertEqual(argument_type(int)("7"), 7)

    def test_message(self) -> None:
        """The message of an invalid one is kept, in the exception that argparse shows."""
        message = str(self.assertRaises(ValueError, parse, "a"))
        error = self.assertRaises(argparse.ArgumentTypeError, argument_type(parse), "a")
        self.assertEqual(str(error), message)


class ParserTests(SynchronousTestCase):
    """Tests for L{add_address} and L{add_timeout}."""

    def test_both(self) -> None:
        """The address is parsed, the time has a default."""
        parser = argparse.ArgumentParser()
        add_address(parser)
        add_timeout(parser, "give up")
        arguments = parser.parse_args(["localhost:80"])
        self.assertEqual((arguments.address.port, arguments.timeout), (80, 10))
        self.assertEqual(parser.parse_args(["a:1", "--timeout", "2"]).timeout, 2)
