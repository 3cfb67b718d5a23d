"""Tests of the manual pages, and of the options and files that documents name."""

from __future__ import annotations

import ast
import re
import signal
import subprocess
from itertools import chain
from pathlib import Path

from twisted.scripts._twistd_unix import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

from socketd.common import errors
from socketd.common.events import CATALOGUE
from socketd.common.commands import COMMANDS
from socketd.daemon import signals
from socketd.protocols.registry import installed
from socketd.protocols.measure.keys import KEYS
from socketd.settings.listener_syntax import parse_listener
from socketd.settings.load import parse
from socketd.settings.options import declared
from socketd.web.metrics import DROPS, REFUSALS
from tests.support.needs import need
from tests.support.source_tree import ROOT, modules
from tools.manual import prose
from tools.manual.__main__ import FILES, main
from tools.manual.examples import example_of
from tools.manual.options_page import groups
from tools.manual.program import arguments, command_line, synopsis, term
from tools.manual.roff import Page, escaped, marked

DOCS = ROOT / "docs"

#: The requests of man(7) that the pages are made of.
MACROS = {".TH", ".SH", ".SS", ".PP", ".TP", ".RS", ".RE", ".EX", ".EE"}

#: The escapes of groff_char(7) that stand for one character, and that character.
CHARACTERS = {r"\-": "-", r"\(aq": "'", r"\(ga": "`", r"\(ha": "^", r"\(ti": "~", r"\e": "\\"}

#: What is in a page for the formatter only.
FORMATTING = re.compile(r"\\f[BR]|\\[%&]")


def plain(name: str) -> str:
    """Give the words of a committed page, without its markup, on one line."""
    text = FORMATTING.sub("", (DOCS / "man" / name).read_text())
    for escape, character in CHARACTERS.items():
        text = text.replace(escape, character)
    return " ".join(text.split())


def section(name: str, title: str) -> str:
    """Give a section of a page; see L{plain}."""
    return plain(name).partition(f".SH {title} ")[2].partition(".SH ")[0]


def man_pages() -> list[list[str]]:
    """Give the lines of each committed manual page."""
    return [page.read_text().splitlines() for page in (DOCS / "man").iterdir()]


def variables() -> set[str]:
    """Find the variables of the environment that the daemon reads."""
    found = set()
    for name, tree in modules().items():
        if name.split(".")[1:2] in (["cli"], ["manual"]):
            continue
        constants = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        texts = {value for value in constants if isinstance(value, str)}
        if any("environ" in ast.unparse(node) for node in ast.walk(tree) if _is_name(node)):
            found |= {text for text in texts if re.fullmatch(r"[A-Z]{3,}_[A-Z_]+", text)}
    return found


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name | ast.Attribute | ast.arg)


class WrittenTests(SynchronousTestCase):
    """What is committed is written from the code."""

    def test_committed(self) -> None:
        """Each file is what C{make docs} writes."""
        for name, write in FILES.items():
            same = (DOCS / name).read_text() == write()
            self.assertTrue(same, f"docs/{name} is not of this code: make docs")

    def test_all(self) -> None:
        """
        All of them are written, into directories that need not exist, and no other file is
        in those of the manual pages and completions.
        """
        directory = Path(self.mktemp())
        main(str(directory))
        for root in (directory, DOCS):
            found = [path for name in ("man", "completion") for path in (root / name).iterdir()]
            names = {str(path.relative_to(root)) for path in found}
            self.assertEqual({*names, "options.md"}, set(FILES))
        self.assertTrue((directory / "options.md").exists())

    def test_installed(self) -> None:
        """The manual pages and completions are installed with the package."""
        text = (ROOT / "setup.cfg").read_text().partition("[options.data_files]")[2]
        for name in FILES.keys() - {"options.md"}:
            self.assertRegex(text, rf"(?m)^share/\S+ = docs/{re.escape(name)}$")


