"""Tests for L{socketd.common.table}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.common import table


class RenderTests(SynchronousTestCase):
    """Tests for L{table.render}."""

    def test_columns_are_aligned(self) -> None:
        """Each column is as wide as its widest cell, and no line ends in spaces."""
        rendered = table.render(("NAME", "N"), [("a", "1"), ("longer", "22"), ("b", "")])
        self.assertEqual(rendered, "NAME    N\na       1\nlonger  22\nb\n")

    def test_no_rows(self) -> None:
        """A table without rows is its headers."""
        self.assertEqual(table.render(("A", "B"), []), "A  B\n")

    def test_wide_and_combining_characters(self) -> None:
        """A wide character takes two columns, a combining one none."""
        rendered = table.render(("A", "B"), [("\u6642", "1"), ("e\u0301", "2"), ("abc", "3")])
        self.assertEqual(rendered, "A    B\n\u6642   1\ne\u0301    2\nabc  3\n")


SERVICES = ["service", "listens", "open", "in"]
LISTENS = "tcp 127.0.0.1:8080, tcp [::1]:8080, unix /run/socketd/upper.sock"
ROWS = [("ack", "tcp *:1", 3, 360_000_000), ("upper", LISTENS, 12, 0)]
UNITS = {"listens": table.LIST, "in": "bytes"}


class ListingTests(SynchronousTestCase):
    """Tests for L{table.listing}."""

    def test_wide(self) -> None:
        """Numbers are right-aligned, in readable units."""
        expected = (
            f"SERVICE  LISTENERS{' ' * 55}  OPEN         IN\n"
            f"ack      tcp *:1{' ' * 57}     3  343.3 MiB\n"
            f"upper    {LISTENS}    12        0 B\n"
        )
        self.assertEqual(table.listing(SERVICES, ROWS, UNITS), expected)
        self.assertEqual(table.listing(SERVICES, ROWS, UNITS, 200), expected)

    def test_narrow(self) -> None:
        """In a narrow terminal each item of a list has its own line."""
        expected = (
            "SERVICE  OPEN         IN\n"
            "ack         3  343.3 MiB\n"
            "    tcp *:1\n"
            "upper      12        0 B\n"
            "    tcp 127.0.0.1:8080\n"
            "    tcp [::1]:8080\n"
            "    unix /run/socketd/upper.sock\n"
        )
        self.assertEqual(table.listing(SERVICES, ROWS, UNITS, 80), expected)

    def test_widest_text(self) -> None:
        """Then the widest text moves below its row; the first column stays."""
        rows = [(1, "echo", "[2001:db8:1:2:3:4:5:6]:50000", True)]
        names = ["id", "service", "peer", "waits"]
        expected = "ID  SERVICE  WAITING\n1   echo     yes\n    [2001:db8:1:2:3:4:5:6]:50000\n"
        self.assertEqual(table.listing(names, rows, {}, 40), expected)
        self.assertEqual(table.listing(["a"], [("x" * 50,)], {}, 40), f"A\n{'x' * 50}\n")

    def test_one_thing(self) -> None:
        """A table of one object has its units by row; any other by column."""
        rows = [("AGE", 93_784.0), ("IN", 2048), ("PEER", None)]
        units = {"age": "seconds", "in": "bytes"}
        expected = "FIELD  VALUE\nAGE    1d2h\nIN     2.0 KiB\nPEER   -\n"
        self.assertEqual(table.listing(["field", "value"], rows, units), expected)
        found = table.listing(["service", "n"], [("in", 5)], units)
        self.assertEqual(found, "SERVICE  N\nin       5\n")

    def test_escaped(self) -> None:
        """Text from outside cannot act on the terminal."""
        self.assertEqual(table.listing(["a", "\x1b"], [("x", "\x1b")], {}), "A  \\x1b\nx  \\x1b\n")

    def test_titles(self) -> None:
        """Some columns have another title than their name, also as the field of one object."""
        self.assertEqual(table.listing(["does"], [("x",)], {}), "DESCRIPTION\nx\n")
        found = table.listing(["field", "value"], [("WAITS", True)], {})
        self.assertEqual(found, "FIELD    VALUE\nWAITING  yes\n")

    def test_units(self) -> None:
        """Sizes and durations are rounded to readable units."""
        sizes = {
            0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 102_300: "99.9 KiB",
            102_400: "100.0 KiB", 1_048_575: "1.0 MiB", 360_000_000: "343.3 MiB", 2**40: "1.0 TiB",
            2**70: "1024.0 EiB",
        }  # fmt: skip
        self.assertEqual({count: table.size(count) for count in sizes}, sizes)
        times = {0: "0 s", 59.9: "59.9 s", 119: "119 s", 120: "2m0s", 3600: "1h0m", 86_400: "1d0h"}
        self.assertEqual({one: table.duration(one) for one in times}, times)
