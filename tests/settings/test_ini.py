"""Tests for L{socketd.settings.ini}."""

from __future__ import annotations

import configparser

from twisted.trial.unittest import SynchronousTestCase

from socketd.settings.ini import MAX_BROKEN_LINES, read

Sections = list[tuple[str, int, dict[str, tuple[str, int]]]]

#: A file that has everything that may stand in one.
FULL = """\
; a comment
# another one

[socketd]
drain_timeout = 10s

[echo]   ; a comment behind a header
listen =
    tcp:7
    ; a comment inside a list

    udp:7 ; a comment behind an item
  # a comment that is indented less
enabled=yes
reply = a = b; c # d
empty =
[a b]"""


def sections_of(text: str) -> Sections:
    """Read a text, as tuples: name and line of each section, and of its entries."""
    sections, _ = read(text, "FILE")
    return [
        (
            section.name,
            section.line,
            {name: (entry.value, entry.line) for name, entry in section.entries.items()},
        )
        for section in sections
    ]


def diagnostics_of(text: str) -> list[str]:
    """Read a text, for what is wrong with it."""
    return [str(found) for found in read(text, "FILE")[1]]


class ReadTests(SynchronousTestCase):
    """Tests for L{read} of files that are right."""

    def test_full(self) -> None:
        """Sections and options come with the lines that they begin at; comments go."""
        self.assertEqual(diagnostics_of(FULL), [])
        echo = {
            "listen": ("\ntcp:7\n\nudp:7", 8),
            "enabled": ("yes", 14),
            "reply": ("a = b; c # d", 15),
            "empty": ("", 16),
        }
        daemon = {"drain_timeout": ("10s", 5)}
        expected: Sections = [("socketd", 4, daemon), ("echo", 7, echo), ("a b", 17, {})]
        self.assertEqual(sections_of(FULL), expected)

    def test_nothing(self) -> None:
        """A file may be empty, or hold nothing but comments."""
        for text in ("", "\n", "\n\n  \n", "; nothing", "# [echo]\n;listen = tcp:7\n"):
            self.assertEqual((sections_of(text), diagnostics_of(text)), ([], []), repr(text))

    def test_case(self) -> None:
        """Names keep their case, so that two spellings are two names."""
        text = "[Echo]\nListen = a\nlisten = b\n[echo]\n"
        entries = {"Listen": ("a", 2), "listen": ("b", 3)}
        expected: Sections = [("Echo", 1, entries), ("echo", 4, {})]
        self.assertEqual((sections_of(text), diagnostics_of(text)), (expected, []))

    def test_no_interpolation(self) -> None:
        """Percent and dollar signs mean themselves."""
        text = "[a]\nb = 100 % %(c)s ${c} %%\n"
        self.assertEqual(sections_of(text), [("a", 1, {"b": ("100 % %(c)s ${c} %%", 2)})])

    def test_no_default_section(self) -> None:
        """C{[DEFAULT]} is a section like any other, and is inherited by none."""
        text = "[DEFAULT]\na = 1\n[b]\nc = 2\n"
        expected: Sections = [("DEFAULT", 1, {"a": ("1", 2)}), ("b", 3, {"c": ("2", 4)})]
        self.assertEqual(sections_of(text), expected)

    def test_colon(self) -> None:
        """A colon ends no name: listener strings are full of them."""
        text = "[a]\nb:c = d:e=f\n"
        self.assertEqual(sections_of(text), [("a", 1, {"b:c": ("d:e=f", 2)})])

    def test_order(self) -> None:
        """What is read keeps the order of the file."""
        text = "[c]\nz = 1\ny = 2\n[a]\nx = 3\n[b]\n"
        names = [(name, list(entries)) for name, _, entries in sections_of(text)]
        self.assertEqual(names, [("c", ["z", "y"]), ("a", ["x"]), ("b", [])])

    def test_carriage_returns(self) -> None:
        """Lines may end as on Windows."""
        text = "[a]\r\nb =\r\n  c\r\n  d\r\n[e]\r\n"
        self.assertEqual(sections_of(text), [("a", 1, {"b": ("\nc\nd", 2)}), ("e", 5, {})])

    def test_odd_line_ends(self) -> None:
        """Only a line feed ends a line: other separators do not move the numbers."""
        text = "; \x0b \x0c \x1c \x85 \u2028 \r .\n[a]\nb = c\u2028d\n[e]"
        self.assertEqual(sections_of(text), [("a", 2, {"b": ("c\u2028d", 3)}), ("e", 4, {})])

    def test_item_like_a_header(self) -> None:
        """An item of a list that looks like a header is not taken for the line of the real one."""
        text = "[a]\nb =\n  [c]\n[c]\nd = 1\n"
        expected: Sections = [("a", 1, {"b": ("\n[c]", 2)}), ("c", 4, {"d": ("1", 5)})]
        self.assertEqual(sections_of(text), expected)