class MarkupTests(SynchronousTestCase):
    """The pages are what formatters understand."""

    def test_escapes(self) -> None:
        """Every character that means something to a formatter is printed as it stands."""
        self.assertEqual(escaped(r"\n 'a' -x `y` ^ ~"), r"\en \(aqa\(aq \-x \(gay\(ga \(ha \(ti")
        self.assertEqual(marked("say `a -b` now"), r"say \fB\%a \%\-b\fR now")

    def test_guarded(self) -> None:
        """A line that begins with a dot is no macro, in a paragraph, a term or an example."""
        page = Page("T", 1, "2026-01-01", "t")
        page.section("S")
        page.paragraphs(".so a\n\n    .so b")
        page.entries([(".so c", ".so d")])
        self.assertEqual(re.findall(r"(?m)^.*so \w$", str(page)), [rf"\&.so {n}" for n in "abcd"])

    def test_lines(self) -> None:
        """Every line is text or a known macro, in ASCII, with known escapes only."""
        for line in chain.from_iterable(man_pages()):
            if line.startswith((".", "'")) and not line.startswith('.\\"'):
                self.assertIn(line.split()[0], MACROS)
            rest = FORMATTING.sub("", line.removeprefix('.\\"'))
            for escape in CHARACTERS:
                rest = rest.replace(escape, "")
            self.assertNotIn("\\", rest)
            self.assertTrue(line.isascii() and line == line.rstrip() and line, line)

    def test_pairs(self) -> None:
        """Examples end, and each term has its text."""
        for lines in man_pages():
            found = [line.split()[0] for line in lines if line.startswith(".")]
            pairs = [macro for macro in found if macro in (".RS", ".EX", ".EE", ".RE")]
            self.assertEqual(pairs, [".RS", ".EX", ".EE", ".RE"] * (len(pairs) // 4))
            for number, line in enumerate(lines):
                if line == ".TP":
                    for after in lines[number + 1 : number + 3]:
                        self.assertFalse(after.startswith("."), lines[number : number + 3])

    def test_formatter(self) -> None:
        """A formatter that knows what a page should be has nothing to say."""
        need("mandoc")
        pages = [str(ROOT / "docs" / name) for name in FILES if name.startswith("man/")]
        lint = ["mandoc", "-T", "lint", "-W", "warning", *pages]
        done = subprocess.run(lint, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, ""))


class CompleteTests(SynchronousTestCase):
    """Nothing is left out."""

    def test_options(self) -> None:
        """socketd.ini(5) has every option of every protocol, with its form and its help."""
        page = plain("socketd.ini.5")
        for _, options in groups():
            for found in declared(options).values():
                form = " ".join(f"{found.name} = {found.type.syntax} {found.help}".split())
                self.assertIn(form, page)

    def test_examples(self) -> None:
        """
        The example of each option can be read, and is not its default; a file is read
        with its option, so that it has to be there.
        """
        file, keys = Path(self.mktemp()), Path(self.mktemp())
        file.write_text("one\n%\ntwo\n")
        keys.touch(0o600)
        keys.write_text("7 key\n")
        for _, options in groups():
            for found in declared(options).values():
                text = example_of(options, found)
                if found.name in ("texts", "response"):
                    text = str(file)
                elif found.type is KEYS:
                    text = str(keys)
                value = found.type.parse(text)
                self.assertNotEqual(value, found.default, found.name)

    def test_listeners(self) -> None:
        """The forms of listeners that it shows are those that there are."""
        values = {"PORT": "7", "PATH": "/p", "ADDRESS": "a.example", "N": "5", "NAME": "n"}
        for form in prose.LISTENERS:
            text = re.sub(r"[\[\]]|\.\.\.", "", form).replace("LISTENER", "tcp:PORT").rstrip(":")
            for name, value in values.items():
                text = re.sub(rf"\b{name}\b", value, text)
            parse_listener(text, "/run")
        error = self.assertRaises(ValueError, parse_listener, "nothing:", "/run")
        known = str(error).partition("known are ")[2].split(", ")
        self.assertEqual(sorted(form.partition(":")[0] for form in prose.LISTENERS), sorted(known))

    def test_grammar(self) -> None:
        """The file that it shows can be used."""
        text = re.sub(r"(?m)^    |^\S.*$", "", prose.GRAMMAR)
        found = parse(text, "socketd.ini", installed(), "/run")
        self.assertEqual([service.name for service in found.services], ["echo", "greeter"])

    def test_subcommands(self) -> None:
        """socketd(1) has every subcommand with each of its arguments."""
        page = plain("socketd.1")
        for name, parser in command_line()[1].items():
            part = page.partition(f".SS {name} ")[2].partition(".SS ")[0]
            self.assertIn(synopsis(name, parser), part)
            for argument in arguments(parser):
                self.assertIn(f".TP {term(argument)} ", part)

    def test_commands(self) -> None:
        """socketd(8) has every command of the control socket."""
        control = section("socketd.8", "CONTROL SOCKET")
        for command in COMMANDS.values():
            text = command.help[:1].upper() + command.help[1:]
            self.assertIn(f".TP {command.usage} {text}.", control)

    def test_daemon_options(self) -> None:
        """It has every option of the daemon, and of twistd's own only such as there are."""
        options = section("socketd.8", "OPTIONS")
        for found in arguments(command_line()[1]["run"]):
            self.assertEqual(f".TP {term(found)} " in options, bool(found.option_strings))
        known = {f"--{name}" for name in ServerOptions().synonyms}
        self.assertEqual(prose.TWISTD.keys() - known, set())

    def test_signals(self) -> None:
        """It has every signal that the daemon takes."""
        taken = {*signals.STOP, signal.SIGHUP}
        # A terminal is asked by commands only, or by the console before the daemon's own signals.
        others = ("socketd.cli.", "socketd.terminal.")
        trees = [tree for name, tree in modules().items() if not name.startswith(others)]
        sources = "".join(map(ast.unparse, trees))
        names = re.findall(r"signal\.signal\(signal\.(SIG\w+)", sources)
        self.assertIn("SIGHUP", names)
        taken |= {signal.Signals[name] for name in names}
        self.assertEqual(taken - prose.SIGNALS.keys(), set())
        for number in prose.SIGNALS:
            self.assertIn(f".TP {number.name} ", section("socketd.8", "SIGNALS"))

    def test_statuses(self) -> None:
        """socketd(1) has every exit status of the command, socketd(8) those of the daemon."""
        known = {value for value in vars(errors).values() if isinstance(value, int)}
        self.assertEqual(known, prose.CLIENT_STATUSES.keys())
        self.assertEqual({0, 1, errors.BAD_CONFIGURATION}, prose.DAEMON_STATUSES.keys())
        pages = {"socketd.1": prose.CLIENT_STATUSES, "socketd.8": prose.DAEMON_STATUSES}
        for name, statuses in pages.items():
            for status in statuses:
                self.assertIn(f".TP {status} ", section(name, "EXIT STATUS"))

    def test_environment(self) -> None:
        """socketd(8) has every variable that the daemon reads."""
        self.assertIn("SOCKETD_CONFIG", variables())
        self.assertEqual(variables(), prose.ENVIRONMENT.keys())
        for name in variables():
            self.assertIn(f".TP {name} ", section("socketd.8", "ENVIRONMENT"))


class NamedTests(SynchronousTestCase):
    """The documents name what there is."""

    def test_options(self) -> None:
        """
        Every word of a document that looks like an option is one, or an event, a figure
        of the metrics or one of their reasons.
        """
        known = {name for _, options in groups() for name in declared(options)}
        known |= CATALOGUE.keys() | {*DROPS, *REFUSALS}
        for name in ("THREATS.md", "SCALING.md", "DROPS.md"):
            words = re.findall(r"`([a-z]+_[a-z_]+)`", (DOCS / name).read_text())
            self.assertTrue(words)
            self.assertEqual(
                {word for word in words if not word.startswith("socketd_")} - known, set(), name
            )

    def test_links(self) -> None:
        """Every file that a document links to is there."""
        for page in (*DOCS.rglob("*.md"), ROOT / "SECURITY.md"):
            for target in re.findall(r"\]\(([^):#]+)(?:#[^)]*)?\)", page.read_text()):
                self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")
