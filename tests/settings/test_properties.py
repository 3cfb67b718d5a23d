"""Properties of L{socketd.settings} that hold for every input."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.endpoints import _parse
from twisted.trial.unittest import SynchronousTestCase

from socketd.settings.diagnostics import SettingsError
from socketd.settings.faults.profile import FaultOptions
from socketd.settings.ini import read, read_file
from socketd.settings.listener_syntax import _split, parse_listener
from socketd.settings.listeners import Listener
from socketd.settings.load import parse
from socketd.settings.model import DaemonOptions, ServiceOptions, Settings, SocketOptions
from socketd.settings.options import declared
from tests.settings.refusals import PROTOCOLS, RUNTIME, TalkOptions

CLASSES = (DaemonOptions, ServiceOptions, SocketOptions, TalkOptions, FaultOptions)
OPTIONS = {name: found for one in CLASSES for name, found in declared(one).items()}

limited = settings(max_examples=200, derandomize=True, deadline=None, database=None)

#: NUL is refused before a file is taken for text.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))

headers = st.sampled_from(
    ["socketd", "defaults", "echo", "talk", "stream", "datagram", "DEFAULT", "echo ", "x y", "ä"]
    + ["fault:a", "fault:off", "fault:"]
)
names = st.sampled_from([*OPTIONS, "Listen", "lisen", "", " "])
values = st.sampled_from(
    ["", "yes", "no", "10s", "7", "64KiB", "echo", "tcp:7", "udp:7, unix:a", "tcp:x", "a=b", "\\q"]
    + ["a", "10%", "after 10s", "at once", "silent", "80ms jitter 20ms", "1..16 every 1s"]
)
lines = st.one_of(
    headers.map("[{}]".format),
    st.tuples(names, st.sampled_from([" = ", "=", ": ", " "]), values).map("".join),
    values.map("    {}".format),
    st.sampled_from(["", "  ", "; comment", "# comment", "[", "]", "[]", "=", "\r", "a ; b"]),
    texts,
)
files = st.lists(lines, max_size=25).map("\n".join)

#: Strings in which the grammar's own characters are frequent.
grammar = st.text(st.sampled_from(":=\\ab")) | texts


class SettingsPropertyTests(SynchronousTestCase):
    """Whatever a file holds, it becomes settings or complaints."""

    def check(self, text: str) -> None:
        """Read a text: it is right, or each complaint is of the file."""
        try:
            found = parse(text, "FILE", PROTOCOLS, RUNTIME)
        except SettingsError as error:
            numbers = [complaint.line for complaint in error.diagnostics]
            self.assertEqual(numbers, sorted(numbers))
            self.assertTrue(0 < len(numbers) and numbers[-1] <= text.count("\n") + 1)
            self.assertTrue(all(str(found).startswith("FILE:") for found in error.diagnostics))
        else:
            self.assertIsInstance(found, Settings)
            self.assertTrue(found.services)

    @limited
    @given(texts)
    def test_any_text(self, text: str) -> None:
        """Any text does."""
        self.check(text)

    @limited
    @given(files)
    def test_ini_text(self, text: str) -> None:
        """So does text that looks like a configuration."""
        self.check(text)

    @limited
    @given(files)
    def test_lines(self, text: str) -> None:
        """Every section and option is where its line number says."""
        written = text.split("\n")
        for section in read(text, "FILE")[0]:
            self.assertIn(f"[{section.name}]", written[section.line - 1])
            for name, entry in section.entries.items():
                self.assertTrue(written[entry.line - 1].lstrip().startswith(name), name)

    @limited
    @given(st.binary() | files.map(str.encode))
    def test_any_file(self, content: bytes) -> None:
        """Any content of a file does."""
        file = self.mktemp()
        Path(file).write_bytes(content)
        try:
            found = parse(read_file(file), file, PROTOCOLS, RUNTIME)
        except SettingsError as error:
            self.assertTrue(error.diagnostics)
        else:
            self.assertTrue(found.services)

    @limited
    @given(st.sampled_from(sorted(OPTIONS)), texts | values)
    def test_any_value(self, name: str, text: str) -> None:
        """A parser returns a value, or raises L{ValueError} with a sentence."""
        try:
            OPTIONS[name].type.parse(text)
        except ValueError as problem:
            self.assertTrue(str(problem))


class ListenerPropertyTests(SynchronousTestCase):
    """Whatever a listener string holds, it becomes a listener or a complaint."""

    @limited
    @given(grammar)
    def test_as_twisted(self, text: str) -> None:
        """
        Each string is taken apart as Twisted does it, where Twisted does: it
        fails at a backslash at the very end and at names beyond ASCII.
        """
        try:
            expected = _parse(text)
        except (RuntimeError, UnicodeEncodeError):
            self.assertTrue(text.endswith("\\") or not text.isascii())
        else:
            self.assertEqual(_split(text), expected)

    @limited
    @given(st.sampled_from(["", "tcp:", "tcp6:7:", "unix:", "udp:7:interface="]), grammar)
    def test_parse(self, start: str, rest: str) -> None:
        """Each string is a listener, or refused with L{ValueError}."""
        try:
            found = parse_listener(start + rest, RUNTIME)
        except ValueError as problem:
            self.assertTrue(str(problem))
        else:
            self.assertIsInstance(found, Listener)
            self.assertTrue(str(found).startswith(found.kind))
