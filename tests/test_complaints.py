"""What is wrong is told in one line that says what to write: each subcommand, each option."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.main import subcommands
from socketd.protocols.registry import installed
from socketd.settings.diagnostics import SettingsError
from socketd.settings.faults.profile import FaultOptions
from socketd.settings.hints import COMMON
from socketd.settings.load import parse
from socketd.settings.model import DaemonOptions
from socketd.settings.options import declared
from tests.support.command_line import run_main

#: No value of any option, but of those that take any text, or that only the system refuses.
WRONG = "@@"
FREE = {"control", "reply", "so_bindtodevice"}

SERVICE = "[{0}]\nlisten = {1}:0\n"

#: What protocols listen at, other than TCP.
KINDS = {"ntp": "udp", "ipsla": "udp", "stamp": "udp", "nts-ke": "tls"}


def files() -> Iterator[tuple[str, type[Any]]]:
    """List beginnings of files, each with the options that can follow."""
    yield SERVICE.format("echo", "tcp") + "[socketd]\n", DaemonOptions
    yield SERVICE.format("echo", "tcp") + "fault = x\n[fault:x]\n", FaultOptions
    for options in COMMON:
        yield SERVICE.format("echo", "tcp"), options
    for name, found in installed().items():
        yield SERVICE.format(name, KINDS.get(name, "tcp")), found.options


class ComplaintTests(SynchronousTestCase):
    """One clear line, no success, no traceback."""

    def test_subcommands(self) -> None:
        """Each subcommand names the option that it does not know, and its help."""
        for name in subcommands():
            status, out, errors = run_main(name, "--bogus")
            self.assertEqual((status, out, errors.count("\n")), (2, "", 1), name)
            self.assertRegex(errors, rf"^socketd {name}: .*--bogus\b.*; see socketd {name} --help")

    def test_options(self) -> None:
        """Each option names its line, and what it is instead, or what it has to be."""
        for begin, options in files():
            for name in set(declared(options)) - FREE - {"listen"}:
                text = f"{begin}{name} = {WRONG}\n"
                error = self.assertRaises(SettingsError, parse, text, "f.ini", installed(), "/run")
                line = text.count("\n")
                told = [str(one) for one in error.diagnostics if one.line == line]
                self.assertTrue(told, (text, str(error)))
                for one in told:
                    self.assertRegex(one, rf"\] {name}\b.*: .*(; |neither|not )")
