"""C{socketd check}: validate a configuration without binding."""

from __future__ import annotations

import json
import os
import resource
from argparse import ArgumentParser, Namespace

import attrs

from socketd.cli.common.output import emit, note
from socketd.common.errors import BAD_CONFIGURATION, GOOD
from socketd.common.paths import find_config, runtime_directory
from socketd.common.table import render
from socketd.configuration import configure, hints_of, warnings_of
from socketd.protocols.messages.reply import ReplyOptions
from socketd.protocols.rules.rule import Rule
from socketd.settings.diagnostics import Diagnostic, SettingsError
from socketd.settings.model import ServiceSettings, Settings


def _rules_of(service: ServiceSettings) -> list[dict[str, str]]:
    """List the rules by which a service answers: none, unless it has C{rules}."""
    options = service.options
    if not isinstance(options, ReplyOptions) or options.rules is None:
        return []
    rules = [*options.rules.rules, *filter(None, [options.script.fallback])]
    return [{"place": place_of(service, rule), "rule": str(rule)} for rule in rules]


def place_of(service: ServiceSettings, rule: Rule) -> str:
    """Say where a rule is written: C{FILE:LINE}."""
    if rule == service.options.script.fallback:
        return service.place("reply")
    rules = service.options.rules
    if rules.file:
        return f"{rules.file}:{rule.line}"
    return f"{service.file}:{service.lines['rules'] + rule.line}"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "file", nargs="?", help="the INI file (default: what the daemon would read)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: Namespace) -> int:
    """Validate the file and print the diagnostics; errors make the status 78 (C{EX_CONFIG})."""
    file = find_config(arguments.file, os.environ)
    runtime = runtime_directory(os.environ, os.geteuid())
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        configuration = configure(file, runtime, limit)
    except SettingsError as error:
        return refuse(error, arguments.json)
    settings = configuration.settings
    found = {"warning": [*warnings_of(configuration, runtime)], "hint": [*hints_of(settings)]}
    for severity, diagnostics in found.items():
        for diagnostic in diagnostics:
            note(f"{severity}: {diagnostic}")
    emit((_as_json(settings, found) if arguments.json else _as_text(settings)) + "\n")
    return GOOD


def refuse(error: SettingsError, as_json: bool) -> int:
    """Print what is wrong with a file, and return the exit status."""
    if as_json:
        complaints = [attrs.asdict(diagnostic) for diagnostic in error.diagnostics]
        emit(json.dumps({"ok": False, "complaints": complaints}) + "\n")
    note(str(error))
    return BAD_CONFIGURATION


def _as_text(settings: Settings) -> str:
    rows = [
        (service.name, service.protocol, str(listener))
        for service in settings.services
        for listener in service.listeners
    ]
    tables = render(("SERVICE", "PROTOCOL", "LISTENERS"), rows)
    for service in settings.services:
        rules = [tuple(one.values()) for one in _rules_of(service)]
        tables += render(("PLACE", f"RULES OF {service.name}"), rules) if rules else ""
    return f"{tables}{settings.file}: configuration OK"


def _as_json(settings: Settings, found: dict[str, list[Diagnostic]]) -> str:
    services = [
        {
            "name": service.name,
            "protocol": service.protocol,
            "listeners": [attrs.asdict(listener) for listener in service.listeners],
            "rules": _rules_of(service),
        }
        for service in settings.services
    ]
    facts = {"ok": True, "file": settings.file, "services": services}
    lists = {f"{severity}s": list(map(attrs.asdict, found[severity])) for severity in found}
    return json.dumps(facts | lists)
