"""Generates the manual pages socketd(8), socketd.ini(5) and socketd(1)."""

from __future__ import annotations

import signal
from argparse import Action
from collections.abc import Iterable, Iterator
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
from tools.manual.roff import Page


def daemon_page() -> str:
    """Generate socketd(8)."""
    page = _page(PROGRAM, 8, "serve small protocols on sockets")
    page.section("SYNOPSIS")
    run = arguments(command_line()[1]["run"])
    daemon_options = [argument for argument in run if argument.option_strings]
    options = " ".join(map(form, daemon_options))
    page.example([f"{PROGRAM} run {options}", f"twistd [options of twistd] {PROGRAM} {options}"])
    page.section("DESCRIPTION")
    page.paragraphs(prose.DAEMON)
    page.section("OPTIONS")
    page.entries(map(_entry, daemon_options))
    page.part("Options of twistd")
    page.entries(_bold(prose.TWISTD))
    page.section("SIGNALS")
    page.entries(_bold({signal.Signals(one).name: text for one, text in prose.SIGNALS.items()}))
    _add_statuses(page, prose.DAEMON_STATUSES)
    page.section("ENVIRONMENT")
    page.entries(_bold(prose.ENVIRONMENT))
    page.section("FILES")
    page.entries(prose.FILES.items())
    _add_control(page)
    page.section("HTTP")
    page.paragraphs(prose.HTTP)
    page.section("SYSTEMD")
    page.paragraphs(prose.SYSTEMD)
    return _ended(page, "socketd(1), socketd.ini(5), systemd.service(5)")


def configuration_page() -> str:
    """Generate socketd.ini(5)."""
    page = _page(f"{PROGRAM}.ini", 5, "the configuration of socketd(8)")
    page.section("DESCRIPTION")
    page.paragraphs(prose.GRAMMAR)
    page.section("VALUES")
    page.entries(_bold(prose.VALUES))
    page.section("LISTENERS")
    page.entries(_bold(prose.LISTENERS))
    page.section("OPTIONS")
    for title, options in groups():
        page.part(title.replace("`", ""))
        page.paragraphs("access policy" in title and prose.ACCESS or "")
        page.entries(_option_entries(options))
    page.section("FILES")
    page.entries(prose.FILES.items())
    return _ended(page, "socketd(8), socketd(1), socket(7), tcp(7)")


def command_page() -> str:
    """Generate socketd(1)."""
    page = _page(PROGRAM, 1, "socket client, and control of the socketd daemon")
    page.section("SYNOPSIS")
    forms = ("SUBCOMMAND [ARGUMENTS]", "--help", "--version")
    page.example(f"{PROGRAM} {form}" for form in forms)
    page.section("DESCRIPTION")
    page.paragraphs(prose.CLIENT)
    page.section("ADDRESSES")
    page.paragraphs(prose.ADDRESSES)
    page.section("SUBCOMMANDS")
    for name, parser in command_line()[1].items():
        page.part(name)
        page.example([synopsis(name, parser)])
        page.paragraphs(_sentence(parser.description))
        page.entries(map(_entry, arguments(parser)))
    _add_statuses(page, prose.CLIENT_STATUSES)
    page.section("ENVIRONMENT")
    page.entries(_bold(prose.CLIENT_ENVIRONMENT))
    page.section("EXAMPLES")
    page.paragraphs(prose.CLIENT_EXAMPLES)
    return _ended(page, "socketd(8), socketd.ini(5)")


def _page(name: str, section: int, what: str) -> Page:
    # The build date (the year of the release) is the only date in the code.
    date = datetime.fromtimestamp(BUILD_DATE, UTC).strftime("%Y-%m-%d")
    page = Page(name.upper(), section, date, f"{PROGRAM} {installed_version()}")
    page.section("NAME")
    page.paragraphs(f"{name} - {what}")
    return page


def _ended(page: Page, others: str) -> str:
    page.section("SEE ALSO")
    page.paragraphs(others)
    return str(page)


def _add_statuses(page: Page, statuses: dict[int, str]) -> None:
    page.section("EXIT STATUS")
    page.entries(_bold({str(status): text for status, text in statuses.items()}))


def _add_control(page: Page) -> None:
    page.section("CONTROL SOCKET")
    page.paragraphs(prose.CONTROL)
    page.entries(
        (f"`{command.usage}`", _sentence(command.help)) for command in COMMANDS.values()
    )


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


def _bold(found: dict[str, str]) -> Iterable[tuple[str, str]]:
    return ((f"`{term}`", text) for term, text in found.items())
