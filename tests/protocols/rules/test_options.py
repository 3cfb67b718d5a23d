"""Tests for rules as the options of a service, and for what is refused there."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.registry import installed
from socketd.protocols.rules.options import files_of
from socketd.protocols.rules.ruleset import MAX_STEPS
from socketd.settings.model import Settings
from tests.settings.refusals import diagnostics, parsed

HEAD = "[modem]\nprotocol = reply\nlisten = tcp:7023, udp:7023\n"


def read(text: str) -> Settings:
    """Read a configuration with a C{reply}."""
    return parsed(HEAD + text, installed())


def wrong(text: str, head: str = HEAD) -> list[str]:
    """List what is wrong with one."""
    return diagnostics(head + text, installed())


class OptionTests(SynchronousTestCase):
    """Tests for C{rules} and C{greeting}."""

    def rules_of(self, text: str) -> list[str]:
        """Write the rules of a configuration."""
        return [str(rule) for rule in read(text).services[0].options.rules.rules]

    def write(self, text: str) -> str:
        """Write a file of rules, and return its path."""
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    def test_quotes(self) -> None:
        """What is in quotes begins no comment and no section; what is not, does."""
        text = (
            'rules = ; none here\n  "a ; b" -> "# c ; d"  ; e "f"\n  # g\n\n    * -> silent ; h\n'
        )
        text += 'greeting = "220 ; ready" ; i\nclose = yes ; j\n'
        self.assertEqual(self.rules_of(text), ['"a ; b" -> "# c ; d"', "* -> silent"])
        options = read(text).services[0].options
        self.assertEqual((options.greeting, options.close), (b"220 ; ready", True))
        self.assertEqual(
            self.rules_of('rules = "a" -> "b"\n[echo]\nlisten = tcp:7'), ['"a" -> "b"']
        )

    def test_places(self) -> None:
        """A mistake is named with file, line and column, each of them."""
        text = 'rules =\n    ; a comment\n    "a" -> "b"\n    foo -> "c"\n\n\t/(/ -> "d"\n'
        found = [line.split(" is no ")[0] for line in wrong(text)]
        self.assertEqual(found, ["FILE:7:5: [modem] rules: foo", "FILE:9:2: [modem] rules: /(/"])
        self.assertEqual(
            wrong('reply = x\ngreeting = hello ; "x"\n'),
            ["FILE:5:12: [modem] greeting: hello is not expected;"
             ' write one "TEXT" in quotes, or hex 0d 0a'],
        )  # fmt: skip

    def test_defaults(self) -> None:
        """Those of C{[defaults]} are complained of there, once."""
        text = '[defaults]\nrules = "a" - "b"\n[x]\nprotocol = reply\nlisten = tcp:7\n'
        text += "[y]\nprotocol = reply\nlisten = tcp:8\n"
        [found] = wrong(text, "")
        self.assertTrue(found.startswith("FILE:2:13: [defaults] rules: - is not expected"), found)

    def test_file(self) -> None:
        """A path alone is a file of rules, which a reload reads again; its mistakes name it."""
        path = self.write('; rules\n"a" -> "b"\n')
        text = f"rules = {path} ; of the modem\n"
        settings = read(text)
        self.assertEqual(self.rules_of(text), ['"a" -> "b"'])
        self.assertEqual((settings.files, settings.services[0].files), ((path,), (path,)))
        Path(path).write_text('"a" -> "c"\n')
        self.assertNotEqual(settings.services, read(text).services)
        Path(path).write_text('"a" -> "c"\n x\n"a" -> y\n')
        found = [line.split(": ")[:2] for line in wrong(text)]
        self.assertEqual(
            found, [[f"{path}:2:2", "[modem] rules"], [f"{path}:3:8", "[modem] rules"]]
        )

    def test_no_file(self) -> None:
        """One that cannot be read is complained of as other files are."""
        found = wrong("rules = /nowhere/at/all ; x\n")
        self.assertEqual(
            found,
            ["FILE:4: [modem] rules = /nowhere/at/all: cannot be read: No such file or directory;"
             " write the path of a file of rules"],
        )  # fmt: skip
        self.assertIn("there is no rule", wrong("rules =\n")[0])

    def test_path_or_rule(self) -> None:
        """A path is one line without an arrow; one with a quote in front was meant as a rule."""
        for text in ('"a" -> "b"', "/a/ -> /b", '"a"', "a\nb", "", "; a"):
            self.assertEqual(files_of(text), (), text)
        for text in ("/etc/a", "  a.rules  ", "a ; b -> c"):
            self.assertEqual(len(files_of(text)), 1, text)

    def test_neither(self) -> None:
        """Either C{reply} or C{rules} has to be given; both are fine."""
        expected = "FILE:1: [modem]: has no reply and no rules;"
        expected += " write reply = TEXT, or rules = PATTERN -> ANSWER"
        self.assertEqual(wrong(""), [expected])
        self.assertEqual(wrong('greeting = "x"\n'), [expected])
        self.assertEqual(wrong('reply = x\nrules = "a" -> "b"\n'), [])

    def test_same(self) -> None:
        """Rules that moved as a whole are no change; other rules are."""
        old = read('close = no\nrules = "a" -> "b"\n')
        self.assertEqual(old.services, read('rules = "a" -> "b"\nclose = no\n').services)
        new = read('close = no\nrules = "a" -> "c"\n')
        self.assertNotEqual(old.services, new.services)


class TogetherTests(SynchronousTestCase):
    """Tests for rules that do not fit their service."""

    def test_datagrams(self) -> None:
        """What only connections have is refused where there are none, at its rule."""
        text = 'rules =\n  "a" -> close\n  "b" -> "x", reset\n  idle 1s -> "c"\n  "d" -> "e"\n'
        text += 'greeting = "hi"\n'
        head = HEAD.replace("tcp:7023, ", "")
        why = "for connections, and no listener here has any"
        expected = [
            f"FILE:5:3: [modem] rules: close is {why}",
            f"FILE:6:3: [modem] rules: reset is {why}",
            f"FILE:7:3: [modem] rules: a silence is {why}",
            f'FILE:9: [modem] greeting = "hi": is {why}',
        ]
        self.assertEqual(wrong(text, head), expected)
        for listen in ("tcp:7", "unix:/run/a", "systemd:a", "udp:7, tls:8"):
            found = wrong(text, HEAD.replace("tcp:7023, udp:7023", listen))
            self.assertEqual([line for line in found if "connections" in line], [], listen)

    def test_ends(self) -> None:
        """A pattern with the end of a message matches nothing; the right one is named."""
        for framing, pattern, right in (
            ("line", r'"AT\r\n"', '"AT"'),
            ("line", r'contains "\n"', 'contains ""'),
            ("line", "prefix hex 41 0a 42", "prefix hex 41 42"),
            (r"delimiter:\x03", r'"a\x03"', '"a"'),
        ):
            [found] = wrong(f'framing = {framing}\nrules = {pattern} -> "x"\n')
            self.assertTrue(found.endswith(f"is no part of it; write {right}"), found)
        for framing in ("chunk", "length:2", "idle:50ms"):
            self.assertEqual(wrong(f'framing = {framing}\nrules = "AT\\r\\n" -> "x"\n'), [])

    def test_behind_everything(self) -> None:
        """A rule behind C{*} is never reached, unless that is used up or it is for a silence."""
        [found] = wrong('rules =\n  * -> "x"\n  "a" -> "y"\n')
        self.assertIn("FILE:6:3: [modem] rules: no message reaches this rule", found)
        for star, more in (
            ("* -> silent, times 2", '"a" -> "x"'),
            ("* -> silent", "idle 1s -> close"),
        ):
            self.assertEqual(wrong(f"rules =\n  {star}\n  {more}\n"), [])

    def test_file(self) -> None:
        """What does not fit is named with the file that has it."""
        path = Path(self.mktemp())
        path.write_text('* -> "x"\n "a" -> "y"\n')
        [found] = wrong(f"rules = {path}\n")
        self.assertTrue(found.startswith(f"{path}:2:2: [modem] rules: no message"), found)
        path.write_text('/(a|b)*a(a|b){90}c/ -> "x"\n')
        [found] = wrong(f"max_message = 64KiB\nrules = {path}\n")
        self.assertTrue(found.startswith(f"{path}:1:1: [modem] rules: the expr"), found)

    def test_too_large(self) -> None:
        """Expressions that take too much memory together are refused at the first rule."""
        lines = "".join(f'  /[ab]*a[ab]{{900}}c{number}/ -> "x"\n' for number in range(60))
        [found] = wrong(f"rules =\n{lines}")
        said = "FILE:5:3: [modem] rules: has expressions that are too large; write shorter ones"
        self.assertEqual(found, said)
        path = Path(self.mktemp())
        path.write_text(lines.lstrip())
        [found] = wrong(f"rules = {path}\n")
        self.assertEqual(found, f"{path}:1:1" + said.removeprefix("FILE:5:3"))

    def test_steps(self) -> None:
        """Expressions and the longest message together have a limit, which is named."""
        rules = 'rules = /(a|b)*a(a|b){90}c/ -> "x"\n'
        self.assertEqual(wrong(rules), [])
        [found] = wrong(f"max_message = 64KiB\n{rules}")
        start = (
            "FILE:5:9: [modem] rules: the expressions are too large for messages of 65536 bytes"
        )
        self.assertTrue(found.startswith(start), found)
        fits = int(found.rpartition(" = ")[2])
        self.assertLess(4096, fits)
        self.assertLess(fits, MAX_STEPS)
        self.assertEqual(wrong(f"max_message = {fits}\n{rules}"), [])
        self.assertEqual(len(wrong(f"max_message = {fits + 1}\n{rules}")), 1)
