"""
Tests for L{socketd.table}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd import table


class RenderTests(SynchronousTestCase):
    """
    Tests for L{table.render}.
    """

    def test_columns_are_aligned(self) -> None:
        """
        Each column is as wide as its widest cell, and no line ends in spaces.
        """
        rendered = table.render(("NAME", "N"), [("a", "1"), ("longer", "22"), ("b", "")])
        self.assertEqual(rendered, "NAME    N\na       1\nlonger  22\nb\n")

    def test_no_rows(self) -> None:
        """
        A table without rows is its headers.
        """
        self.assertEqual(table.render(("A", "B"), []), "A  B\n")

    def test_wide_and_combining_characters(self) -> None:
        """
        A wide character takes two columns, a combining one none.
        """
        rendered = table.render(("A", "B"), [("\u6642", "1"), ("e\u0301", "2"), ("abc", "3")])
        self.assertEqual(rendered, "A    B\n\u6642   1\ne\u0301    2\nabc  3\n")

    def test_row_of_another_length(self) -> None:
        """
        A row that does not fit the headers is an error of the programmer, not a broken table.
        """
        error = self.assertRaises(ValueError, table.render, ("A", "B"), [("only",)])
        self.assertIn("1 cells under 2 headers", str(error))