class BrokenTests(SynchronousTestCase):
    """Tests for L{read} of files that are wrong."""

    def test_section_twice(self) -> None:
        """A second section of one name is complained of, and read under that name."""
        text = "[a]\nb = 1\n[c]\n[a]\nb = 2\nd = 3\n"
        self.assertEqual(diagnostics_of(text), ["FILE:4: [a]: is there twice; join the two"])
        self.assertEqual(
            sections_of(text),
            [("a", 1, {"b": ("1", 2)}), ("c", 3, {}), ("a", 4, {"b": ("2", 5), "d": ("3", 6)})],
        )

    def test_section_thrice(self) -> None:
        """A third one is complained of at its own line."""
        text = "[a]\nb = 1\n[a]\nb = 2\n[a]  ; again\nb = 3\n"
        self.assertEqual(
            diagnostics_of(text),
            [f"FILE:{line}: [a]: is there twice; join the two" for line in (3, 5)],
        )
        self.assertEqual(
            sections_of(text),
            [("a", 1, {"b": ("1", 2)}), ("a", 3, {"b": ("2", 4)}), ("a", 5, {"b": ("3", 6)})],
        )

    def test_option_twice(self) -> None:
        """A second option of one name is complained of where it stands."""
        text = "[a]\nb = 1\nc = 2\nb = 3\n[d]\nb = 4\n"
        message = "is given twice in this section; keep one"
        self.assertEqual(diagnostics_of(text), [f"FILE:4: [a] b: {message}"])
        self.assertEqual([name for name, *_ in sections_of(text)], ["a", "d"])

    def test_option_thrice(self) -> None:
        """So is a third one, however its equals sign is written."""
        text = "[a]\nb = 1\nb=2 = 3\nb   = 3\n"
        message = "is given twice in this section; keep one"
        expected = [f"FILE:3: [a] b: {message}", f"FILE:4: [a] b: {message}"]
        self.assertEqual(diagnostics_of(text), expected)

    def test_option_again_and_again(self) -> None:
        """
        One that is written alike three times is complained of twice, and what the last
        one says is read as it stands.
        """
        text = "[a]\nb = 1\nb = 2\nb = x = y = z\n"
        message = "is given twice in this section; keep one"
        expected = [f"FILE:{number}: [a] b: {message}" for number in (3, 4)]
        self.assertEqual(diagnostics_of(text), expected)
        self.assertEqual(sections_of(text), [("a", 1, {"b": ("x = y = z", 4)})])

    def test_option_twice_in_section_twice(self) -> None:
        """In the second section of one name an option is complained of under that name."""
        found = diagnostics_of("[a]\nb = 1\n[a]\nc = 1\nc = 2\n")
        expected = "FILE:5: [a] c: is given twice in this section; keep one"
        self.assertEqual(found, ["FILE:3: [a]: is there twice; join the two", expected])

    def test_before_any_section(self) -> None:
        """What stands before the first section belongs nowhere, each line of it."""
        text = "a = 1\nb\n\n[c]\nd = 2\n"
        message = "is before the first [section]; write such as [echo] above it"
        self.assertEqual(diagnostics_of(text), [f"FILE:1: {message}", f"FILE:2: {message}"])
        self.assertEqual(sections_of(text), [("c", 4, {"d": ("2", 5)})])

    def test_open_header(self) -> None:
        """A first header without its end is told from a line that is before it."""
        self.assertEqual(diagnostics_of("[a\n[c]\n"), ["FILE:1: is no [section]; add ]"])

    def test_neither(self) -> None:
        """A line that is neither a header nor an assignment is named."""
        text = "[a]\nlisten tcp:7\n= 3\n[b\nc = 1\nd:e\n"
        message = "is neither [section] nor option = value"
        expected = [f"FILE:{n}: {message}" for n in (2, 3, 4, 6)]
        self.assertEqual(diagnostics_of(text), [*expected[:3], f"{expected[3]}; write d = e"])
        self.assertEqual(sections_of(text), [("a", 1, {"c": ("1", 5)})])

    def test_text_behind_header(self) -> None:
        """Text behind a header on its line would be lost; it is complained of."""
        message = "is neither [section] nor option = value"
        found = diagnostics_of("[a]\n[b] c\n[d]e\n")
        self.assertEqual(found, [f"FILE:{number}: {message}" for number in (2, 3)])

    def test_spaces_in_header(self) -> None:
        """A name with a space at its end is not the name without it."""
        names = [name for name, *_ in sections_of("[a]\n[a ]\n[ a]\n")]
        self.assertEqual(names, ["a", "a ", " a"])

    def test_everything_at_once(self) -> None:
        """All that is wrong is found in one reading, at the right lines."""
        text = "x\n[a]\nb = 1\nb = 2\n[a]\n[c]\nd\n[c]\n"
        lines = sorted(found.line for found in read(text, "FILE")[1])
        self.assertEqual(lines, [1, 4, 5, 7, 8])

    def test_too_many(self) -> None:
        """After a number of broken lines the rest is not read, which is said once; one less is."""
        text = "broken\n" * (MAX_BROKEN_LINES + 1) + "[a]\n"
        found = diagnostics_of(text)
        self.assertEqual(len(found), MAX_BROKEN_LINES + 1)
        self.assertEqual(found[-1], "FILE: too many broken lines; the rest was not read")
        self.assertEqual(sections_of(text), [])
        text = "broken\n" * (MAX_BROKEN_LINES - 1) + "[a]\n"
        self.assertEqual(len(diagnostics_of(text)), MAX_BROKEN_LINES - 1)
        self.assertEqual(sections_of(text), [("a", MAX_BROKEN_LINES, {})])

    def test_no_fault_of_the_file(self) -> None:
        """
        What C{configparser} raises for another reason than a line of the file is not
        taken for one.
        """

        def fail(*arguments: object) -> None:
            raise configparser.NoSectionError("a")

        self.patch(configparser.RawConfigParser, "read_file", fail)
        self.assertRaises(configparser.NoSectionError, read, "[a]\n", "FILE")
