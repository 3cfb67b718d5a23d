"""Generates the manual pages socketd(8), socketd.ini(5) and socketd(1)."""

from __future__ import annotations

from argparse import Action
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from socketd.cli.main import PROGRAM, installed_version
from socketd.common.system_clock import BUILD_DATE
from socketd.common.commands import COMMANDS
from socketd.settings.options import REQUIRED, Option, declared
from tools.manual import prose
from tools.manual.examples import example_of
from tools.manual.options_page import default_text, groups
from tools.manual.program import arguments, command_line, form, synopsis, term
from tools.manual.roff import Entries, Page


def daemon_page() -> str:
    """Generate socketd(8)."""
    page = _page(PROGRAM, 8, "serve small protocols on sockets")
    page.section("SYNOPSIS")
    run = arguments(command_line()[1]["run"])
    daemon_options = [argument for argument in run if argument.option_strings]
    options = " ".join(map(form, daemon_options))
    page.example([f"{PROGRAM} run {options}", f"twistd [options of twistd] {PROGRAM} {options}"])
    page.section("DESCRIPTION", prose.DAEMON)
    page.section("OPTIONS", entries=map(_entry, daemon_options))
    page.part("Options of twistd", entries=_literal(prose.TWISTD))
    signals = {number.name: text for number, text in prose.SIGNALS.items()}
    page.section("SIGNALS", entries=_literal(signals))
    page.section("EXIT STATUS", entries=_literal(prose.DAEMON_STATUSES))
    page.section("ENVIRONMENT", entries=_literal(prose.ENVIRONMENT))
    page.section("FILES", entries=prose.FILES.items())
    commands = {command.usage: _sentence(command.help) for command in COMMANDS.values()}
    page.section("CONTROL SOCKET", prose.CONTROL, _literal(commands))
    page.section("HTTP", prose.HTTP)
    page.section("SYSTEMD", prose.SYSTEMD)
    return _ended(page, "socketd(1), socketd.ini(5), systemd.service(5)")


def configuration_page() -> str:
    """Generate socketd.ini(5)."""
    page = _page(f"{PROGRAM}.ini", 5, "the configuration of socketd(8)")
    page.section("DESCRIPTION", prose.GRAMMAR)
    page.section("VALUES", entries=_literal(prose.VALUES))
    page.section("LISTENERS", entries=_literal(prose.LISTENERS))
    page.section("OPTIONS")
    texts = {"access policy": prose.ACCESS, "fault:": prose.FAULTS, "= reply": prose.RULES}
    for title, options in groups():
        text = next((texts[word] for word in texts if word in title), "")
        page.part(title.replace("`", ""), text, _option_entries(options))
    page.section("FILES", entries=prose.FILES.items())
    return _ended(page, "socketd(8), socketd(1), socket(7), tcp(7)")


def command_page() -> str:
    """Generate socketd(1)."""
    page = _page(PROGRAM, 1, "socket client, and control of the socketd daemon")
    page.section("SYNOPSIS")
    forms = ("SUBCOMMAND [ARGUMENTS]", "--help", "--version")
    page.example(f"{PROGRAM} {form}" for form in forms)
    page.section("DESCRIPTION", prose.CLIENT)
    page.section("ADDRESSES", prose.ADDRESSES)
    page.section("SUBCOMMANDS")
    for name, parser in command_line()[1].items():
        page.part(name)
        page.example([synopsis(name, parser)])
        page.paragraphs(_sentence(parser.description))
        page.entries(map(_entry, arguments(parser)))
    page.section("EXIT STATUS", entries=_literal(prose.CLIENT_STATUSES))
    page.section("ENVIRONMENT", entries=_literal(prose.CLIENT_ENVIRONMENT))
    page.section("EXAMPLES", prose.CLIENT_EXAMPLES)
    return _ended(page, "socketd(8), socketd.ini(5)")


def _page(name: str, section: int, what: str) -> Page:
    # The build date (the year of the release) is the only date in the code.
    date = datetime.fromtimestamp(BUILD_DATE, UTC).strftime("%Y-%m-%d")
    page = Page(name.upper(), section, date, f"{PROGRAM} {installed_version()}")
    page.section("NAME", f"{name} - {what}")
    return page


def _ended(page: Page, others: str) -> str:
    page.section("SEE ALSO", others)
    return str(page)


def _option_entries(options: type[Any]) -> Iterator[tuple[str, str]]:
    for found in declared(options).values():
        example = f"Example: `{found.name} = {example_of(options, found)}`."
        yield f"`{found.name}` = {found.type.syntax}", f"{found.help} {_default(found)} {example}"


def _default(found: Option) -> str:
    if found.default is REQUIRED:
        return "It must be given."
    text = default_text(found)
    return f"Default: `{text}`." if text else "No default."


def _entry(action: Action) -> tuple[str, str]:
    return f"`{term(action)}`", _sentence(action.help)


def _sentence(text: str | None) -> str:
    """Turn a help text into a sentence."""
    assert text is not None
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _literal(texts: Mapping[Any, str]) -> Entries:
    return ((f"`{term}`", text) for term, text in texts.items())
